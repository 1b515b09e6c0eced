"""Answering over the API: leases, answers kept once, taken back, classes added, rounds closed; several at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi.testclient import TestClient

from labelwise.annotators import Desk
from labelwise.annotators.web import Web
from labelwise.data.masks import read_mask
from labelwise.records import Query, Sample, Target
from labelwise.store import Store
from labelwise.web import queue as queues
from labelwise.web.app import make_app

PORT = 8470


def client_of(folder: Path) -> TestClient:
    return TestClient(make_app(folder, port=PORT), base_url=f"http://127.0.0.1:{PORT}")


def set_annotator(folder: Path, **options: Any) -> None:
    file = folder / "config.yaml"
    tree = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**tree, "annotator": {"name": "web", **options}}))


@pytest.fixture
def run(asked_run: Callable[..., Path]) -> Callable[..., Path]:
    """Makes a run that asks four images on the page; see `asked_run`."""

    def make(task: str = "classify", query: Any = None, classes: Any = (), **options: Any) -> Path:
        folder = asked_run(task, query, classes)
        set_annotator(folder, **options)
        return folder

    return make


def post(client: TestClient, path: str, *, status: int = 200, **body: Any) -> Any:
    answer = client.post(f"/api/annotate/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def lease(client: TestClient, who: str = "ann", count: int = 1) -> list[str]:
    return [q["id"] for q in post(client, "next", annotator=who, count=count)["questions"]]


def say(client: TestClient, id: str, name: str = "cat", who: str = "ann", **more: Any) -> Any:
    return post(client, "answer", query=id, annotator=who, answer={"kind": "class", "name": name}, **more)


def collected(folder: Path, **options: Any) -> dict[str, Any]:
    with Store(folder / "run.db") as store:
        desk = Desk({s.id: s for s in store.samples()}, store.classes(), folder / "rounds")
        return {a.query_id: a for a in Web(**options).collect(store.queries(0, open_only=True), desk)}


def test_most_wanted_first_and_everything_that_is_told_of_it(run: Any) -> None:
    asked = lambda id, rank, s: Query(  # noqa: E731
        id, 0, rank, s.id, proposal=Target(("dog",)), reason={"score": 0.5, "class": "dog", "probability": 0.75}
    )
    with client_of(run(query=asked)) as client:
        found = post(client, "next", annotator="ann", count=2)
    assert [q["id"] for q in found["questions"]] == ["000-00000", "000-00001"]
    first = found["questions"][0]
    assert (first["kind"], first["sample"], first["width"], first["proposal"]) == ("class", "a.png", 40, "dog")
    assert first["probability"] == 0.75
    assert first["reason"].startswith("Score 0.5")
    assert found["state"]["classes"] == ["cat", "dog", "blåbær"]
    assert (found["state"]["open"], found["state"]["answered"], found["state"]["round"]) == (4, 0, 0)


def test_a_question_is_held_by_one(run: Any) -> None:
    with client_of(run()) as client:
        assert lease(client, "ann", 3) == ["000-00000", "000-00001", "000-00002"]
        assert lease(client, "ann", 2) == ["000-00000", "000-00001"]
        assert lease(client, "ben", 3) == ["000-00003"]
        assert lease(client, "cyd") == []
        post(client, "release", annotator="ann", queries=["000-00001"])
        assert lease(client, "cyd") == ["000-00001"]
        state = client.get("/api/annotate/state?annotator=cyd").json()
        assert state["others"] == {"ann": 2, "ben": 1}


def test_a_lease_ends_without_a_sign_of_life(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("labelwise.store.people.time.time", lambda: now[0])
    with client_of(run()) as client:
        assert lease(client, "ann", 2) == ["000-00000", "000-00001"]
        now[0] += queues.LEASE - 1
        assert post(client, "heartbeat", annotator="ann", queries=["000-00000", "nothing"])["held"] == ["000-00000"]
        now[0] += 2
        assert lease(client, "ben") == ["000-00001"]
        say(client, "000-00001", who="ben")
        refused = post(
            client, "answer", status=409, query="000-00001", annotator="ann", answer={"kind": "class", "name": "cat"}
        )
        assert "somebody else" in refused["detail"]
        now[0] += 2 * queues.LEASE
        assert post(client, "heartbeat", annotator="ann", queries=["000-00000"])["held"] == []
        say(client, "000-00000")  # late, but nobody else has it


def test_the_same_again_changes_nothing_another_replaces_it(run: Any) -> None:
    folder = run()
    with client_of(folder) as client:
        (id,) = lease(client)
        say(client, id, seconds=2.5, effort={"clicks": 1, "corrections": 1})
        say(client, id, seconds=99.0)
        with Store(folder / "run.db") as store:
            (kept,) = store.people.answers()[id]
        assert (kept.target, kept.seconds, kept.effort) == (Target(("cat",)), 2.5, {"clicks": 1, "corrections": 1})
        assert say(client, id, "dog")["mine"] == 1
        assert client.get("/api/annotate/mine?annotator=ann").json() == [
            {"query": id, "sample": "a.png", "said": "dog"}
        ]
        again = client.get(f"/api/annotate/question?query={id}&annotator=ann").json()
        assert (again["mine"], again["answered"], again["skipped"]) == ("dog", True, False)


def test_an_answer_outlives_the_server(run: Any) -> None:
    folder = run()
    with client_of(folder) as client:
        say(client, lease(client)[0])
    with client_of(folder) as client:
        assert client.get("/api/annotate/state?annotator=ann").json()["answered"] == 1
        assert lease(client) == ["000-00001"]


def test_taken_back_and_asked_again(run: Any) -> None:
    with client_of(run()) as client:
        (id,) = lease(client)
        say(client, id)
        assert post(client, "undo", query=id, annotator="ann")["id"] == id
        assert lease(client, "ben") == ["000-00001"]
        assert lease(client) == [id]
        post(client, "undo", status=404, query=id, annotator="ann")
        post(client, "undo", status=404, query="nothing", annotator="ann")


def test_taken_in_when_all_are_answered_and_fixed_from_then_on(run: Any) -> None:
    folder = run()
    with client_of(folder) as client:
        ids = lease(client, count=4)
        for id in ids[:3]:
            say(client, id, seconds=1.5)
        assert collected(folder) == {}
        post(client, "answer", query=ids[3], annotator="ann", answer={"kind": "skipped"})
        found = collected(folder)
        assert [found[id].target for id in ids] == [Target(("cat",))] * 3 + [None]
        assert (found[ids[0]].annotator, found[ids[0]].seconds) == ("ann", 1.5)
        assert collected(folder) == found
        say(client, ids[0])  # the same again: nobody heard that it was kept
        changed = {"kind": "class", "name": "dog"}
        post(client, "answer", status=409, query=ids[0], annotator="ann", answer=changed)
        post(client, "undo", status=409, query=ids[0], annotator="ann")


def test_a_round_is_closed_with_what_is_there(run: Any) -> None:
    asked = lambda id, rank, s: Query(id, 0, rank, s.id, purpose="audit" if rank == 3 else "train")  # noqa: E731
    folder = run(query=asked)
    with client_of(folder) as client:
        assert "answer a question first" in post(client, "close", status=400, annotator="ann")["error"]
        ids = lease(client, count=4)
        say(client, ids[0])
        closed = post(client, "close", annotator="ann")
        assert (closed["taken"], closed["withdrawn"], closed["left"]) == (1, 2, 1)
        assert closed["state"]["closed"]
        gone = {"kind": "class", "name": "cat"}
        post(client, "answer", status=404, query=ids[1], annotator="ann", answer=gone)
        assert set(collected(folder)) == {ids[0]}
        assert lease(client, count=4) == [ids[3]]


def test_a_run_that_asks_elsewhere_gets_answers_handed_in(asked_run: Any) -> None:
    folder = asked_run("classify")
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**tree, "annotator": "files"}))
    with client_of(folder) as client:
        say(client, lease(client)[0])
        assert post(client, "close", annotator="ann")["left"] == 3
        with Store(folder / "run.db") as store:
            assert store.annotations()["000-00000"].target == Target(("cat",))
        assert lease(client, count=4) == ["000-00001", "000-00002", "000-00003"]


def test_a_class_is_added_in_the_middle(run: Any) -> None:
    folder = run()
    with client_of(folder) as client:
        (id,) = lease(client)
        unknown = post(client, "answer", status=400, query=id, annotator="ann", answer={"kind": "class", "name": "cow"})
        assert "unknown class 'cow'" in unknown["error"]
        for _ in range(2):
            assert post(client, "class", name=" cow ", annotator="ann")["classes"][-2:] == ["blåbær", "cow"]
        assert "'cat' already" in post(client, "class", status=400, name="CAT", annotator="ann")["error"]
        post(client, "class", status=400, name="-", annotator="ann")
        say(client, id, "cow")
    with Store(folder / "run.db") as store:
        assert store.classes() == ("cat", "dog", "blåbær")  # not before a round is made of it
        assert store.people.new_classes() == ("cow",)


@pytest.mark.parametrize(
    "body",
    [
        {"query": "x", "annotator": "", "answer": {"kind": "skipped"}},
        {"query": "x", "annotator": "a\x00b", "answer": {"kind": "skipped"}},
        {"query": "x", "annotator": "a", "answer": {"kind": "poem"}},
        {"query": "x", "annotator": "a", "answer": {"kind": "skipped"}, "seconds": -1},
        {"query": "x", "annotator": "a", "answer": {"kind": "skipped"}, "more": 1},
        {"query": "x", "annotator": "a", "answer": {"kind": "class", "name": "y" * 4001}},
        {"query": "x", "annotator": "a", "answer": {"kind": "boxes", "boxes": [{"name": "cat", "box": [1, 2, 3]}]}},
    ],
)
def test_what_is_no_answer_is_refused(run: Any, body: dict[str, Any]) -> None:
    with client_of(run()) as client:
        post(client, "answer", status=422, **body)


def test_unknown_queries_and_answers_of_another_kind(run: Any) -> None:
    with client_of(run()) as client:
        post(client, "answer", status=404, query="x", annotator="ann", answer={"kind": "skipped"})
        assert client.get("/api/annotate/question?query=x&annotator=ann").status_code == 404
        assert client.get("/api/annotate/regions?query=000-00000").status_code == 404
        wrong = {"kind": "boxes", "boxes": []}
        assert "'class'" in post(client, "answer", status=400, query="000-00000", annotator="a", answer=wrong)["error"]


def test_eight_people_never_share_and_lose_nothing(tmp_path: Path, asked_run: Any) -> None:
    folder = asked_run("classify")
    set_annotator(folder)
    with Store(folder / "run.db") as store, store.transaction():
        store.add_queries(Query(f"000-{i:05d}", 0, i, "e.png") for i in range(4, 120))
    given: dict[str, list[str]] = {}
    said: list[str] = []

    def work(who: str, client: TestClient) -> None:
        while ids := lease(client, who, 3):
            given.setdefault(who, []).extend(ids)
            say(client, ids[0], who=who)
            said.append(ids[0])

    with client_of(folder) as client, client_of(folder) as other:
        for each in (client, other):  # two applications in one process must not build their routes at the same time
            each.get("/api/annotate/state?annotator=nobody")
        people = [threading.Thread(target=work, args=(f"p{i}", client if i % 2 else other)) for i in range(8)]
        for person in people:
            person.start()
        for person in people:
            person.join()
    assert sorted(said) == [f"000-{i:05d}" for i in range(120)]
    owners = Counter(id for who in given for id in set(given[who]))
    assert set(owners.values()) == {1}
    with Store(folder / "run.db") as store:
        assert all(len(answers) == 1 for answers in store.people.answers().values())
        assert len(store.people.answers()) == 120


def test_an_overlap_is_given_to_several_and_decided_by_majority(run: Any) -> None:
    folder = run(annotators=3, overlap=1)
    with client_of(folder) as client:
        for who, name in (("ann", "dog"), ("ben", "cat"), ("cyd", "cat")):
            ids = lease(client, who, 4)
            assert len(ids) == 4
            assert collected(folder, annotators=3, overlap=1) == {}
            for id in ids:
                say(client, id, name, who)
        assert lease(client, "dan") == []
    found = collected(folder, annotators=3, overlap=1)
    assert {a.target for a in found.values()} == {Target(("cat",))}
    assert {a.annotator for a in found.values()} == {"ann, ben, cyd"}


def test_the_overlap_sample_is_a_share_of_the_queries() -> None:
    needed = Counter(Web(annotators=2, overlap=0.3).needed(f"000-{i:05d}") for i in range(2000))
    assert 0.26 < needed[2] / 2000 < 0.34
    assert set(Counter(Web(overlap=1).needed(f"{i}") for i in range(9))) == {1}


def test_boxes_are_kept_inside_the_image(run: Any) -> None:
    proposed = Target(("dog",), np.array([[1.0, 2.0, 10.0, 12.0]]))
    folder = run("detect", lambda id, rank, s: Query(id, 0, rank, s.id, "box", proposal=proposed))
    with client_of(folder) as client:
        found = post(client, "next", annotator="ann")["questions"][0]
        assert found["kind"] == "boxes"
        assert found["proposal"] == [{"name": "dog", "box": [1.0, 2.0, 10.0, 12.0]}]
        boxes = [{"name": "cat", "box": [-5, 3, 17.123, 99]}, {"name": "dog", "box": [0, 0, 1, 1]}]
        post(client, "answer", query=found["id"], annotator="ann", answer={"kind": "boxes", "boxes": boxes})
        thin = [{"name": "cat", "box": [50, 0, 60, 10]}]
        post(client, "answer", status=400, query="000-00001", annotator="a", answer={"kind": "boxes", "boxes": thin})
        post(client, "answer", query="000-00001", annotator="ann", answer={"kind": "boxes", "boxes": []})
    with Store(folder / "run.db") as store:
        kept, empty = (store.people.answers()[id][0].target for id in ("000-00000", "000-00001"))
    assert kept.classes == ("cat", "dog")
    assert kept.geometry.tolist() == [[0, 3, 17.12, 30], [0, 0, 1, 1]]
    assert empty.geometry.shape == (0, 4)


def test_pixels_each_with_a_class_or_none(run: Any) -> None:
    places = np.array([[3, 4], [39, 29], [0, 0]], np.int32)
    proposed = Target(("cat", "dog"), places, np.array([1, 0, 1], np.int32))
    folder = run("segment", lambda id, rank, s: Query(id, 0, rank, s.id, "pixel", places, 3, proposal=proposed))
    with client_of(folder) as client:
        found = post(client, "next", annotator="ann")["questions"][0]
        assert (found["kind"], found["points"]) == ("pixels", [[3, 4], [39, 29], [0, 0]])
        assert found["proposal"] == ["dog", "cat", "dog"]
        few = {"kind": "pixels", "names": ["cat"]}
        assert "3 pixels" in post(client, "answer", status=400, query=found["id"], annotator="a", answer=few)["error"]
        said = {"kind": "pixels", "names": ["blåbær", None, "cat"]}
        post(client, "answer", query=found["id"], annotator="ann", answer=said)
        again = client.get(f"/api/annotate/question?query={found['id']}&annotator=ann").json()
        assert again["mine"] == ["blåbær", None, "cat"]
    with Store(folder / "run.db") as store:
        kept = store.people.answers()[found["id"]][0].target
    assert (kept.classes, kept.geometry.tolist(), kept.codes.tolist()) == (("blåbær", "cat"), [[3, 4], [0, 0]], [0, 1])


def superpixels(id: str, rank: int, sample: Sample) -> Query:
    return Query(id, 0, rank, sample.id, "region", np.array([[5, 6, 9], [6, 6, 9], [0, 1, 2]], np.int32), 2)


def windows(id: str, rank: int, sample: Sample) -> Query:
    return Query(id, 0, rank, sample.id, "region", np.array([[0, 0, 2, 1], [4, 4, 6, 6]], np.int32), 2)


@pytest.mark.parametrize(
    ("query", "bounds", "inside"),
    [
        (superpixels, [[5, 6, 7, 7], [0, 1, 1, 2]], {(5, 6), (6, 6), (0, 1)}),
        (windows, [[0, 0, 2, 1], [4, 4, 6, 6]], {(0, 0), (1, 0), (4, 4), (5, 4), (4, 5), (5, 5)}),
    ],
)
def test_regions_take_only_what_is_inside(run: Any, query: Any, bounds: Any, inside: set[tuple[int, int]]) -> None:
    from io import BytesIO

    from PIL import Image

    folder = run("segment", query)
    with client_of(folder) as client:
        found = post(client, "next", annotator="ann")["questions"][0]
        assert (found["kind"], found["regions"]) == ("regions", bounds)
        picture = np.asarray(Image.open(BytesIO(client.get("/api/annotate/regions?query=000-00000").content)))
        assert {(int(x), int(y)) for y, x in np.argwhere(picture[..., 0])} == inside
        assert picture.max() == 2
        everywhere = {"kind": "regions", "classes": ["cat", "blåbær"], "runs": [1, 40 * 30]}
        post(client, "answer", query=found["id"], annotator="ann", answer=everywhere)
        with Store(folder / "run.db") as store:
            kept = store.people.answers()[found["id"]][0].target
        assert kept.classes == ("blåbær",)
        assert {tuple(p) for p in kept.geometry.tolist()} == inside
        again = client.get("/api/annotate/question?query=000-00000&annotator=ann").json()["mine"]
        assert sum(n for value, n in zip(again[::2], again[1::2], strict=True) if value == 2) == len(inside)


def test_a_mask_is_written_whole(run: Any) -> None:
    folder = run("segment")
    with client_of(folder) as client:
        post(client, "class", name="cow", annotator="ann")
        found = post(client, "next", annotator="ann")["questions"][0]
        assert found["kind"] == "mask"
        runs = [1, 40, -1, 40 * 28, 0, 40]
        said = {"kind": "mask", "classes": ["dog", "blåbær", "cow"], "runs": runs}
        for _ in range(2):
            post(client, "answer", query=found["id"], annotator="ann", answer=said)
        again = client.get(f"/api/annotate/question?query={found['id']}&annotator=ann").json()
        assert again["mine"] == [2, 40, -1, 40 * 28, 1, 40]
    with Store(folder / "run.db") as store:
        kept = store.people.answers()[found["id"]][0].target
    assert kept.classes == ("cat", "dog", "blåbær")  # without the class that is not used
    assert kept.mask.parent == folder / "rounds" / "000" / "masks"
    assert len(list(kept.mask.parent.iterdir())) == 1
    mask = read_mask(kept.mask, 3, size=(40, 30))
    assert (mask[0] == 2).all()
    assert (mask[1:29] == 255).all()
    assert (mask[29] == 1).all()


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([0, 40 * 30 - 1], "fill 40 x 30"),
        ([0, 40 * 30, 1], "fill 40 x 30"),
        ([0, 0, 0, 40 * 30], "fill 40 x 30"),
        ([2, 40 * 30], "classes 0 to 1"),
        ([-1, 40 * 30], "at least one class"),
        ([0, 2**31] * 3, "fill 40 x 30"),
        ([], "fill 40 x 30"),
    ],
)
def test_masks_that_do_not_fit_are_refused(run: Any, runs: list[int], told: str) -> None:
    with client_of(run("segment")) as client:
        said = {"kind": "mask", "classes": ["cat", "dog"], "runs": runs}
        refused = post(client, "answer", status=400, query="000-00000", annotator="ann", answer=said)
        assert told in refused["error"]
