"""Exploring over the API: columns, maps, similar images, tags, comparisons, and one image with all that is known."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from exploring import CLASSES, IDS, ODD, client_of, column, make_images, make_run
from PIL import Image

from labelwise.data.masks import write_mask
from labelwise.embedding.files import write_vectors
from labelwise.errors import DataError, RunError
from labelwise.records import Annotation, Query, Sample, Target
from labelwise.report.maps import map_folder, write_score_map
from labelwise.store import Store
from labelwise.web.comparing import compare
from labelwise.web.explored import Explored
from labelwise.web.served import Beside, Served, ServedFolder, opened
from labelwise.web.vectors import nearest


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("explored"))


def test_columns_of_a_run(run: Path) -> None:
    with client_of(run) as client:
        assert client.get("/api/explore/ids").json()["ids"] == IDS
        status = column(client, "status")
        assert status[:8] == ["labelled"] * 5 + ["skipped", "open", "open"]
        assert status[-3:] == ["test"] * 3
        assert set(status[8:-3]) == {"not asked"}
        assert column(client, "round")[:9] == [0] * 4 + [1] * 4 + [None]
        assert column(client, "label")[:6] == ["cat", "dog", "<b>bird</b>", "cat", "dog", None]
        scores = column(client, "score")
        assert scores[:4] == [None] * 4
        assert scores[4] == 1.0
        assert scores[-3:] == [None] * 3
        assert column(client, "prediction")[4:7] == ["cat", "dog", "<b>bird</b>"]
        assert column(client, "agreement")[4:6] == ["differs", None]
        assert column(client, "meta:location")[:2] == ["cam 0", "cam 1"]
        assert column(client, "meta:night")[:2] == ["yes", "no"]
        assert column(client, "meta:lux")[:3] == [0, 0.5, 1]
        assert column(client, "meta:taken")[1] - column(client, "meta:taken")[0] == 86400
        assert column(client, "folder")[0] == "a"
        assert client.get("/api/explore/column", params={"name": "scor"}).status_code == 400


def test_what_the_run_does_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelwise.web.explored._LEAST_AGE", 0)
    folder = make_run(tmp_path)
    with client_of(folder) as client:
        before = client.get("/api/explore/state").json()["version"]
        with Store(folder / "run.db") as store:
            store.add_annotations([Annotation("001-00002", Target(("cat",)))])
        assert client.get("/api/explore/state").json()["version"] > before
        assert column(client, "status")[6] == "labelled"


def test_map_and_similar_images(run: Path) -> None:
    with client_of(run) as client:
        places = np.frombuffer(client.get("/api/explore/layout").content, "<f4").reshape(-1, 2)
        assert places.shape == (len(IDS), 2)
        assert np.abs(places).max() == pytest.approx(1)
        far = np.frombuffer(client.post("/api/explore/similar", json={"ids": [ODD]}).content, "<f4")
        assert far.argmin() == IDS.index(ODD)
        assert far.min() == 0
        assert client.post("/api/explore/similar", json={"ids": ["none"]}).status_code == 400
        assert client.post("/api/explore/similar", json={"ids": []}).status_code == 400
        assert client.get("/api/explore/layout", params={"kind": "nose"}).status_code == 400
        assert client.get("/api/explore/layout", params={"kind": "tsne"}).status_code == 400
        assert client.post("/api/explore/layout", json={"kind": "nose"}).status_code == 422


def test_nearest_is_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 7)).astype(np.float32), rng.normal(size=(5, 7)).astype(np.float32)
    expected = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2)).min(axis=1)
    np.testing.assert_allclose(nearest(a, b), expected, rtol=1e-4)
    assert nearest(a, a).max() == 0


def test_words_without_a_model_and_of_another(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "labelwise.models.texts.TextModel.vector", lambda self, text: np.array([len(text), 0.0], np.float32)
    )
    with client_of(run) as client:
        assert client.get("/api/explore/state").json()["text"] is False
        assert "--text" in client.post("/api/explore/text", json={"text": "cat"}).json()["error"]
        assert client.post("/api/explore/text", json={"text": ""}).status_code == 422


def test_words_find_images(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelwise.models.texts.TextModel.vector", lambda self, text: np.array([3.0, 0.0], np.float32))
    write_vectors(tmp_path / "v.npy", IDS[:3], np.array([[0, 2], [5, 0], [1, 1]], np.float32))
    with client_of(run, Beside(embeddings=tmp_path / "v.npy", text="clip")) as client:
        assert client.get("/api/explore/state").json()["text"] is True
        far = np.frombuffer(client.post("/api/explore/text", json={"text": "cat"}).content, "<f4")
        np.testing.assert_allclose(far[:3], [1, 0, 1 - np.sqrt(0.5)], atol=1e-6)
        assert np.isnan(far[3:]).all()
    write_vectors(tmp_path / "w.npy", IDS[:3], np.ones((3, 5), np.float32))
    with client_of(run, Beside(embeddings=tmp_path / "w.npy", text="clip")) as client:
        assert "vectors of 5 numbers" in client.post("/api/explore/text", json={"text": "cat"}).json()["error"]


def test_vectors_of_a_file_are_joined_by_id(run: Path, tmp_path: Path) -> None:
    ids = [*reversed(IDS[:5]), "elsewhere.png"]
    vectors = np.arange(18, dtype=np.float32).reshape(6, 3)
    write_vectors(tmp_path / "v.parquet", ids, vectors)
    with client_of(run, Beside(embeddings=tmp_path / "v.parquet")) as client:
        state = client.get("/api/explore/state").json()["vectors"]
        assert (state["state"], state["images"], state["dim"], state["source"]) == ("ready", 5, 3, "v.parquet")
        assert state["message"] == "16 images have no vector"
        far = np.frombuffer(client.post("/api/explore/similar", json={"ids": IDS[:1]}).content, "<f4")
        assert far[0] == 0
        assert far[1] == pytest.approx(np.sqrt(27))
        assert np.isnan(far[5:]).all()
        assert np.isnan(np.frombuffer(client.get("/api/explore/layout").content, "<f4").reshape(-1, 2)[5:]).all()


def test_vectors_of_other_images_are_told(run: Path, tmp_path: Path) -> None:
    write_vectors(tmp_path / "v.npy", ["x.png"], np.ones((1, 2), np.float32))
    with client_of(run, Beside(embeddings=tmp_path / "v.npy")) as client:
        state = client.get("/api/explore/state").json()["vectors"]
        assert state["state"] == "failed"
        assert "found none" in state["message"]
        answer = client.get("/api/explore/layout")
        assert answer.status_code == 400
        assert "found none" in answer.json()["error"]


def test_tags_of_a_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with client_of(folder) as client:
        name = 'night "cams" <i> ü, x'
        answer = client.post("/api/explore/tags", json={"name": name, "add": [ODD, IDS[0], ODD]})
        assert answer.json() == {"tags": {name: 2}}
        assert client.get("/api/explore/tags").json()["tags"] == {name: sorted([ODD, IDS[0]])}
        listed = client.get("/api/explore/tag.txt", params={"name": name})
        assert sorted(listed.text.splitlines()) == sorted([ODD, IDS[0]])
        assert "filename*=UTF-8''night%20%22cams%22" in listed.headers["content-disposition"]
        table = client.get("/api/explore/tag.csv", params={"name": name}).text.splitlines()
        assert table[0].startswith("rank,path,status,split,round")
        picks = json.loads(client.get("/api/explore/tag.json", params={"name": name}).text)
        assert picks["tag"] == name
        assert picks["picks"][0]["facts"]["label"] == "cat"
        assert client.post("/api/explore/tags", json={"name": name, "remove": [ODD]}).json() == {"tags": {name: 1}}
        assert client.post("/api/explore/tags", json={"name": name, "delete": True}).json() == {"tags": {}}
        assert client.get("/api/explore/tag.txt", params={"name": name}).status_code == 400
        assert client.get("/api/explore/tag.exe", params={"name": name}).status_code == 422
        wrong = client.post("/api/explore/tags", json={"name": "t", "add": [IDS[0], "../../etc/passwd"]})
        assert wrong.status_code == 400
        assert "1 of 2" in wrong.json()["error"]
        for bad in ("", "  ", "x" * 101, "a\nb "):
            assert client.post("/api/explore/tags", json={"name": bad, "add": IDS[:1]}).status_code == 422
        assert client.get("/api/explore/tags").json() == {"tags": {}}


def test_selection_as_a_list(run: Path) -> None:
    with client_of(run) as client:
        assert client.post("/api/explore/list.txt", json={"ids": [IDS[3], IDS[1]]}).text == f"{IDS[3]}\n{IDS[1]}\n"
        assert client.post("/api/explore/list.txt", json={"ids": ["x"]}).status_code == 400


def test_comparison(run: Path) -> None:
    served = opened(run)
    explored = Explored(served)
    explored.vectors.begin()
    explored.vectors._find()  # again, in this thread: ended when it returns
    rng = np.random.default_rng(1)
    explored.vectors.matrix = rng.normal(size=(len(IDS), 4)).astype(np.float32)
    found = compare(explored, np.arange(0, 6), np.arange(4, 10))
    assert (found["sizes"], found["both"], found["union"]) == ([6, 6], 2, 10)
    balance = next(b for b in found["balance"] if b["title"] == "class")
    assert {row[0]: row[1:3] for row in balance["rows"]} == {"cat": [2, 0], "dog": [2, 1], "<b>bird</b>": [1, 0]}
    assert balance["missing"] == [1, 5]
    assert str(balance["evenness"][1]) == "0.0"  # one class: not "-0" either
    every = explored.vectors.matrix
    gaps = np.linalg.norm(every[:, None] - every[None, :6], axis=2).min(axis=1)
    assert found["coverage"]["mean"][0] == pytest.approx(gaps.mean(), rel=1e-4)
    assert found["coverage"]["farthest"][0] == pytest.approx(gaps.max(), rel=1e-4)
    nothing = compare(explored, np.zeros(0, np.int64), np.arange(3))
    assert (nothing["sizes"], nothing["coverage"]) == ([0, 3], None)
    served.close()


def test_one_image(run: Path) -> None:
    with client_of(run) as client:
        known = client.get("/api/explore/image", params={"id": IDS[4]}).json()
        assert [known["width"], known["height"], known["split"], known["there"]] == [40, 30, "pool", True]
        (query,) = known["queries"]
        assert query["reason"] == "Score 0.75, rank 1 of 14."
        assert (query["proposal"], query["label"], query["state"]) == ("dog", "dog", "labelled")
        (score,) = known["scores"]
        assert (score["round"], score["score"], score["rank"], score["of"], score["class"]) == (1, 1.0, 1, 14, "cat")
        assert client.get("/api/explore/image", params={"id": "../r/run.db"}).status_code == 400
        assert client.get("/api/explore/image").status_code == 422


def test_boxes_pixels_and_masks_of_an_image(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "segment", ids=["a.png", "b.png"])
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 1
    mask[0] = 255
    write_mask(tmp_path / "m.png", mask)
    points = np.array([[1, 2], [39, 29]], np.int32)
    with Store(folder / "run.db") as store, store.transaction():
        store.add_queries(
            [
                Query(
                    "000-00000",
                    0,
                    0,
                    "a.png",
                    "pixel",
                    points,
                    proposal=Target(("cat", "dog"), points, np.array([0, 1])),
                ),
                Query("000-00001", 0, 1, "b.png", "region", np.array([[0, 0, 3, 3]], np.int32)),
            ]
        )
        store.add_annotations([Annotation("000-00001", Target(CLASSES, mask=tmp_path / "m.png"))])
    write_score_map(map_folder(folder, 0) / f"{0:032x}.png", np.eye(30, 40))
    with client_of(folder) as client:
        known = client.get("/api/explore/image", params={"id": "a.png"}).json()
        assert {x["name"]: x["kind"] for x in known["layers"]} == {
            "proposal:000-00000": "picture",
            "asked:000-00000": "picture",
        }
        assert known["maps"] == [0]
        for layer in ("proposal:000-00000", "asked:000-00000"):
            answer = client.get("/api/explore/overlay", params={"id": "a.png", "layer": layer})
            assert answer.headers["content-type"] == "image/png"
        assert client.get("/api/explore/map", params={"id": "a.png", "round": 0}).content.startswith(b"\x89PNG")
        assert client.get("/api/explore/map", params={"id": "a.png", "round": 7}).status_code == 400
        assert (
            client.get("/api/explore/overlay", params={"id": "b.png", "layer": "proposal:000-00000"}).status_code == 400
        )
        known = client.get("/api/explore/image", params={"id": "b.png"}).json()
        asked = next(x for x in known["layers"] if x["name"].startswith("asked"))
        assert asked["boxes"] == [[0, 0, 3, 3]]
        answer = client.get("/api/explore/overlay", params={"id": "b.png", "layer": "label:000-00001"})
        picture = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert picture.shape == (30, 40, 4)
        assert (picture[0, :, 3] == 0).all()
        assert (picture[5, 3] != picture[5, 30]).any()
        (tmp_path / "m.png").unlink()
        assert client.get("/api/explore/overlay", params={"id": "b.png", "layer": "label:000-00001"}).status_code == 400


@pytest.mark.parametrize("ids", [[], ["one.png"]])
def test_a_run_that_has_hardly_begun(tmp_path: Path, ids: list[str]) -> None:
    folder = make_run(tmp_path, ids=ids)
    with client_of(folder) as client:
        assert client.get("/api/explore/ids").json()["ids"] == ids
        state = client.get("/api/explore/state").json()
        assert state["vectors"]["state"] == ("ready" if ids else "none")
        assert client.get("/explore").status_code == 200
        if ids:
            assert np.frombuffer(client.get("/api/explore/layout").content, "<f4").tolist() == [0, 0]


def test_a_folder_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path / "cache"))
    make_images(tmp_path / "photos")
    (tmp_path / "photos" / "bad.png").write_bytes(b"\x89PNG nothing more")
    with client_of(tmp_path / "photos") as client:
        about = client.get("/api/about").json()
        assert about == {"name": "photos", "rooms": ["explore"]}
        assert client.get("/annotate").status_code == 404
        assert client.get("/api/rounds/state").status_code == 404
        state = client.get("/api/explore/state").json()
        assert state["vectors"]["images"] == len(IDS)
        assert state["vectors"]["message"] == "1 images have no vector"
        assert column(client, "width").count(40) == len(IDS)
        assert client.get("/api/picture", params={"id": "bad.png", "side": 96}).status_code == 400
        client.post("/api/explore/tags", json={"name": "good", "add": IDS[:2]})
        assert client.get("/api/explore/image", params={"id": IDS[0]}).json()["tags"] == ["good"]
        assert client.get("/api/explore/overlay", params={"id": IDS[0], "layer": "truth"}).status_code == 400
    kept = json.loads((tmp_path / "photos.tags.json").read_text(encoding="utf-8"))
    assert kept == {"images": "photos", "tags": {"good": IDS[:2]}}
    served = ServedFolder(tmp_path / "photos")
    served.untag("good", IDS[:2])
    assert served.tags() == {}
    (tmp_path / "photos.tags.json").write_text("{")
    with pytest.raises(DataError, match="mend or remove"):
        served.tags()


def test_what_is_neither_run_nor_images(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(RunError, match=r"expected"):
            opened(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_tables_beside(run: Path, tmp_path: Path, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / f"extra{suffix}"
    if suffix == ".csv":
        file.write_text(f"path,size,kind\n{IDS[0]},3,x\nelsewhere,4,y\n", encoding="utf-8")
    elif suffix == ".parquet":
        pq.write_table(pa.table({"id": [IDS[0]], "size": [3], "kind": ["x"], "embedding": [[1.0, 2.0]]}), file)
    else:
        file.write_text(json.dumps({"picks": [{"id": IDS[0], "facts": {"size": 3, "kind": "x"}}]}))
    with client_of(run, Beside(tables=(file,))) as client:
        assert column(client, "extra:size") == [3, *[None] * (len(IDS) - 1)]
        assert column(client, "extra:kind")[0] == "x"
        assert "extra:embedding" not in [c["name"] for c in client.get("/api/explore/columns").json()["columns"]]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.csv", "a,b\n1,2\n", "a column with the images' names"),
        ("x.csv", "path,b\nnothing.png,2\n", "rows of these images"),
        ("x.csv", f"path,b\n{IDS[0]},2\n{IDS[0]},3\n", "twice"),
        ("x.json", "[3]", "labelwise pick"),
        ("x.parquet", "no parquet", "expected a table"),
        ("x.txt", "", "suffix"),
    ],
)
def test_tables_that_cannot_be_used_are_told(run: Path, tmp_path: Path, name: str, text: str, told: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with client_of(run, Beside(tables=(file,))) as client:
        (warning,) = client.get("/api/explore/state").json()["warnings"]
        assert told in warning
        assert column(client, "status")


def test_boxes_are_counted(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "detect", ids=["a.png", "b.png"])
    with Store(folder / "run.db") as store, store.transaction():
        store.add_queries(
            [Query("000-00000", 0, 0, "a.png", "box", cost=0.0), Query("000-00001", 0, 1, "b.png", "box")]
        )
        boxes = np.array([[0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 7, 7.25]])
        store.add_annotations(
            [
                Annotation("000-00000", Target(("dog", "cat", "dog"), boxes)),
                Annotation("000-00001", Target((), np.zeros((0, 4)))),
            ]
        )
    with client_of(folder) as client:
        assert column(client, "objects") == [3, 0]
        assert column(client, "label") == ["dog", None]
        (layer,) = client.get("/api/explore/image", params={"id": "a.png"}).json()["layers"]
        assert (layer["kind"], layer["boxes"][2], layer["names"]) == ("boxes", [2, 2, 7, 7.25], ["dog", "cat", "dog"])


def test_a_sample_cannot_be_changed_by_what_is_asked(run: Path) -> None:
    served = Served(run)
    assert isinstance(served.sample(IDS[0]), Sample)
    with pytest.raises(DataError):
        served.sample("../../etc/passwd")
    served.close()
