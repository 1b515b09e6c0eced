"""How a verb says how far it is, without a terminal."""

from __future__ import annotations

import pytest

from labelwise.verbs import progress


def test_remaining_time_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    show = progress.plain_progress()
    for second in range(301):
        clock[0] = float(second)
        show(1000 + second * 2, 3000, "training")  # it continues, and 1000 were done before it began
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training: 1010 of 3000, about 17 min left"
    assert lines[-1] == "training: 1600 of 3000, about 12 min left"
    for second in range(301, 312):
        clock[0] = float(second)
        show((second - 300) * 10, 3000, "training")  # another round: its clock begins anew
    assert capsys.readouterr().err.splitlines()[-1] == "training: 100 of 3000, about 5 min left"
