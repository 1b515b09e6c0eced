"""The HTTP API keeps to its schema under whatever is sent: never an error of the server's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402

from labelwise.records import Query, Sample, Target  # noqa: E402
from labelwise.web.app import make_app  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PORT = 8470
EXAMPLES = 20


def questions(task: str) -> Callable[[str, int, Sample], Query]:
    """Queries as a strategy of the task asks them: whole images, boxes, and by turns pixels, regions and masks."""

    def ask(id: str, rank: int, sample: Sample) -> Query:
        if task == "classify":
            return Query(id, 0, rank, sample.id, proposal=Target(("dog",)), reason={"score": 0.5})
        if task == "detect":
            boxes = np.array([[1.0, 2.0, 20.0, 18.0]])
            return Query(id, 0, rank, sample.id, proposal=Target(("cat",), boxes), reason={"score": 0.5})
        if rank % 2:
            pixels = np.array([[1, 2], [30, 20]], np.int32)
            return Query(id, 0, rank, sample.id, "pixel", pixels, 2.0, reason={"score": 0.5})
        return Query(id, 0, rank, sample.id, "region", np.array([[0.0, 0.0, 9.0, 9.0]]), reason={"score": 0.5})

    return ask


ASKED = ("a.png", "b.png", "sub/ü, c.jpg", "sub/a.png")
HERE = {"Host": f"127.0.0.1:{PORT}"}


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_never_an_error_of_the_servers_own(task: str, asked_run: Callable[..., Path]) -> None:
    folder = asked_run(task, questions(task))
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "annotator": "web"}), encoding="utf-8")
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", make_app(folder, port=PORT), headers=HERE)
    operations = [found.ok() for found in schema.get_all_operations()]
    rooms = {operation.path.split("/")[2] for operation in operations}
    assert rooms >= {"explore", "annotate", "rounds", "picture"}
    for operation in operations:
        for wrong in (False, True):
            _fuzz(operation, wrong)


def _fuzz(operation: Any, wrong: bool) -> None:
    mode = schemathesis.GenerationMode.NEGATIVE if wrong else schemathesis.GenerationMode.POSITIVE

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans(), rank=st.integers(0, 4))
    def never(case: Any, known: bool, rank: int) -> None:
        if known:  # what the run knows: else nearly all would end at an unknown name
            _about_what_is_there(case, rank)
        # What the application itself raises comes through, and is a failure with its own traceback.
        answer = case.call(headers=HERE)
        assert answer.status_code < 500 or answer.status_code in (503, 507), (case.path, answer.content[:500])
        if answer.status_code >= 400 and answer.status_code not in (404, 405, 409):
            assert answer.json()["error"], "every mistake is told in one line"

    with suppress(Unsatisfiable):  # an operation without parameters cannot be asked wrongly
        never()


def _about_what_is_there(case: Any, rank: int) -> None:
    ids = [*ASKED, "e.png"]
    fit = {
        "id": ids[rank], "query": f"000-{rank:05d}", "annotator": "ann", "ids": ids[: rank + 1], "first": ids[:1],
        "second": ids[1:], "add": ids[:rank], "kind": "pca", "format": "csv", "layer": "truth", "round": 0,
        "queries": [f"000-{rank:05d}"],
    }  # fmt: skip
    for place in (case.query, case.path_parameters, case.body):
        if isinstance(place, dict):
            place.update({name: value for name, value in fit.items() if name in place})
