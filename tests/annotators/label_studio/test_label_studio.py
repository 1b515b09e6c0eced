"""Asking in a real Label Studio: every task, every way that pictures get there, and calls that go wrong."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from real_label_studio import EMAIL, Fault, Proxy, Real, project_of

from labelwise.annotators import Desk
from labelwise.annotators.label_studio import LabelStudio
from labelwise.annotators.label_studio.painting import to_brush
from labelwise.data.masks import read_mask
from labelwise.errors import ConfigError, DataError, ServerAway, ServerError
from labelwise.records import Query, Target, Task
from labelwise.testing import check_annotator, make_images, make_queries

pytestmark = [pytest.mark.labelstudio, pytest.mark.usefixtures("token_in_environment")]
CLASSES = ("cat", 'dog "q" <x>', "夜, ü")
QUICK = {"timeout": 20.0, "patience": 30.0}


@pytest.fixture
def desk(tmp_path: Path) -> Callable[..., Desk]:
    samples = make_images(tmp_path / "images", 5)

    def make(task: Task = "classify", classes: tuple[str, ...] = CLASSES) -> Desk:
        return Desk({s.id: s for s in samples}, classes, tmp_path / "run" / "rounds", task)

    return make


def queries_of(desk: Desk, round: int = 0, **changes: Any) -> list[Query]:
    return [replace(query, **changes) for query in make_queries(list(desk.samples.values()), round)]


def choice(label: str) -> list[dict[str, Any]]:
    return [{"from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]


def by_query(real: Real, desk: Desk, kind: str = "classify") -> dict[str, int]:
    """The task of each query; fails if one has two."""
    tasks = real.tasks(project_of(desk.folder, kind))
    found = {task["data"]["labelwise"]: task["id"] for task in tasks}
    assert len(found) == len(tasks)
    return found


def test_the_checks_of_all_annotators(real: Real, tmp_path: Path) -> None:
    def answer(queries: Sequence[Query], desk: Desk) -> None:
        for query, label in zip(queries, itertools.cycle(desk.classes), strict=False):
            real.answer(by_query(real, desk)[query.id], choice(label))

    check_annotator(lambda: LabelStudio(real.url, **QUICK), tmp_path, answer=answer)


def test_classes_as_people_gave_them(real: Real, desk: Callable[..., Desk]) -> None:
    place = desk()
    queries = queries_of(place, proposal=Target((CLASSES[2],)), reason={"score": 0.5, "probability": 0.25})
    annotator = LabelStudio(real.url, **QUICK)
    annotator.submit(queries, place)
    project = project_of(place.folder, "classify")
    shown = real.tasks(project)
    assert [task["data"]["sample"] for task in shown] == [q.sample_id for q in queries]
    assert all("probability 0.25" in t["data"]["reason"] or t["data"]["reason"] for t in shown)
    predicted = [(p["score"], p["result"][0]["value"]["choices"]) for task in shown for p in task["predictions"]]
    assert predicted == [(0.25, [CLASSES[2]])] * 5
    tasks = by_query(real, place)
    real.answer(tasks[queries[0].id], choice(CLASSES[1]), lead_time=3.25)
    real.answer(tasks[queries[1].id], [], was_cancelled=True)
    real.call("POST", f"tasks/{tasks[queries[2].id]}/drafts", {"result": choice("cat"), "lead_time": 1.0})
    real.answer(tasks[queries[3].id], choice("cow"))
    again = real.answer(tasks[queries[4].id], choice("cat"))
    real.call("PATCH", f"annotations/{again['id']}/", {"result": choice(CLASSES[2])})
    found = {a.query_id: a for a in annotator.collect(queries, place)}
    assert sorted(found) == [queries[0].id, queries[1].id, queries[4].id]
    assert (found[queries[0].id].target, found[queries[0].id].seconds) == (Target((CLASSES[1],)), 3.25)
    assert found[queries[1].id].skipped
    assert found[queries[4].id].target == Target((CLASSES[2],))
    assert {a.annotator for a in found.values()} == {EMAIL}
    advice = annotator.advice([queries[2], queries[3]], place)
    assert f"{real.url}/projects/{project}" in advice
    assert "unknown class 'cow'" in advice
    assert "annotator.new_classes=true" in advice
    accepted = LabelStudio(real.url, new_classes=True, **QUICK).collect(queries[3:4], place)
    assert accepted[0].target == Target(("cow",))


def test_boxes(real: Real, desk: Callable[..., Desk]) -> None:
    place = desk("detect")
    proposal = Target((CLASSES[1], "cat"), np.array([[1.5, 2, 30, 31], [0, 0, 32, 32]]))
    queries = queries_of(place)
    queries[0] = replace(queries[0], proposal=proposal)
    annotator = LabelStudio(real.url, **QUICK)
    annotator.submit(queries, place)
    tasks = by_query(real, place, "detect")
    predicted = real.tasks(project_of(place.folder, "detect"))[0]["predictions"][0]["result"]
    real.answer(tasks[queries[0].id], predicted)
    real.answer(tasks[queries[1].id], [])
    turned = {"x": 50, "y": 0, "width": 25, "height": 25, "rotation": 90, "rectanglelabels": ["cat"]}
    box = {"from_name": "box", "to_name": "image", "type": "rectanglelabels"}
    real.answer(tasks[queries[2].id], [{**box, "value": turned}])
    real.answer(tasks[queries[3].id], [{**box, "value": {**turned, "x": 101, "rotation": 0}}])
    found = {a.query_id: a.target for a in annotator.collect(queries, place)}
    assert sorted(found) == [q.id for q in queries[:3]]
    assert found[queries[0].id].classes == proposal.classes
    np.testing.assert_allclose(found[queries[0].id].geometry, proposal.geometry, atol=1e-6)
    assert found[queries[1].id].geometry.shape == (0, 4)
    np.testing.assert_allclose(found[queries[2].id].geometry, [[8, 0, 16, 8]], atol=1e-6)
    assert "no area in the picture" in annotator.advice(queries[3:], place)


def test_whole_masks_and_regions(real: Real, desk: Callable[..., Desk], tmp_path: Path) -> None:
    place = desk("segment")
    whole, window, superpixel, empty = queries_of(place)[:4]
    told = np.array([[x, y] for x in range(4, 8) for y in range(4, 9)], np.int32)
    proposal = Target(("cat", CLASSES[2]), told, np.ones(20, np.int32))
    window = replace(window, unit="region", geometry=np.array([[4, 4, 12, 10], [20, 20, 28, 26]]), proposal=proposal)
    spots = np.array([[x, y, 5] for x in range(3) for y in range(2)], np.int32)
    superpixel = replace(superpixel, unit="region", geometry=spots)
    queries = [whole, window, superpixel, empty]
    annotator = LabelStudio(real.url, **QUICK)
    annotator.submit(queries, place)
    tasks = by_query(real, place, "areas")
    shown = {t["data"]["labelwise"]: t["predictions"] for t in real.tasks(project_of(place.folder, "areas"))}
    assert shown[whole.id] == []
    predicted = shown[window.id][0]["result"]
    assert [(r["id"], r.get("readonly", False)) for r in predicted] == [("asked", True), ("m2", False)]
    brush = {"from_name": "brush", "to_name": "image", "type": "brushlabels"}
    left = np.zeros((32, 32), bool)
    left[:, :10] = True
    painted = {"format": "rle", "rle": to_brush(left), "brushlabels": [CLASSES[1]]}
    real.answer(tasks[whole.id], [{**brush, "value": painted}])
    real.answer(tasks[window.id], [{**brush, "value": painted}, *predicted])
    real.answer(tasks[superpixel.id], [{**brush, "value": painted}])
    real.answer(tasks[empty.id], [])
    found = {a.query_id: a.target for a in annotator.collect(queries, place)}
    assert sorted(found) == [whole.id, window.id, superpixel.id]
    mask = read_mask(found[whole.id].mask, 3, size=(32, 32))
    assert {v: int((mask == v).sum()) for v in np.unique(mask)} == {1: 320, 255: 704}
    counts = np.bincount(found[window.id].codes, minlength=3).tolist()
    assert counts == [0, 6 * 6 - 20, 20]  # of the window's ten columns six are painted, the proposal over it
    assert found[superpixel.id].geometry.tolist() == [[x, y] for y in range(2) for x in range(3)]
    assert "nothing is painted" in annotator.advice([empty], place)


def test_pixels(real: Real, desk: Callable[..., Desk]) -> None:
    place = desk("segment")
    asked = np.array([[3, 4], [31, 31], [0, 0]], np.int32)
    queries = queries_of(place, unit="pixel", geometry=asked)[:2]
    queries[0] = replace(queries[0], proposal=Target(("cat",), asked[:2], np.zeros(2, np.int32)))
    annotator = LabelStudio(real.url, **QUICK)
    annotator.submit(queries, place)
    tasks = by_query(real, place, "pixels")
    predicted = real.tasks(project_of(place.folder, "pixels"))[0]["predictions"][0]["result"]
    predicted[1]["value"]["keypointlabels"] = [CLASSES[1]]
    real.answer(tasks[queries[0].id], predicted[:2])
    real.answer(tasks[queries[1].id], predicted)
    found = annotator.collect(queries, place)
    assert [a.query_id for a in found] == [queries[0].id]
    assert found[0].target.geometry.tolist() == [[3, 4], [31, 31]]
    assert found[0].target.codes.tolist() == [0, 1]
    assert "a point has no class" in annotator.advice(queries[1:], place)


def test_several_annotations_of_a_task(real: Real, desk: Callable[..., Desk]) -> None:
    place = desk()
    queries = queries_of(place)[:3]
    annotator = LabelStudio(real.url, overlap=2, **QUICK)
    annotator.submit(queries, place)
    tasks = by_query(real, place)
    assert real.call("GET", f"projects/{project_of(place.folder, 'classify')}/")["maximum_annotations"] == 2
    for query in queries[:2]:
        real.answer(tasks[query.id], choice("cat"))
    assert annotator.collect(queries, place) == []
    real.answer(tasks[queries[0].id], choice(CLASSES[1]))
    real.answer(tasks[queries[1].id], choice(CLASSES[2]), was_cancelled=True)
    real.answer(tasks[queries[2].id], choice(CLASSES[2]), ground_truth=True)
    found = {a.query_id: a.target for a in annotator.collect(queries, place)}
    assert found == {
        queries[0].id: Target((CLASSES[1],)),
        queries[1].id: Target(("cat",)),
        queries[2].id: Target((CLASSES[2],)),
    }
    first = LabelStudio(real.url, overlap=2, counts="first", **QUICK).collect(queries[:1], place)
    assert first[0].target == Target(("cat",))


def test_a_class_that_came_later_and_what_people_changed(real: Real, desk: Callable[..., Desk]) -> None:
    queries = queries_of(desk())
    annotator = LabelStudio(real.url, **QUICK)
    annotator.submit(queries[:2], desk())
    place = desk(classes=(*CLASSES, "owl"))
    project = project_of(place.folder, "classify")
    before = real.call("GET", f"projects/{project}/")
    theirs = before["label_config"].replace("<Choices", '<TextArea name="note" toName="image" /><Choices')
    real.call("PATCH", f"projects/{project}/", {"label_config": theirs, "title": "ours", "maximum_annotations": 3})
    annotator.submit([*queries[2:], *queries_of(place, 1)], place)
    after = real.call("GET", f"projects/{project}/")
    assert (after["title"], after["maximum_annotations"]) == ("ours", 3)
    assert "TextArea" in after["label_config"]
    assert after["parsed_label_config"]["class"]["labels"] == [*CLASSES, "owl"]
    assert len(by_query(real, place)) == 10
    assert len(real.projects(json.loads((place.folder / "label_studio.json").read_text())["key"])) == 1
    broken = theirs.replace('name="class"', 'name="kind"')
    real.call("PATCH", f"projects/{project}/", {"label_config": broken})
    with pytest.raises(DataError, match=rf"projects/{project}.*expected <Choices name='class'>"):
        annotator.submit(queries_of(place, 2), place)


def test_the_notes_may_be_lost_but_not_the_key(real: Real, desk: Callable[..., Desk]) -> None:
    place = desk()
    queries = queries_of(place)
    annotator = LabelStudio(real.url, **QUICK)
    annotator.submit(queries, place)
    notes = place.folder / "label_studio.json"
    key = json.loads(notes.read_text())["key"]
    project = project_of(place.folder, "classify")
    notes.write_text(json.dumps({"key": key}))
    LabelStudio(real.url, **QUICK).submit(queries, place)
    assert project_of(place.folder, "classify") == project
    assert len(by_query(real, place)) == 5
    real.call("DELETE", f"projects/{project}/")
    assert annotator.collect(queries, place) == []
    annotator.submit(queries, place)  # a project that people deleted is made again, with what is open
    assert project_of(place.folder, "classify") != project
    assert len(by_query(real, place)) == 5


@pytest.mark.parametrize("images", ["upload", "local", "url"])
def test_ways_of_pictures(real: Real, tmp_path: Path, images: str) -> None:
    import httpx

    folder = real.documents / tmp_path.name / "pics"
    samples = make_images(folder, 2)
    odd = folder / "sub dir" / "ü, #1%.png"
    odd.parent.mkdir()
    Image.new("RGB", (20, 10), (1, 2, 3)).save(odd)
    scan = folder / "scan.tif"
    Image.new("RGB", (20, 10), (9, 8, 7)).save(scan)
    samples.append(replace(samples[0], id="sub dir/ü, #1%.png", path=odd, content="c1", size=(20, 10)))
    if images == "upload":
        samples.append(replace(samples[0], id="scan.tif", path=scan, content="c2", size=(20, 10)))
    desk = Desk({s.id: s for s in samples}, CLASSES, tmp_path / "run" / "rounds")
    ways = {"upload": {}, "local": {"document_root": real.documents}, "url": {"images_url": "https://host/pics/"}}
    annotator = LabelStudio(real.url, images=images, **ways[images], **QUICK)
    queries = make_queries(samples)
    annotator.submit(queries, desk)
    annotator.submit([*queries, *make_queries(samples, 1)], desk)
    project = project_of(desk.folder, "classify")
    places = {task["data"]["sample"]: task["data"]["image"] for task in real.tasks(project)}
    assert len(real.tasks(project)) == 2 * len(samples)
    if images == "url":
        assert places["sub dir/ü, #1%.png"] == "https://host/pics/sub%20dir/%C3%BC%2C%20%231%25.png"
        return
    for sample in samples:
        address = real.call("GET", f"tasks/{next(t['id'] for t in real.tasks(project))}/")  # as a browser is told
        assert address
        found = httpx.get(real.url + places[sample.id], headers={"Authorization": f"Token {real.token}"})
        assert found.status_code == 200, places[sample.id]
        if sample.path.suffix == ".png":
            assert found.content == sample.path.read_bytes()
        else:
            assert found.headers["content-type"] == "image/png"
    if images == "upload":
        assert len(real.call("GET", f"projects/{project}/file-uploads?all=true")) == len(samples)
    else:
        assert len(real.call("GET", f"storages/localfiles?project={project}")) == 1


FAULTS: Mapping[str, list[Fault]] = {
    "the connection drops after the work": [
        Fault("after", r"^/api/projects/$"),
        Fault("after", "commit_to_project=false"),
        Fault("after", r"/import$"),
    ],
    "the connection drops before the work": [
        Fault("before", r"^/api/projects/"),
        Fault("before", "commit_to_project=false"),
        Fault("before", r"/import$", times=2),
    ],
    "the server fails": [
        Fault("500", r"^/api/projects/$"),
        Fault("503", "commit_to_project=false"),
        Fault("502", r"/import$", times=2),
        Fault("500", r"^/api/tasks", "GET", times=2),
        Fault("429", "file-uploads", "GET"),
    ],
    "the answer comes too late": [Fault("slow", r"^/api/projects/$"), Fault("slow", r"/import$")],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_call_that_goes_wrong_doubles_nothing_and_loses_nothing(
    real: Real, proxy: Proxy, desk: Callable[..., Desk], name: str
) -> None:
    place = desk()
    proxy.faults, proxy.patience = [replace(fault) for fault in FAULTS[name]], 6
    queries = queries_of(place)
    annotator = LabelStudio(proxy.url, timeout=4.0, patience=60.0)
    annotator.submit(queries, place)
    assert all(fault.times == 0 for fault in proxy.faults)
    key = json.loads((place.folder / "label_studio.json").read_text())["key"]
    assert len(real.projects(key)) == 1
    tasks = by_query(real, place)
    assert sorted(tasks) == [q.id for q in queries]
    for query in queries:
        real.answer(tasks[query.id], choice("cat"))
    proxy.faults = [
        Fault("after", r"^/api/tasks", "GET"),
        Fault("500", r"^/api/users", "GET"),
        Fault("502", ".", "GET"),
    ]
    assert [a.query_id for a in annotator.collect(queries, place)] == [q.id for q in queries]


def test_work_that_the_server_does_after_the_caller_gave_up(
    real: Real, proxy: Proxy, desk: Callable[..., Desk]
) -> None:
    """Then a task may stand there twice, but every query has one answer, whichever of the two a person found."""
    place = desk()
    queries = queries_of(place)[:2]
    proxy.patience, proxy.faults = 6, [Fault("late", r"/import$")]
    annotator = LabelStudio(proxy.url, timeout=2.0, patience=60.0)
    annotator.submit(queries, place)
    for _ in range(60):
        tasks = real.tasks(project_of(place.folder, "classify"))
        if len(tasks) == 4:
            break
        time.sleep(0.25)
    assert [t["data"]["labelwise"] for t in tasks] == [q.id for q in queries] * 2
    annotator.submit(queries, place)
    assert len(real.tasks(project_of(place.folder, "classify"))) == 4
    real.answer(tasks[0]["id"], choice("cat"))
    real.answer(tasks[3]["id"], choice(CLASSES[1]))
    found = {a.query_id: a.target for a in annotator.collect(queries, place)}
    assert found == {queries[0].id: Target(("cat",)), queries[1].id: Target((CLASSES[1],))}


def test_a_server_that_stays_away_is_told_in_one_line_and_then_gone_on_with(
    real: Real, proxy: Proxy, desk: Callable[..., Desk]
) -> None:
    place = desk()
    queries = queries_of(place)
    proxy.faults = [Fault("after", r"/import$"), Fault("503", r"^/api/tasks", "GET", times=1000)]
    with pytest.raises(ServerAway, match=r"Label Studio at .*run again") as caught:
        LabelStudio(proxy.url, timeout=5.0, patience=2.0).submit(queries, place)
    assert "\n" not in str(caught.value)
    proxy.faults = []
    LabelStudio(proxy.url, **QUICK).submit(queries, place)
    assert len(by_query(real, place)) == 5


def test_a_personal_access_token_is_refreshed(
    real: Real, proxy: Proxy, desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = desk()
    queries = queries_of(place)[:2]
    real.call("POST", "jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
    token = real.call("POST", "token/", {})["token"]
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    annotator = LabelStudio(proxy.url, **QUICK)
    proxy.faults = [Fault("401", r"commit_to_project=false"), Fault("500", "token/refresh")]
    annotator.submit(queries, place)
    assert proxy.count("POST", "token/refresh") == 3  # one failed, one for the first call, one after it had expired
    real.answer(by_query(real, place)[queries[0].id], choice("cat"))
    assert len(annotator.collect(queries, place)) == 1
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token[:-4] + "AAAA")
    with pytest.raises(ServerError, match=r"refuses the credentials.*LABEL_STUDIO_API_KEY") as caught:
        annotator.collect(queries, place)
    assert token[:20] not in str(caught.value)


@pytest.mark.parametrize("token", ["f" * 40, "not a token"])
def test_a_wrong_token_is_told_in_one_line(
    real: Real, desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    with pytest.raises(ServerError, match=r"refuses the credentials.*LABEL_STUDIO_API_KEY") as caught:
        LabelStudio(real.url, **QUICK).submit(queries_of(desk()), desk())
    assert token not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_credentials_and_addresses(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("label_studio_sdk")
    queries = queries_of(desk())
    with pytest.raises(ConfigError, match=r"annotator\.url is missing.*LABEL_STUDIO_URL"):
        LabelStudio().submit(queries, desk())
    with pytest.raises(ServerAway, match="nothing listens there"):
        LabelStudio("http://127.0.0.1:9", patience=0).submit(queries, desk())
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    with pytest.raises(ConfigError, match=r"LABEL_STUDIO_API_KEY \(environment or \.env\)"):
        LabelStudio("http://127.0.0.1:9").submit(queries, desk())
