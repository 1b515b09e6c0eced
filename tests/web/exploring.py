"""What the tests of the room explore share: a run of three rounds, a folder of images, and a client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fastapi.testclient import TestClient
from PIL import Image

from labelwise.records import Annotation, Query, Sample, Target
from labelwise.store import Store
from labelwise.web.app import make_app
from labelwise.web.served import Beside

PORT = 8470
CLASSES = ("cat", "dog", "<b>bird</b>")
ODD = 'odd/"quoted" <script>alert(1)</script> ü é.png'  # a name that must stay text everywhere
IDS = sorted([f"{c}/{i:02d}.png" for c in "ab" for i in range(10)] + [ODD])


def make_images(root: Path, ids: list[str] = IDS) -> dict[str, Path]:
    """Pictures of 40 x 30 pixels, no two alike."""
    paths = {}
    for i, id in enumerate(ids):
        path = root / id
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(i)
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(path)
        paths[id] = path
    return paths


def make_run(tmp_path: Path, task: str = "classify", ids: list[str] = IDS, **more: Any) -> Path:
    """A run: of its pool the first four were picked in round 0 and answered, four in round 1: two open, one skipped."""
    paths, folder = make_images(tmp_path / "images", ids), tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    tree = {"name": "r", "task": task, "out": str(folder.parent), "data": {"format": "x", "path": str(tmp_path)}}
    tree |= {"annotator": {"name": "files"}, "cache": str(tmp_path / "cache")} | more
    (folder / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    samples = [
        Sample(
            id,
            paths[id],
            group=f"g{i % 3}",
            content=f"{i:032x}",
            size=(40, 30),
            meta={
                "location": f"cam {i % 2}",
                "taken": f"2026-01-{i + 1:02d}T10:00:00",
                "lux": i / 2,
                "night": i % 2 == 0,
            },
        )
        for i, id in enumerate(ids)
    ]
    with Store(folder / "run.db") as store, store.transaction():
        tests = ids[-3:] if len(ids) > 8 else []
        store.add_samples((s, "test" if s.id in tests else "pool") for s in samples)
        store.add_classes(CLASSES)
        if len(ids) > 8:
            _ask(store, ids)
    if len(ids) > 8:
        _keep(folder, ids)
    return folder


def _ask(store: Store, ids: list[str]) -> None:
    first = [Query(f"000-{i:05d}", 0, i, ids[i], reason={"drawn": "at random"}) for i in range(4)]
    second = [
        Query(
            f"001-{i:05d}",
            1,
            i,
            ids[4 + i],
            proposal=Target(("dog",)),
            reason={"score": 0.75, "score_rank": i + 1, "score_of": 14},
        )
        for i in range(4)
    ]
    store.add_queries([*first, *second])
    store.add_annotations(Annotation(q.id, Target((CLASSES[i % 3],)), "ann", 2.5) for i, q in enumerate(first))
    store.add_annotations([Annotation(second[0].id, Target(("dog",))), Annotation(second[1].id, None)])
    for round in (0, 1):
        store.finish_step(round, "query", 0.0)


def _keep(folder: Path, ids: list[str]) -> None:
    pool = ids[4:-3]
    place = folder / "rounds" / "001"
    place.mkdir(parents=True)
    scores = np.linspace(1, 0, len(pool))
    predicted = np.arange(len(pool)) % 3
    np.savez(
        place / "candidates.npz", ids=np.array(pool), scores=scores, predicted=predicted, confidences=1 - scores / 2
    )


@contextmanager
def client_of(folder: Path, beside: Beside | None = None) -> Iterator[TestClient]:
    """A client of the page of a folder, whose background work has ended."""
    app = make_app(folder, port=PORT, beside=beside)
    client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
    try:
        until(client, lambda state: state["vectors"]["state"] != "working")
        yield client
    finally:
        app.state.served.close()


def until(client: TestClient, happened: Any) -> dict[str, Any]:
    """The state once something has happened."""
    for _ in range(600):
        state: dict[str, Any] = client.get("/api/explore/state").json()
        if happened(state):
            return state
        time.sleep(0.05)
    raise AssertionError(state)


def column(client: TestClient, name: str) -> list[Any]:
    """A column's values as people read them, None where missing."""
    facts = next(c for c in client.get("/api/explore/columns").json()["columns"] if c["name"] == name)
    data = client.get("/api/explore/column", params={"name": name}).content
    if facts["kind"] == "number":
        return [None if np.isnan(v) else v for v in np.frombuffer(data, "<f8").tolist()]
    return [None if v < 0 else facts["values"][v] for v in np.frombuffer(data, "<i4").tolist()]
