"""Picking from a folder without a run: what is picked, what is left out, when it ends; every mistake in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labelwise
from labelwise.data.name_lists import Row
from labelwise.embedding.files import write_vectors
from labelwise.errors import ConfigError, DataError, LabelwiseError, ModelError, SelectionError
from labelwise.picking.images import ImagePicks

NAMES = ["a,b.jpg", "größe.png", "line\nbreak.png", "sub/c.png", "sub/deep/d e.png", "日本.png"]
Pick = Callable[..., ImagePicks]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """20 pictures of 4 kinds, some with odd names, a copy, and a file that is none."""
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for i, name in enumerate([*NAMES, *(f"p{i:02d}.png" for i in range(14))]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.clip(60 * (i % 4) + rng.integers(0, 20, (8, 8)), 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(path)
    (folder / "zcopy.png").write_bytes((folder / "p00.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


@pytest.fixture
def pick(photos: Path, tmp_path: Path) -> Pick:
    def picked(n: int | None = 5, **words: Any) -> ImagePicks:
        given = {"features": {"backbone": "pixels", "size": 4}, "cache": tmp_path / "cache", "threads": 2, **words}
        return labelwise.pick_images(given.pop("images", photos), n, **given)

    return picked


def boxes(folder: Path, entries: dict[str, list[tuple[int, float]]]) -> dict[str, Any]:
    """A COCO results file: for each image its boxes, as category and score."""
    names = list(entries)
    results = [
        {"image_id": names.index(name), "category_id": c, "bbox": [1, 1, 4, 3], "score": s}
        for name, found in entries.items()
        for c, s in found
    ]
    about = {
        "images": [{"id": i, "file_name": name, "width": 8, "height": 8} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [],
    }
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "about.json").write_text(json.dumps(about))
    return {"path": folder / "results.json", "annotations": folder / "about.json"}


def probs_table(folder: Path, ids: list[str], classes: int = 3) -> Path:
    path = folder / "probs.csv"
    rng = np.random.default_rng(1)
    rows = rng.dirichlet(np.ones(classes), len(ids)) if classes > 1 else np.ones((len(ids), 1))
    head = ",".join(["path", *"xyz"[:classes]])
    lines = [f'"{i}",' + ",".join(f"{p:.6f}" for p in row) for i, row in zip(ids, rows, strict=True)]
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


# --- what is picked -------------------------------------------------------------------------------------


def test_picks_with_reasons(pick: Pick) -> None:
    picks = pick()
    assert len(set(picks.ids)) == 5
    assert picks.strategy == "typiclust"
    assert [row.rank for row in picks.rows] == [1, 2, 3, 4, 5]
    assert all("ypicality" in row.reason and "cluster_size" in row.facts for row in picks.rows)
    assert picks.rows[1].facts["nearest"] in picks.pool.ids
    assert pick().ids == picks.ids
    json.dumps(picks.about)


def test_left_out_files_are_told_and_copies_never_both_picked(pick: Pick) -> None:
    picks = pick(20)
    assert "zcopy.png" not in picks.ids
    assert set(picks.ids) == set(picks.pool.ids)
    assert len(picks.pool.ids) == 20
    assert {(p.id, p.code) for p in picks.pool.problems} == {("broken.jpg", "truncated"), ("zcopy.png", "duplicate")}
    assert picks.pool.summary == "images: 20; 2 left out (1 truncated, 1 duplicate)"


def test_earlier_picks_are_never_picked_again(pick: Pick, photos: Path, tmp_path: Path) -> None:
    first = pick(6, strategy="k_center")
    (tmp_path / "l.txt").write_text("".join(f"{json.dumps(i)}\n" for i in first.ids))
    second = pick(6, strategy="k_center", already=tmp_path / "l.txt")
    assert set(second.already) == set(first.ids)
    # farthest first goes on as if it had never stopped
    assert first.ids + second.ids == pick(12, strategy="k_center").ids
    rest = pick(8, already=[*first.ids, *second.ids])
    assert not set(rest.ids) & {*first.ids, *second.ids}


def test_a_copy_among_the_earlier_picks_counts_for_its_original(pick: Pick) -> None:
    picks = pick(19, already=["zcopy.png"])
    assert picks.already == ("p00.png",)
    assert "p00.png" not in picks.ids


def test_unknown_names_are_told_and_nothing_is_lost(pick: Pick) -> None:
    picks = pick(3, already=["p01.png", "c.png", "broken.jpg", "nonsense"])
    assert picks.already == ("p01.png",)
    told = {p.id: p.message for p in picks.unknown}
    assert "did you mean sub/c.png?" in told["c.png"]
    assert told["broken.jpg"].startswith("broken.jpg: expected a whole picture")
    assert told["nonsense"] == "nonsense: no such image"
    assert [u["name"] for u in picks.about["unknown"]] == list(told)


def test_total_counts_the_earlier_picks(pick: Pick) -> None:
    earlier = ["p01.png", "p02.png", "moved away.png"]
    assert len(pick(None, total=10, already=earlier).rows) == 7
    assert pick(None, total=3, already=earlier).rows == ()
    with pytest.raises(SelectionError, match="above the 3 earlier picks, found 2"):
        pick(None, total=2, already=earlier)


def test_a_least_distance_ends_it(pick: Pick) -> None:
    picks = pick(None, least_distance=0.8)
    assert picks.strategy == "k_center (select k_center least_distance=0.8)"
    assert 1 < len(picks.rows) < 20
    assert all(row.facts["distance"] >= 0.8 for row in picks.rows[1:])
    assert "nothing was there to be far from" in picks.rows[0].reason
    nearer = "every other candidate is nearer than 0.8 to a labelled image or a pick"
    assert picks.notes == (f"ended after {len(picks.rows)} picks: {nearer}",)
    assert len(pick(2, least_distance=0.8).rows) == 2


def test_random_needs_no_features(pick: Pick, tmp_path: Path) -> None:
    picks = pick(strategy="random", seed=4, features={"backbone": "no such network"})
    assert picks.pool.embeddings is None
    assert not (tmp_path / "cache").exists()
    assert picks.ids == pick(strategy="random", seed=4).ids
    assert picks.ids != pick(strategy="random", seed=5).ids


def test_options_and_groups(pick: Pick) -> None:
    assert pick(strategy="typiclust", max_clusters=2).strategy == "typiclust (select typiclust max_clusters=2)"
    picks = pick(20, strategy="random", per_group=1, group="folder")
    assert len(picks.rows) == 3
    assert picks.notes == ("ended after 3 picks: the rules allow no more",)


# --- vectors from a file --------------------------------------------------------------------------------


def test_vectors_without_images(pick: Pick, tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(6, 2)
    write_vectors(tmp_path / "v.parquet", ["z", "y", "x", "w", "v", "u"], vectors)
    picks = pick(3, images=None, embeddings=tmp_path / "v.parquet", strategy="k_center", already=["z"])
    assert picks.ids[0] == "u"  # the farthest from the first
    assert picks.rows[0].facts["nearest"] == "z"
    assert picks.pool.summary == "vectors: 6"


def test_vectors_are_joined_by_id(pick: Pick, photos: Path, tmp_path: Path) -> None:
    ids = [f"p{i:02d}.png" for i in range(13, -1, -1)]
    write_vectors(tmp_path / "v.parquet", [*ids, "gone.png"], np.arange(30, dtype=np.float32).reshape(15, 2))
    picks = pick(3, embeddings=tmp_path / "v.parquet", strategy="k_center")
    assert set(picks.ids) <= set(ids)
    assert picks.pool.ids == tuple(ids)
    row = picks.pool.ids.index("p00.png")
    assert picks.pool.embeddings is not None
    np.testing.assert_array_equal(picks.pool.embeddings[row], [26, 27])
    missing = [p for p in picks.pool.problems if p.code == "no_vector"]
    assert sorted(p.id for p in missing) == sorted(NAMES)
    write_vectors(tmp_path / "w.parquet", ["q", "r"], np.eye(2, dtype=np.float32))
    with pytest.raises(DataError, match="expected vectors of these images, found none"):
        pick(1, embeddings=tmp_path / "w.parquet")


# --- predictions ----------------------------------------------------------------------------------------


def test_detections_make_scores_and_reasons(pick: Pick, photos: Path, tmp_path: Path) -> None:
    found: dict[str, list[tuple[int, float]]] = {
        name: [(1, 0.9)] for name in [*NAMES, *(f"p{i:02d}.png" for i in range(14))]
    }
    found["p03.png"] = [(1, 0.95), (2, 0.5), (2, 0.1)]
    found["p04.png"] = []
    picks = pick(4, predictions=boxes(tmp_path, found))
    assert picks.strategy == "coral (reduce max)"
    first = picks.rows[0]
    assert first.id == "p03.png"
    assert first.facts["score"] == pytest.approx(1)
    assert first.facts["boxes"] == 3
    assert "3 boxes, the most doubtful first: dog 0.50, dog 0.10, cat 0.95" in first.reason
    assert picks.predicted is not None
    assert [b.decisive for b in picks.predicted.boxes("p03.png")] == [True, False, False]
    assert any(row.reason.endswith("no boxes.") for row in pick(20, predictions=boxes(tmp_path, found)).rows)
    top = pick(2, predictions=boxes(tmp_path, found), strategy="box_entropy_sum", empty="mean")
    assert top.ids[0] == "p03.png"


def test_the_classes_of_the_boxes_can_decide(pick: Pick, photos: Path, tmp_path: Path) -> None:
    """Cats are everywhere; the one image with a dog comes first, but only if the dog is sure enough to count."""
    names = [p.relative_to(photos).as_posix() for p in photos.rglob("*.png")] + ["a,b.jpg", "broken.jpg"]
    found = {name: [(1, 0.9)] for name in names} | {"sub/c.png": [(1, 0.9), (2, 0.4)], "p03.png": []}
    file = boxes(tmp_path, found)
    picks = pick(20, predictions=file, strategy="class_balanced")
    assert (picks.ids[0], picks.ids[-1]) == ("sub/c.png", "p03.png")
    assert picks.rows[0].facts["class_gap"] < picks.rows[1].facts["class_gap"]
    assert pick(1, predictions=file, strategy="class_balanced", shown=0.5).rows[0].facts["class_gap"] == 0
    # After a dog was picked, an image of another class is as good as any.
    assert pick(1, predictions=file, strategy="class_balanced", already=["sub/c.png"]).ids != ["sub/c.png"]
    both = pick(2, predictions=file, strategy="box_balanced", shortlist=20, empty="mean")
    assert both.ids[0] == "sub/c.png"
    assert "how difficult each class is cannot be measured without labels: all count alike" in both.notes


@pytest.mark.parametrize(("strategy", "what"), [("ppal", "vectors of the boxes"), ("cald", "mirrored pictures")])
def test_what_no_file_of_predictions_holds_is_refused_at_once(
    pick: Pick, tmp_path: Path, strategy: str, what: str
) -> None:
    with pytest.raises(ConfigError, match=f"needs .*{what}, which no file of predictions holds: choose another"):
        pick(2, strategy=strategy, predictions=boxes(tmp_path, {"p00.png": [(1, 0.7)]}))


def test_zero_boxes_everywhere_and_equal_scores(pick: Pick, photos: Path, tmp_path: Path) -> None:
    names = [*NAMES, *(f"p{i:02d}.png" for i in range(14))]
    picks = pick(5, predictions=boxes(tmp_path, {name: [] for name in names}))
    assert len(set(picks.ids)) == 5
    assert "all 20 images have the score 0: it decides nothing" in picks.notes
    equal = pick(
        5, predictions=boxes(tmp_path, {name: [(1, 0.7)] for name in names}), strategy="box_margin", empty="mean"
    )
    assert "all 20 images have the score 0.6: it decides nothing" in equal.notes


def test_class_probabilities(pick: Pick, tmp_path: Path) -> None:
    names = [*NAMES, *(f"p{i:02d}.png" for i in range(14))]
    table = probs_table(tmp_path, names)
    picks = pick(4, predictions=table)
    assert picks.strategy == "coral"
    assert picks.rows[0].facts["class"] in ("x", "y", "z")
    assert picks.rows[0].facts["score_rank"] == 1
    assert pick(4, predictions=table, score="entropy").strategy == "coral (score entropy)"
    assert pick(4, predictions=table, strategy="margin").pool.embeddings is None
    one = pick(3, predictions=probs_table(tmp_path, names, classes=1), strategy="least_confidence")
    assert len(one.ids) == 3


def test_an_image_without_prediction_is_refused(pick: Pick, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found none for p01\.png .*12 such images.*absent=empty"):
        pick(2, predictions=probs_table(tmp_path, [*NAMES, "p00.png", "p02.png"]))


# --- mistakes -------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[dict[str, Any], type[LabelwiseError], str]] = {
    "nothing asked": ({"n": None}, ConfigError, "give n, total or least_distance"),
    "two numbers": ({"total": 9}, ConfigError, "found both"),
    "none": ({"n": 0}, ConfigError, "expected 1 or more, found 0"),
    "a distance of 0": ({"n": None, "least_distance": 0.0}, ConfigError, "above 0"),
    "a distance that is none": ({"n": None, "least_distance": float("nan")}, ConfigError, "above 0"),
    "a distance for typiclust": ({"least_distance": 1.0, "strategy": "typiclust"}, ConfigError, "k_center or coral"),
    "too many": ({"n": 21}, SelectionError, "n=21: only 20 can be picked (images: 20; 2 left out"),
    "too many in all": ({"n": None, "total": 99, "already": ["p00.png"]}, SelectionError, "only 19 can be picked"),
    "unknown strategy": ({"strategy": "corral"}, ConfigError, "did you mean 'coral'"),
    "unknown option": ({"max_cluster": 3}, ConfigError, "did you mean 'max_clusters'"),
    "a rule of the wrong kind": ({"per_group": "many"}, ConfigError, "strategy.per_group"),
    "no groups": ({"per_group": 1}, ConfigError, "set group to folder"),
    "predictions needed": ({"strategy": "margin"}, ConfigError, "give predictions"),
    "samples needed": ({"strategy": "bald"}, ConfigError, "stochastic passes"),
    "no folder": ({"images": "nowhere"}, DataError, "found nothing there"),
    "nothing at all": ({"images": None}, ConfigError, "found neither"),
    "no vectors": ({"embeddings": "nowhere.parquet"}, DataError, "nowhere.parquet"),
    "no predictions": ({"predictions": "nowhere.json"}, DataError, "nowhere.json"),
    "options without predictions": ({"predictions": {"absent": "empty"}}, ConfigError, "found only options"),
    "no list": ({"already": Path("nowhere.txt")}, DataError, "nowhere.txt"),
    "another list": ({"already": ["x", "y"]}, DataError, "found none of 2: the first is 'x'"),
    "no network": ({"features": {"backbone": "resnet_fifty"}}, ModelError, "no network 'resnet_fifty'"),
    "a wrong word": ({"features": {"backbon": "edges"}}, ConfigError, "did you mean 'backbone'"),
    "a wrong group": ({"group": "("}, DataError, "regular expression"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_every_mistake_is_one_line(pick: Pick, what: str) -> None:
    words, kind, part = MISTAKES[what]
    with pytest.raises(kind) as error:
        pick(words.get("n", 5), **{k: v for k, v in words.items() if k != "n"})
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_folder_and_only_broken_files(pick: Pick, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none; check the path"):
        pick(images=tmp_path / "empty")
    (tmp_path / "empty" / "x.png").write_bytes(b"")
    for strategy in ("random", "k_center"):
        with pytest.raises(DataError, match="found none that can be read"):
            pick(images=tmp_path / "empty", strategy=strategy)


def test_boxes_cannot_feed_class_probabilities(pick: Pick, photos: Path, tmp_path: Path) -> None:
    names = [*NAMES, *(f"p{i:02d}.png" for i in range(14))]
    with pytest.raises(ConfigError, match="class probabilities of whole images"):
        pick(2, strategy="badge", predictions=boxes(tmp_path, {name: [(1, 0.7)] for name in names}))


def test_rows_are_what_lists_take(pick: Pick) -> None:
    assert all(isinstance(row, Row) for row in pick(1).rows)
