"""Mirrored pictures: asked about only when wanted, mirrored back, matched with the objects of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelwise.data.images import open_image
from labelwise.models import provided_by
from labelwise.models.mirrored import matched, predicted
from labelwise.records import Prediction, Sample


class Brightest:
    """Finds the brightest column of a picture as a box 10 wide, and says how many pictures it was shown."""

    tasks = frozenset({"detect"})
    provides = frozenset({"boxes", "probs"})

    def __init__(self) -> None:
        self.shown = 0

    def predict(self, checkpoint: Any, samples: Any, *, want: frozenset[str]) -> Any:
        for sample in samples:
            self.shown += 1
            pixels = np.asarray(open_image(sample.path)[0])
            assert sample.size == (pixels.shape[1], pixels.shape[0])
            x = int(pixels.sum(axis=(0, 2)).argmax())
            box = np.array([[x - 4.0, 2, x + 5, 8]]) if pixels.any() else np.zeros((0, 4))
            n = len(box)
            yield Prediction(
                sample.id, boxes=box, labels=np.zeros(n, int), confidences=np.full(n, 0.6), probs=np.full((n, 2), 0.5)
            )


def picture(folder: Path, x: int | None) -> Sample:
    pixels = np.zeros((10, 40, 3), np.uint8)
    if x is not None:
        pixels[:, x] = 255
    Image.fromarray(pixels).save(folder / f"{x}.png")
    return Sample(f"{x}.png", folder / f"{x}.png", size=(40, 10))


def test_the_mirrored_picture_is_asked_about_only_when_wanted(tmp_path: Path) -> None:
    model, samples = Brightest(), [picture(tmp_path, 7), picture(tmp_path, None)]
    plain = list(predicted(model, None, samples, frozenset({"boxes", "probs"})))  # type: ignore[arg-type]
    assert model.shown == 2
    assert plain[0].flipped is None
    both = list(predicted(model, None, samples, frozenset({"boxes", "probs", "flipped"})))  # type: ignore[arg-type]
    assert model.shown == 6
    assert [p.id for p in both] == [s.id for s in samples]
    np.testing.assert_array_equal(both[0].boxes, [[3, 2, 12, 8]])
    # The column lies at 32 of the mirrored picture: its box is 28 to 37 there, 3 to 12 back here.
    np.testing.assert_allclose(both[0].flipped, [[3, 2, 12, 8, 0.6, 0.5, 0.5]])
    assert both[1].flipped.shape == (0, 7)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["7.png", "None.png"]


def test_matching_against_every_pair() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((5, 8), (3, 1), (4, 0), (0, 4)):

        def made(count: int) -> Prediction:
            corners = np.sort(rng.integers(0, 40, (count, 2, 2)), axis=1).reshape(count, 4).astype(float)
            probs = rng.random((count, 2))
            return Prediction(
                "a", boxes=corners, labels=np.zeros(count, int), confidences=rng.random(count), probs=probs
            )

        one, other = made(n), made(m)
        rows = matched(one, other, 40)
        assert rows.shape == (n, 7)
        for row, (x0, y0, x1, y1) in zip(rows, one.boxes, strict=True):
            best, most = np.zeros(7), 0.0
            for (a0, b0, a1, b1), s, p in zip(other.boxes, other.confidences, other.probs, strict=True):
                a0, a1 = 40 - a1, 40 - a0
                shared = max(0, min(x1, a1) - max(x0, a0)) * max(0, min(y1, b1) - max(y0, b0))
                union = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared
                if union > 0 and shared / union > most:
                    best, most = np.array([a0, b0, a1, b1, s, *p]), shared / union
            np.testing.assert_allclose(row, best, atol=1e-5)


def test_who_can_be_asked() -> None:
    model = Brightest()
    assert "flipped" in provided_by(model)  # type: ignore[arg-type]
    model.looks = False  # type: ignore[attr-defined]
    assert "flipped" not in provided_by(model)  # type: ignore[arg-type]
