"""The demo: on data the program makes itself, from nothing to a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise import demo
from labelwise.data.digits import make_scenes
from labelwise.results import open_run


def test_a_small_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All its steps on few pictures; the digits are as many as they are, so that part is left out."""
    monkeypatch.setattr(demo, "make_scenes", lambda folder: make_scenes(folder, count=60))
    small = {"model": {**demo._PIXELS, "head": "knn"}, "budget": {"initial": 4, "per_round": 4, "rounds": 2}}
    genuine = demo._scenes
    monkeypatch.setattr(demo, "_scenes", lambda folder: {**genuine(folder), **small})
    monkeypatch.setattr(demo, "_digits", lambda folder: {**genuine(folder), **small, "name": "digits"})
    told: list[str] = []
    demo.run_demo(tmp_path / "d", seeds=1, progress=lambda *_: None, tell=told.append)
    reports = [Path(line.rpartition(": ")[2]) for line in told if line.endswith("report.html")]
    assert len(reports) == 3
    assert all(r.is_file() for r in reports)
    assert told[-1].endswith("labelwise init FOLDER_OF_YOUR_IMAGES")
    out = capsys.readouterr().out
    assert "balanced_herding" in out
    assert "random" in out


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):  # the second finds everything done
        demo.run_demo(tmp_path, seeds=1, progress=lambda *_: None, tell=told.append)
    for name in ("digits", "scenes"):
        result = open_run(tmp_path / "runs" / name / "balanced_herding-00")
        assert result.state == "finished"
        assert result.evaluations["test"][max(result.rounds)]["accuracy"] > 0.5
    assert "done in" in told[-1]
