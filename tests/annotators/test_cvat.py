"""Asking in CVAT: a server with people and faults; nothing asked twice, no answer lost or doubled."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cvat_sdk")

from fake_cvat import TOKEN, FakeCvat, Fault, mask_points

from labelwise.annotators import Desk
from labelwise.annotators.cvat import NOTES, Cvat, link, proposals, tasks
from labelwise.annotators.cvat.projects import label_names
from labelwise.annotators.cvat.tasks import How, frame_name, plans
from labelwise.data.masks import read_mask, write_mask
from labelwise.errors import ConfigError, ServerAway, ServerError
from labelwise.records import Sample, Target
from labelwise.testing import check_annotator, make_queries

CLASSES = ("cat", "dog", "blåbær", "never drawn")


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("CVAT_URL", "CVAT_USERNAME", "CVAT_PASSWORD", "FIFTYONE_CVAT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setattr("labelwise.annotators.remote.Patience.__init__.__defaults__", (6, 0.001, 0.01, 90.0))
    monkeypatch.setattr(tasks, "LOOK", 0.001)
    fake = FakeCvat()
    yield fake
    fake.close()


@pytest.fixture
def samples(tmp_path):
    """Seven images of 40 x 30 pixels; two share a file name, one is stored turned."""
    found = []
    for i, id in enumerate(["a.png", "b.png", "sub/ü, c.jpg", "sub/a.png", "d.png", "e.png", "f.png"]):
        path = tmp_path / "images" / id
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (40, 30), (30 * i, 99, 20))
        if i == 2:
            exif = Image.Exif()
            exif[0x0112] = 6
            picture.rotate(90, expand=True).save(path, exif=exif)
        else:
            picture.save(path)
        found.append(Sample(id, path, content=hashlib.md5(path.read_bytes()).hexdigest(), size=(40, 30)))
    return found


def desk_of(samples, tmp_path, task="detect", classes=CLASSES):
    return Desk({s.id: s for s in samples}, classes, tmp_path / "runs" / "pets" / "rounds", task)


def frame_of(server, sample):
    """Task and frame number of an image, which is there once."""
    name = frame_name(sample, How("upload", "", None, 50, 80))
    found = [(task, number) for task, number, other in server.frames() if other == name]
    assert len(found) == 1
    return found[0]


def proposed(samples, *boxes):
    """Queries with these boxes of cats as proposals."""
    target = Target(("cat",) * len(boxes), np.array(boxes, float).reshape(-1, 4))
    return [dataclasses.replace(q, proposal=target) for q in make_queries(samples)]


def by_sample(answers, queries):
    of = {q.id: q.sample_id for q in queries}
    assert len({a.query_id for a in answers}) == len(answers)
    return {of[a.query_id]: a for a in answers}


def test_conformance(server, tmp_path):
    def answer(queries, desk):
        for task, frame, name in server.frames():
            server.draw(task, frame, ("blue", "red")[int(name[:3]) % 2])
        server.complete()

    check_annotator(lambda: Cvat(url=server.url, job_size=2), tmp_path, answer=answer)


def test_what_is_asked(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), proposed(samples, [1, 2, 11.5, 12], [5, 5, 9, 9])
    annotator = Cvat(url=server.url, job_size=3)
    annotator.submit(queries, desk)
    (project,) = server.projects.values()
    assert project["name"] == "pets"
    # The full list of classes, whatever is proposed; and a tag to skip.
    assert {label["name"]: label["type"] for label in server.labels.values()} == {
        **dict.fromkeys(CLASSES, "rectangle"),
        "skip": "tag",
    }
    (task,) = server.tasks.values()
    assert task["name"].startswith("pets round 000 [")
    assert [(f["width"], f["height"]) for f in task["frames"]] == [(40, 30)] * 7
    for frame, sample in zip(task["frames"], samples, strict=True):
        assert task["files"][frame["name"]] == sample.path.read_bytes()
    assert [(j["start_frame"], j["stop_frame"]) for j in server.jobs.values()] == [(0, 2), (3, 5), (6, 6)]
    shapes = task["annotations"]["shapes"]
    assert len(shapes) == 14
    assert {s["source"] for s in shapes} == {"auto"}
    assert shapes[0]["points"] == [1, 2, 11.5, 12]
    # Nothing that is secret lies in the run.
    text = (desk.folder / "000" / NOTES).read_text(encoding="utf-8")
    assert TOKEN not in text
    assert json.loads(text)["project"] == project["id"]
    assert f"{server.url}/projects/{project['id']}" in annotator.advice(queries, desk)


def test_asked_again_nothing_is_sent(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    Cvat(url=server.url).submit(queries, desk)
    before = len(server.requests)
    Cvat(url=server.url).submit(queries, desk)
    Cvat(url=server.url).submit(queries[3:], desk)
    assert len(server.requests) == before
    assert Cvat(url=server.url).collect(queries, desk) == []
    assert len(server.requests) == before + 1, "a look costs one request a task"


def test_without_notes_the_server_is_searched(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), proposed(samples, [1, 2, 11, 12])
    Cvat(url=server.url, task_size=3).submit(queries, desk)
    assert len(server.tasks) == 3
    (desk.folder / "000" / NOTES).unlink()
    server.draw(*frame_of(server, samples[0]), "dog", [3, 3, 9, 9])
    server.complete(next(iter(server.tasks)))
    # Also with other sizes, and after some were answered.
    for left in (queries, queries[2:]):
        Cvat(url=server.url, task_size=100).submit(left, desk)
        assert len(server.tasks) == 3
        assert len([s for t in server.tasks.values() for s in t["annotations"]["shapes"]]) == 7 + 1
        (desk.folder / "000" / NOTES).unlink()
    Cvat(url=server.url).submit(queries, desk)
    assert len(Cvat(url=server.url).collect(queries, desk)) == 3


def test_a_later_round_and_more_images_get_tasks_of_their_own(server, samples, tmp_path):
    desk = desk_of(samples, tmp_path)
    first, later = make_queries(samples[:2]), make_queries(samples[2:4], round=1)
    more = make_queries(samples)[4:]
    for queries in (first, [*first, *more], later):
        Cvat(url=server.url).submit(queries, desk)
    assert [len(t["frames"]) for t in server.tasks.values()] == [2, 3, 2]
    assert len(server.projects) == 1


def test_boxes(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), proposed(samples, [1, 2, 11, 12])
    annotator = Cvat(url=server.url, job_size=10)
    annotator.submit(queries, desk)
    at = {s.id: frame_of(server, s) for s in samples}
    server.draw(*at["a.png"], "dog", [20.25, 3, 30, 9])  # beside the proposal, which stays
    server.clear(*at["b.png"])  # nothing there
    server.clear(*at["sub/ü, c.jpg"])
    server.draw(*at["sub/ü, c.jpg"], "blåbær", [10, 10, 30, 20], rotation=90.0)
    server.draw(*at["sub/ü, c.jpg"], "cat", [30, 20, 50, 40])  # reaches outside
    server.draw(*at["sub/a.png"], "skip")
    server.clear(*at["d.png"])
    server.draw(*at["d.png"], "dog", [2, 2, 12, 2, 12, 8], type="polygon")
    area = np.zeros((30, 40), bool)
    area[4:9, 7:20] = True
    area[4, 7] = False
    server.draw(*at["d.png"], "cat", mask_points(area), type="mask")
    server.draw(*at["d.png"], "cat", [20, 15, 24, 12], type="ellipse")
    server.tasks[at["e.png"][0]]["deleted"].append(at["e.png"][1])
    server.draw(*at["f.png"], "cat", [1, 1, 5, 5, 9, 9], type="polyline")
    assert annotator.collect(queries, desk) == []
    server.complete(assignee="ann")
    found = by_sample(annotator.collect(queries, desk), queries)
    assert found.keys() == {s.id for s in samples} - {"f.png"}
    assert found["a.png"].target.classes == ("cat", "dog")
    np.testing.assert_allclose(found["a.png"].target.geometry, [[1, 2, 11, 12], [20.25, 3, 30, 9]])
    assert found["b.png"].target.classes == ()
    assert found["sub/ü, c.jpg"].target.classes == ("blåbær", "cat")
    np.testing.assert_allclose(found["sub/ü, c.jpg"].target.geometry, [[15, 5, 25, 25], [30, 20, 40, 30]])
    assert found["sub/a.png"].skipped
    assert found["e.png"].skipped
    np.testing.assert_allclose(found["d.png"].target.geometry, [[2, 2, 12, 8], [7, 4, 20, 9], [16, 12, 24, 18]])
    assert {a.annotator for a in found.values()} == {"ann"}
    told = "\n".join(annotator.remarks())
    for words in ("1 images were deleted", "with a rotation", "clipped", "polyline", "around polygons", "around masks"):
        assert words in told
    assert annotator.remarks() == []
    advice = annotator.advice(queries[6:], desk)
    assert "1 of 1 jobs are" in advice
    assert "f.png" in advice


def test_only_completed_jobs_count_and_each_is_read_once(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    annotator = Cvat(url=server.url, job_size=2)
    annotator.submit(queries, desk)
    first = next(iter(server.jobs.values()))
    first["state"] = "completed"
    found = by_sample(annotator.collect(queries, desk), queries)
    assert found.keys() == {"a.png", "b.png"}
    assert all(a.annotator == "cvat" and a.target.classes == () for a in found.values())
    before = [path for _, path in server.requests if "annotations" in path]
    annotator.collect(queries, desk)
    assert [path for _, path in server.requests if "annotations" in path] == before
    # Somebody opens it again, and draws.
    first["state"] = "in progress"
    assert annotator.collect(queries, desk) == []
    server.draw(*frame_of(server, samples[0]), "cat", [1, 1, 5, 5])
    first["state"] = "completed"
    assert by_sample(annotator.collect(queries, desk), queries)["a.png"].target.classes == ("cat",)


@pytest.mark.parametrize(("wanted", "found"), [("annotation", 3), ("validation", 2), ("acceptance", 1)])
def test_the_stage_that_counts(server, samples, tmp_path, wanted, found):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:4])
    annotator = Cvat(url=server.url, job_size=1, stage=wanted)
    annotator.submit(queries, desk)
    stages = ("annotation", "validation", "acceptance", "acceptance")
    for job, stage, state in zip(server.jobs.values(), stages, ("completed",) * 3 + ("rejected",), strict=True):
        job |= {"stage": stage, "state": state}
    assert len(annotator.collect(queries, desk)) == found


def test_jobs_that_check_others_are_no_answers(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    (job,) = server.jobs.values()
    server.jobs[999] = {**job, "id": 999, "type": "ground_truth", "state": "completed"}
    assert annotator.collect(queries, desk) == []


def test_classes(server, samples, tmp_path):
    desk = desk_of(samples, tmp_path, "classify")
    queries = [dataclasses.replace(q, proposal=Target(("cat",))) for q in make_queries(samples)]
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    assert {label["type"] for label in server.labels.values()} == {"tag"}
    at = {s.id: frame_of(server, s) for s in samples}
    server.draw(*at["b.png"], "dog")  # the proposal, cat, is left beside it
    server.draw(*at["sub/ü, c.jpg"], "skip")
    server.draw(*at["sub/a.png"], "dog")
    server.draw(*at["sub/a.png"], "cat")
    server.clear(*at["d.png"])
    server.clear(*at["e.png"])
    server.draw(*at["e.png"], "cat", [1, 1, 5, 5])
    server.complete()
    found = by_sample(annotator.collect(queries, desk), queries)
    assert {id: a.target and a.target.classes for id, a in found.items()} == {
        "a.png": ("cat",),
        "b.png": ("dog",),
        "sub/ü, c.jpg": None,
        "f.png": ("cat",),
    }
    told = "\n".join(annotator.remarks())
    assert "expected one tag, found 'dog', 'cat'" in told
    assert "2 images of completed jobs have no tag and stay open: d.png, e.png" in told
    assert "a rectangle 'cat' was not read" in told
    assert "stay open" in annotator.advice([q for q in queries if q.sample_id == "d.png"], desk)


def test_masks(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path, "segment"), make_queries(samples)
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    at = {s.id: frame_of(server, s) for s in samples}
    area = np.zeros((30, 40), bool)
    area[4:9, 7:20] = True
    server.draw(*at["a.png"], "dog", mask_points(area), type="mask", z_order=1)
    server.draw(*at["a.png"], "blåbær", [0, 0, 10, 0, 10, 6, 0, 6], type="polygon")
    server.draw(*at["b.png"], "skip")
    server.draw(*at["d.png"], "cat", [1, 1, 5, 5], type="points")
    server.draw(*at["e.png"], "cat", [5.0, 7.0, 0.0, 0.0, 3.0, 2.0], type="mask")  # twelve pixels: runs of 5 and 7
    server.draw(*at["f.png"], "cat", [5.0, 8.0, 0.0, 0.0, 3.0, 2.0], type="mask")  # broken: 13 in a box of 12
    server.complete()
    found = by_sample(annotator.collect(queries, desk), queries)
    assert found.keys() == {"a.png", "b.png", "e.png"}
    expected = np.full((30, 40), 255, np.uint8)
    expected[:6, :10] = 2
    expected[4:9, 7:20] = 1  # above, by its z_order
    target = found["a.png"].target
    assert target.classes == CLASSES
    np.testing.assert_array_equal(read_mask(target.mask, 4), expected)
    assert target.mask.parent == desk.folder / "000" / "masks"
    assert int((read_mask(found["e.png"].target.mask, 4) == 0).sum()) == 7
    told = "\n".join(annotator.remarks())
    assert "found a points" in told
    assert "run lengths of 12 pixels" in told
    assert "have nothing drawn and stay open: sub/ü, c.jpg, sub/a.png" in told


def test_masks_that_are_proposed_come_back_as_they_were(server, samples, tmp_path):
    desk, mask = desk_of(samples, tmp_path, "segment"), np.full((30, 40), 255, np.uint8)
    mask[2:20, 3:30], mask[5:9, 8:12], mask[0, 0] = 0, 2, 2
    write_mask(tmp_path / "proposal.png", mask)
    target = Target(CLASSES, mask=tmp_path / "proposal.png")
    queries = [dataclasses.replace(q, proposal=target) for q in make_queries(samples[:2])]
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    (task,) = server.tasks.values()
    assert [s["type"] for s in task["annotations"]["shapes"]] == ["mask"] * 4
    server.complete()
    for answer in annotator.collect(queries, desk):
        np.testing.assert_array_equal(read_mask(answer.target.mask, 4), mask)


def test_a_label_that_is_no_class(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:2])
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    (project,) = server.projects
    server._add_labels(project, [{"name": "owl", "type": "any"}])
    server.draw(*frame_of(server, samples[0]), "owl", [1, 1, 5, 5])
    server.complete()
    assert by_sample(annotator.collect(queries, desk), queries).keys() == {"b.png"}
    assert "unknown class 'owl' in 1 image" in "\n".join(annotator.remarks())
    assert "set annotator.new_classes=true" in annotator.advice(queries[:1], desk)
    found = by_sample(Cvat(url=server.url, new_classes=True).collect(queries, desk), queries)
    assert found["a.png"].target.classes == ("owl",)


def test_an_empty_image_may_stay_open(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:2])
    annotator = Cvat(url=server.url, blank="open")
    annotator.submit(queries, desk)
    server.complete()
    assert annotator.collect(queries, desk) == []
    assert "2 images of completed jobs have no box and stay open" in annotator.advice(queries, desk)


def test_the_share_and_the_cloud_are_named_not_sent(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:2])
    server.share = {f"pets/2026/{s.id}": s.path.read_bytes() for s in samples}
    annotator = Cvat(url=server.url, images="share", folder="/pets/2026/")
    annotator.submit(queries, desk)
    cloud = Cvat(url=server.url, images="cloud", cloud=7, folder="pets/2026", project="other")
    cloud.submit(queries, dataclasses.replace(desk, folder=tmp_path / "runs" / "c" / "rounds"))
    first, second = (r["given"] for r in server.running.values())
    assert first["server_files"] == ["pets/2026/a.png", "pets/2026/b.png"] == second["server_files"]
    assert "cloud_storage_id" not in first
    assert second["cloud_storage_id"] == 7
    assert not any(t["files"] for t in server.tasks.values())
    server.complete()
    assert len(annotator.collect(queries, desk)) == 2
    missing = Cvat(url=server.url, images="share", folder="elsewhere", project="third")
    with pytest.raises(ServerError, match=r"No such file or directory: elsewhere/a\.png; mend that"):
        missing.submit(queries, dataclasses.replace(desk, folder=tmp_path / "runs" / "d" / "rounds"))


def test_an_organisation(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:2])
    Cvat(url=server.url).submit(queries, desk)
    (desk.folder / "000" / NOTES).unlink()
    Cvat(url=server.url, organisation="zoo").submit(queries, desk)
    assert [p["org"] for p in server.projects.values()] == ["", "zoo"]


def test_an_assignee(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    Cvat(url=server.url, assignee="bob", job_size=4).submit(queries, desk)
    assert [j["assignee"]["username"] for j in server.jobs.values()] == ["bob", "bob"]
    other = dataclasses.replace(desk, folder=tmp_path / "runs" / "e" / "rounds")
    with pytest.raises(ServerError, match="user 'eve'"):
        Cvat(url=server.url, assignee="eve").submit(queries, other)


def test_images_go_in_bounded_parts_and_proposals_too(server, samples, tmp_path, monkeypatch):
    sizes = [s.path.stat().st_size for s in samples]
    monkeypatch.setattr(tasks, "BATCH", max(sizes))
    monkeypatch.setattr(proposals, "SHAPES", 5)
    queries = proposed(samples, *[[i, i, i + 5, i + 5] for i in range(2)])
    Cvat(url=server.url).submit(queries, desk_of(samples, tmp_path))
    forms = [b for b in server.bodies if b"client_files" in b]
    assert len(forms) >= sum(sizes) / max(sizes)
    assert all(len(b) < max(sizes) + 3000 for b in forms)
    assert sum(path.endswith("/annotations/") and m == "PATCH" for m, path in server.requests) == 4
    (task,) = server.tasks.values()
    assert len(task["annotations"]["shapes"]) == 14


def test_proposals_may_stay_at_home(server, samples, tmp_path):
    Cvat(url=server.url, proposals=False).submit(proposed(samples, [1, 1, 5, 5]), desk_of(samples, tmp_path))
    (task,) = server.tasks.values()
    assert task["annotations"]["shapes"] == []


def test_a_project_that_is_there_gets_the_labels_it_lacks(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:1])
    server.projects[1] = {"id": 1, "name": "pets", "org": ""}
    server._add_labels(1, [{"name": "dog", "type": "any"}, {"name": "own", "type": "polygon"}])
    Cvat(url=server.url).submit(queries, desk)
    assert len(server.projects) == 1
    assert sorted(label["name"] for label in server.labels.values()) == sorted([*CLASSES, "own", "skip"])
    server.projects[2] = {"id": 2, "name": "pets", "org": ""}
    (desk.folder / "000" / NOTES).unlink()
    with pytest.raises(ServerError, match=r"found #1, #2; rename one, or give annotator.project='#1'"):
        Cvat(url=server.url).submit(queries, desk)
    Cvat(url=server.url, project="#1").submit(queries, desk)
    assert len(server.tasks) == 1
    server._add_labels(2, [{"name": "cat", "type": "polygon"}])
    with pytest.raises(ServerError, match="label 'cat' of project #2 for rectangle or any, found it for polygon"):
        Cvat(url=server.url, project="#2").submit(make_queries(samples[1:2], round=1), desk)


def test_names_that_cvat_would_change(server, samples, tmp_path):
    long = ["x" * 70 + "1", "x" * 70 + "2", "skip", "two  words"]
    labels = label_names(long)
    assert len(set(labels.values())) == 4
    assert all(len(label) <= 64 and label == label.strip() for label in labels.values())
    assert labels["skip"] == "skip"
    desk, queries = desk_of(samples, tmp_path, classes=tuple(long)), make_queries(samples[:2])
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    assert {label["type"] for label in server.labels.values()} == {"rectangle"}, "skip is a class here"
    server.draw(*frame_of(server, samples[0]), labels[long[1]], [1, 1, 5, 5])
    server.draw(*frame_of(server, samples[0]), labels["two  words"], [1, 1, 6, 6])
    server.complete()
    found = by_sample(annotator.collect(queries, desk), queries)
    assert found["a.png"].target.classes == (long[1], "two  words")


def test_where_skip_is_a_class_frames_are_deleted_instead(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path, "classify", ("skip", "cat")), make_queries(samples[:2])
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    server.draw(*frame_of(server, samples[0]), "skip")
    next(iter(server.tasks.values()))["deleted"].append(1)
    server.complete()
    found = by_sample(annotator.collect(queries, desk), queries)
    assert found["a.png"].target.classes == ("skip",)
    assert found["b.png"].skipped
    assert by_sample(annotator.collect(queries[1:], desk), queries)["b.png"].skipped


def test_frames_have_names_of_their_own(samples):
    how = How("upload", "", None, 50, 80)
    names = [frame_name(s, how) for s in samples]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and "/" not in name and " " not in name for name in names)
    other = dataclasses.replace(samples[0], content="other")
    assert frame_name(other, how) != names[0]
    assert frame_name(Sample("ü/é.JPG", samples[0].path), how).startswith("image-")
    assert len(frame_name(Sample("x" * 500 + ".png", samples[0].path), how)) < 120


def test_plans_hold_every_query_once(samples):
    queries = make_queries(samples)
    for size in (None, 1, 3, 7, 100):
        made = plans(queries, "r", size)
        assert [q.id for plan in made for q in plan.queries] == [q.id for q in queries]
        assert len({plan.name for plan in made}) == len(made)
        assert [p.name for p in made] == [p.name for p in plans(queries, "r", size)]
    assert plans([], "r", None) == []


def test_a_frame_of_another_size_stays_open(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:2])
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    (task,) = server.tasks.values()
    task["frames"][0]["width"] = 41
    server.complete()
    assert by_sample(annotator.collect(queries, desk), queries).keys() == {"b.png"}
    assert "expected 40 x 30 pixels as in the run, CVAT has 41 x 30" in annotator.advice(queries[:1], desk)


def test_a_task_that_is_gone(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:2])
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    server.tasks.clear()
    server.jobs.clear()
    with pytest.raises(ServerError, match=r"which asks 2 open images, is gone; remove cvat\.json"):
        annotator.collect(queries, desk)
    (desk.folder / "000" / NOTES).unlink()
    annotator.submit(queries, desk)
    assert len(server.frames()) == 2


# What is refused, and what is secret.


def test_what_cannot_be_asked_is_refused(server, samples, tmp_path):
    desk = desk_of(samples, tmp_path)
    pixels = [dataclasses.replace(q, unit="pixel", geometry=np.zeros((1, 2), int)) for q in make_queries(samples[:1])]
    with pytest.raises(ConfigError, match=r"whole images.*annotator=files"):
        Cvat(url=server.url).submit(pixels, desk)
    with pytest.raises(ConfigError, match=r"name them in data\.classes"):
        Cvat(url=server.url).submit(make_queries(samples), desk_of(samples, tmp_path, classes=()))
    for options in ({"images": "cloud"}, {"cloud": 3}):
        with pytest.raises(ConfigError, match=r"annotator\.cloud"):
            Cvat(url=server.url, **options)
    with pytest.raises(ConfigError, match=r"annotator\.url"):
        Cvat(url="cvat.example")
    with pytest.raises(ConfigError, match=r"annotator\.url \(or CVAT_URL\)"):
        Cvat().submit(make_queries(samples), desk)


def test_credentials(server, samples, tmp_path, monkeypatch):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples[:1])
    monkeypatch.delenv("CVAT_ACCESS_TOKEN")
    with pytest.raises(ConfigError, match="expected CVAT_ACCESS_TOKEN, or CVAT_USERNAME and CVAT_PASSWORD"):
        Cvat(url=server.url).submit(queries, desk)
    (tmp_path / ".env").write_text(f"CVAT_USERNAME=ann\nCVAT_PASSWORD=wrong\nCVAT_URL={server.url}\n")
    with pytest.raises(ServerError) as caught:
        Cvat().submit(queries, desk)
    assert "Unable to log in" in str(caught.value)
    assert "wrong" not in str(caught.value)
    (tmp_path / ".env").write_text(f"CVAT_USERNAME=ann\nCVAT_PASSWORD=pass-word-1\nCVAT_URL={server.url}/\n")
    annotator = Cvat()
    annotator.submit(queries, desk)
    assert len(server.tasks) == 1
    assert "pass-word-1" not in repr(annotator) + pickle.dumps(annotator).decode("latin-1")
    for file in desk.folder.parent.rglob("*"):
        assert file.is_dir() or b"pass-word-1" not in file.read_bytes()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvat_sdk", None)
    with pytest.raises(ConfigError, match=r"pip install 'labelwise\[cvat\]'"):
        Cvat(url="http://127.0.0.1")


# Faults.


def test_a_session_that_ends_is_begun_anew(server, samples, tmp_path, monkeypatch):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    monkeypatch.delenv("CVAT_ACCESS_TOKEN")
    monkeypatch.setenv("FIFTYONE_CVAT_USERNAME", "ann")
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "pass-word-1")
    annotator = Cvat(url=server.url)
    annotator.submit(queries, desk)
    server.sessions.clear()
    server.complete()
    assert len(annotator.collect(queries, desk)) == 7


def test_a_token_that_ends_is_told_and_a_new_one_goes_on(server, samples, tmp_path, monkeypatch):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    annotator = Cvat(url=server.url)
    server.faults.append(Fault("401", "POST", ".*data/", times=100, after=1))  # in the middle of the upload
    with pytest.raises(ServerError, match=r"wrong or expired; renew CVAT_ACCESS_TOKEN") as caught:
        annotator.submit(queries, desk)
    assert TOKEN not in str(caught.value)
    server.faults.clear()
    server.tokens = {"fake-token-2"}
    with pytest.raises(ServerError, match="expired"):
        annotator.submit(queries, desk)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "fake-token-2")
    annotator.submit(queries, desk)
    assert len(server.frames()) == 7
    # While it waits, too: the token is read again.
    server.tokens = {"fake-token-3"}
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "fake-token-3")
    server.complete()
    assert len(annotator.collect(queries, desk)) == 7


STEPS = [
    ("POST", "/api/projects"),
    ("GET", "/api/projects"),
    ("GET", "/api/labels"),
    ("GET", "/api/tasks"),
    ("POST", "/api/tasks"),
    ("POST", ".*/data/"),
    ("GET", ".*/meta"),
    ("GET", "/api/requests"),
    ("PATCH", ".*/annotations/?"),
    ("GET", ".*/annotations/?"),
    ("GET", "/api/jobs"),
]


@pytest.mark.parametrize("kind", ["500", "429", "drop", "drop_after", "half"])
@pytest.mark.parametrize(("method", "path"), STEPS)
def test_a_fault_at_any_step_changes_nothing(server, samples, tmp_path, kind, method, path):
    desk, queries = desk_of(samples, tmp_path), proposed(samples, [1, 2, 11, 12])
    annotator = Cvat(url=server.url, task_size=4, timeout=5)
    for after in (0, 1, 2):
        server.faults.append(Fault(kind, method, path, after=after))
    annotator.submit(queries, desk)
    server.complete()
    found = by_sample(annotator.collect(queries, desk), queries)
    assert found.keys() == {s.id for s in samples}
    assert all(a.target.classes == ("cat",) for a in found.values())
    assert len(server.projects) == 1
    assert sorted(len(t["frames"]) for t in server.tasks.values()) == [3, 4]
    for task in server.tasks.values():
        for content in task["files"].values():
            assert hashlib.md5(content).hexdigest() in {s.content for s in samples}, "an image sent twice is no image"
    assert server.faults[0].times == 0


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/tasks"), ("POST", ".*/data/"), ("PATCH", ".*/annotations/?")]
)
def test_no_answer_in_time(server, samples, tmp_path, method, path):
    server.hang = 0.6
    server.faults.append(Fault("hang", method, path))
    desk, queries = desk_of(samples, tmp_path), proposed(samples, [1, 2, 11, 12])
    Cvat(url=server.url, timeout=0.3).submit(queries, desk)
    assert len(server.frames()) == 7
    (task,) = server.tasks.values()
    assert len(task["annotations"]["shapes"]) == 7


def test_killed_at_any_request_it_goes_on_from_there(server, samples, tmp_path, monkeypatch):
    """Another process goes on after each single request of the first one, as after a kill."""
    desk, queries = desk_of(samples, tmp_path), proposed(samples, [1, 2, 11, 12])

    class Killed(BaseException):
        pass

    allowed = 0
    plain = link._bound

    def bound(rest, seconds):
        plain(rest, seconds)
        inner, count = rest.request, [0]

        def request(*arguments, **options):
            if count[0] == allowed:
                raise Killed
            count[0] += 1
            return inner(*arguments, **options)

        rest.request = request

    monkeypatch.setattr(link, "_bound", bound)
    while True:
        try:
            Cvat(url=server.url, task_size=4).submit(queries, desk)
            break
        except Killed:
            allowed += 1
    assert allowed > 10
    assert len(server.projects) == 1
    assert sorted(len(t["frames"]) for t in server.tasks.values()) == [3, 4]
    assert [len(t["annotations"]["shapes"]) for t in server.tasks.values()] == [4, 3]
    for task in server.tasks.values():
        assert {hashlib.md5(c).hexdigest() for c in task["files"].values()} <= {s.content for s in samples}
    monkeypatch.undo()
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    server.complete()
    assert len(Cvat(url=server.url).collect(queries, desk)) == 7


def test_what_a_person_began_is_not_proposed_over(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), proposed(samples, [1, 2, 11, 12])
    Cvat(url=server.url, proposals=False, job_size=3).submit(queries, desk)
    (desk.folder / "000" / NOTES).unlink()
    server.draw(*frame_of(server, samples[0]), "dog", [3, 3, 9, 9])
    list(server.jobs.values())[1]["state"] = "in progress"
    Cvat(url=server.url).submit(queries, desk)
    (task,) = server.tasks.values()
    assert sorted(s["frame"] for s in task["annotations"]["shapes"]) == [0, 1, 2, 6]


def test_a_broken_upload_is_made_anew_and_nothing_else_is_removed(server, samples, tmp_path):
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    server.faults.append(Fault("drop_after", "POST", ".*/data/", after=1))
    Cvat(url=server.url).submit(queries, desk)
    assert len(server.removed) == 1
    assert len(server.frames()) == 7
    server.faults.append(Fault("drop_after", "POST", ".*/data/", after=2))  # the work was done: the upload is finished
    Cvat(url=server.url).submit(make_queries(samples, round=1), desk)
    assert len(server.removed) == 1
    assert len(server.tasks) == 2


def test_an_image_that_the_server_cannot_read(server, samples, tmp_path):
    samples[1].path.write_bytes(b"no image")
    desk, queries = desk_of(samples, tmp_path), make_queries(samples)
    with pytest.raises(ServerError, match=r"cannot prepare the images of task 'pets round 000.*cannot identify"):
        Cvat(url=server.url).submit(queries, desk)
    assert not (desk.folder / "000" / NOTES).exists()
    Image.new("RGB", (40, 30)).save(samples[1].path)
    Cvat(url=server.url).submit(queries, desk)
    assert len(server.frames()) == 7


def test_a_server_that_is_not_there(server, samples, tmp_path):
    server.close()
    annotator = Cvat(url=server.url, patience=0)
    with pytest.raises(ServerAway, match="nothing listens there"):
        annotator.submit(make_queries(samples), desk_of(samples, tmp_path))


def test_what_is_not_cvat(server, samples, tmp_path):
    server.faults.append(Fault("html", times=100))
    with pytest.raises(ServerError, match="expected JSON, found something else"):
        Cvat(url=server.url).submit(make_queries(samples), desk_of(samples, tmp_path))
    server.faults[:] = [Fault("404", times=100)]
    with pytest.raises(ServerError, match="is the address that of CVAT"):
        Cvat(url=server.url).submit(make_queries(samples), desk_of(samples, tmp_path))
    server.faults[:] = [Fault("403", times=100)]
    with pytest.raises(ServerError, match="not permitted"):
        Cvat(url=server.url).submit(make_queries(samples), desk_of(samples, tmp_path))
