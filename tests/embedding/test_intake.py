"""Files are read once, decoded only where their vector is missing, and what is computed is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.embedding import intake
from labelwise.embedding.extractor import Extractor, make_extractor
from labelwise.embedding.intake import take_in
from labelwise.errors import ModelError
from labelwise.records import Sample


def silent(done: int, total: int, what: str) -> None:
    pass


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(tmp_path / f"{i:02d}.png")
    (tmp_path / "40.png").write_bytes((tmp_path / "00.png").read_bytes())
    (tmp_path / "41.png").write_bytes(b"no picture")
    (tmp_path / "42.png").write_bytes((tmp_path / "01.png").read_bytes()[:60])
    return [Sample(path.name, path) for path in sorted(tmp_path.glob("*.png"))]


def test_all_at_once_and_again(samples: list[Sample], tmp_path: Path) -> None:
    extractor = make_extractor(backbone="pixels", size=4)
    table = extractor.table(tmp_path / "cache")
    good, bad = take_in(samples, extractor, table, threads=3, progress=silent)
    assert [s.id for s in good] == [f"{i:02d}.png" for i in range(41)]
    assert [(p.id, p.code) for p in bad] == [("41.png", "not_an_image"), ("42.png", "truncated")]
    assert good[0].size == (12, 9)
    assert len(table) == 40
    plainly = np.stack([extractor.prepare(Image.open(s.path).convert("RGB")) for s in good]).reshape(41, -1) / 255
    np.testing.assert_allclose(table.lookup([s.content for s in good]), plainly, atol=1e-6)

    def never(_: Image.Image) -> None:
        raise AssertionError("decoded again")

    again, _ = take_in(samples, replace(extractor, prepare=never), table, threads=2, progress=silent)  # type: ignore[arg-type]
    assert [(s.id, s.content) for s in again] == [(s.id, s.content) for s in good]


def test_an_interruption_keeps_what_was_computed(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BATCH", 8)
    extractor = make_extractor(backbone="pixels", size=4)
    table = extractor.table(tmp_path / "cache")

    def stop(done: int, total: int, what: str) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_in(samples, extractor, table, threads=2, progress=stop)
    assert len(extractor.table(tmp_path / "cache")) == 16
    take_in(samples, extractor, extractor.table(tmp_path / "cache"), threads=2, progress=silent)
    assert len(extractor.table(tmp_path / "cache")) == 40


def test_features_that_are_not_finite_name_the_image(samples: list[Sample], tmp_path: Path) -> None:
    def broken(batch: Sequence[object]) -> np.ndarray:
        vectors = np.ones((len(batch), 16), np.float32)
        vectors[3] = np.nan
        return vectors

    extractor: Extractor = replace(make_extractor(backbone="pixels", size=4), compute=broken)
    with pytest.raises(ModelError, match=r"03\.png"):
        take_in(samples[:8], extractor, extractor.table(tmp_path / "cache"), threads=1, progress=silent)
