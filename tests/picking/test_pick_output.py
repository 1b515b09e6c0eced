"""Outputs are looked at before the work, and written whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelwise.data.name_lists import Row
from labelwise.errors import ConfigError, DataError
from labelwise.picking.images import ImagePicks
from labelwise.picking.output import check_outputs, pick_facts, write_outputs
from labelwise.picking.pool import Pool


@pytest.fixture
def picks() -> ImagePicks:
    pool = Pool(("a", "b"), embeddings=np.eye(2, dtype=np.float32))
    return ImagePicks((Row(1, "b", "Because.", {"score": 0.5}),), "top", 0, pool)


def test_lists_are_written_into_new_folders(picks: ImagePicks, tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "y" / f"l{suffix}" for suffix in (".txt", ".csv", ".JSON")]
    check_outputs(paths, None)
    write_outputs(picks, paths)
    assert paths[0].read_text() == "b\n"
    assert paths[1].read_text() == "rank,path,score,reason\n1,b,0.5,Because.\n"
    assert '"pool": 2' in paths[2].read_text()
    assert sorted(p.name for p in paths[0].parent.iterdir()) == ["l.JSON", "l.csv", "l.txt"]


def test_vectors_have_no_pictures(picks: ImagePicks, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vectors alone have no pictures"):
        write_outputs(picks, sheet=tmp_path / "s.html")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    for name in ("l.txt", "s.html"):
        (tmp_path / name).write_text("old")
    with pytest.raises(DataError, match="there already"):
        check_outputs([tmp_path / "l.txt"], None)
    with pytest.raises(DataError, match="there already"):
        check_outputs([], tmp_path / "s.html")
    check_outputs([tmp_path / "l.txt"], tmp_path / "s.html", force=True)


def test_facts(picks: ImagePicks) -> None:
    facts = pick_facts(picks)
    assert facts["picks"] == [{"rank": 1, "id": "b", "reason": "Because.", "facts": {"score": 0.5}}]
    assert (facts["images"], facts["pool"]) == (None, 2)
