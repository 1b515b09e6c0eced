"""Reading predictions in general: guessing the format, joining names to images, own readers, and scores from files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labelwise
from labelwise.data.predictions import guess, read
from labelwise.data.predictions.joining import Join
from labelwise.errors import ConfigError, DataError
from labelwise.presets import preset
from labelwise.selection import Inputs
from labelwise.strategies import assemble


def touch(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["r.json"], "coco"),
        (["R.CSV"], "probs_table"),
        (["r.parquet"], "probs_table"),
        (["d/schema.json", "d/a.json"], "lightly"),
        (["d/task/schema.json"], "lightly"),
        (["d/a.txt", "d/classes.txt"], "yolo"),
        (["d/sub/a.npy"], "maps"),
        (["d/a.npz", "d/readme.md"], "maps"),
        (["d/a.png"], "maps"),
    ],
)
def test_the_format_is_guessed(tmp_path, files, expected):
    paths = [touch(tmp_path / name) for name in files]
    assert guess(tmp_path / "d" if (tmp_path / "d").exists() else paths[0]) == expected


@pytest.mark.parametrize("files", [["r.xml"], ["r"], ["d/a.md"], ["d/a.npy", "d/a.txt"]])
def test_what_could_be_nothing_or_several_is_refused(tmp_path, files):
    paths = [touch(tmp_path / name) for name in files]
    with pytest.raises(DataError, match="name the format") as error:
        guess(tmp_path / "d" if (tmp_path / "d").exists() else paths[0])
    assert "\n" not in str(error.value)


def test_mistakes_of_the_call(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        read(tmp_path / "gone.csv", ["a"])
    file = touch(tmp_path / "r.csv", "id,a,b\nx,1,0\n")
    with pytest.raises(ConfigError, match="unknown predictions 'coko': did you mean 'coco'"):
        read(file, ["x"], format="coko")
    with pytest.raises(DataError, match="ids: expected the ids of images, found one text"):
        read(file, "x")
    with pytest.raises(DataError, match="there are none"):
        read(file, [])
    assert labelwise.read_predictions is read
    assert len(read(file, ["x", "x"])) == 1


def test_a_reader_of_your_own(tmp_path):
    reader = touch(
        tmp_path / "mine.py",
        "from labelwise.data.predictions.joining import Join\n"
        "from labelwise.records import Prediction\n"
        "import numpy as np\n"
        "def read(path, ids, classes, sizes, *, value: float = 0.5):\n"
        "    join = Join(ids)\n"
        "    names = [join.claim(line) for line in path.read_text().split()]\n"
        "    probs = np.array([value, 1 - value])\n"
        "    return join.close(path, 'classify', classes, lambda: (Prediction(n, probs=probs) for n in names if n))\n",
    )
    file = touch(tmp_path / "r.own", "a b c")
    found = read(file, ["a", "b"], format=f"{reader}:read", classes=["x", "y"], value="0.25")
    assert [(p.id, p.probs[0]) for p in found] == [("a", 0.25), ("b", 0.25)]
    assert found.unknown == ("c",)


# --- joining ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("x/b.jpg", "x/b.jpg"),
        ("x\\b.jpg", "x/b.jpg"),
        ("./x/b.jpg", "x/b.jpg"),
        ("b.jpg", "x/b.jpg"),
        ("b", "x/b.jpg"),
        ("x/b", "x/b.jpg"),
        ("a", "a.jpg"),
        ("ä, ü.png", "y/ä, ü.png"),
        ("a\u0308, u\u0308", "y/ä, ü.png"),
        ("d.tar", "d.tar.png"),
    ],
)
def test_names_that_mean_one_image(name, expected):
    join = Join(("a.jpg", "x/b.jpg", "y/ä, ü.png", "d.tar.png"))
    assert join.claim(name) == expected
    assert (join.taken, join.unknown, join.ambiguous) == ((expected,), [], [])


@pytest.mark.parametrize("name", ["", "z.jpg", "y/b.jpg", "b.png", "/x/b.jpg", "X/b.jpg", "../x/b.jpg", "x", "x/"])
def test_names_that_mean_none(name):
    join = Join(("a.jpg", "x/b.jpg"))
    assert join.claim(name) is None
    assert join.unknown == [name]


def test_names_that_mean_several_or_one_again():
    join = Join(("1/a.jpg", "2/a.jpg", "2/a.png", "b.jpg", "3/b.jpg"))
    assert [join.claim(n) for n in ("a.jpg", "a", "2/a", "b.jpg", "b.jpg", "2/a.png")] == [
        None,
        None,
        None,
        "b.jpg",  # its own name comes before a base name
        None,
        "2/a.png",
    ]
    assert join.ambiguous == ["a.jpg", "a", "2/a"]
    assert join.duplicates == ["b.jpg"]


def test_a_root_is_cut_off():
    join = Join(("x/b.jpg",), root="/data/images/")
    assert join.claim("/data/images/x/b.jpg") == "x/b.jpg"
    assert Join(("x/b.jpg",)).claim("/data/images/x/b.jpg") is None


names = st.lists(st.sampled_from(["a.jpg", "a.png", "b.jpg", "x/a.jpg", "x/b.png", "y/b.png", "y/c"]), unique=True)


@settings(deadline=None, max_examples=80)
@given(names, st.lists(st.sampled_from(["a", "b", "a.jpg", "b.png", "x/a", "x/a.jpg", "y/c", "c", "q"])), st.randoms())
def test_nothing_is_joined_twice_or_lost_and_order_of_images_does_not_matter(ids, asked, shuffle):
    join = Join(tuple(ids))
    found = [join.claim(name) for name in asked]
    joined = [id for id in found if id is not None]
    assert len(set(joined)) == len(joined)
    assert set(joined) <= set(ids)
    assert len(joined) + len(join.unknown) + len(join.ambiguous) + len(join.duplicates) == len(asked)
    turned = list(ids)
    shuffle.shuffle(turned)
    again = Join(tuple(turned))
    assert [again.claim(name) for name in asked] == found


# --- from a file to picks -----------------------------------------------------------------------------


def test_from_results_to_picks(tmp_path):
    ids = [f"{i:02d}.jpg" for i in range(20)]
    results = [
        {"image_id": id, "category_id": 0, "bbox": [0, 0, 5, 5], "score": round(0.5 + i / 40, 3)}
        for i, id in enumerate(ids[:12])
    ]
    file = touch(tmp_path / "r.json", json.dumps(results))
    found = read(file, ids, classes=["cat", "dog"], absent="empty")
    strategy = assemble(preset("box_margin"))
    scored = strategy.score_stream(found, found.classes)
    rows = {id: row for row, id in enumerate(scored.ids)}
    inputs = Inputs(
        n=10,
        candidates=np.arange(20),
        rng=np.random.default_rng(0),
        scores=scored.values,
        empty=scored.empty,
    )
    picks = strategy.select(inputs).rows
    kept = [scored.ids[row] for row in picks if not scored.empty[row]]
    assert kept == ids[:9]
    assert scored.empty[picks].sum() == 1
    assert sorted(rows) == ids
