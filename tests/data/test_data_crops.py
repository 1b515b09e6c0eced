"""Crops: rectangles, pixels, digests; and what a scan, a model and a report make of them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camera_trap_files import picture
from labelwise.data.crops import (
    box_of,
    box_text,
    content_of,
    cropped,
    file_of,
    open_sample,
    pixel_box,
    small_sample,
    squared,
    widened,
)
from labelwise.data.images import UnreadableImage, open_image
from labelwise.data.listing import Camera
from labelwise.data.scan import digest_of, find_duplicates, scan
from labelwise.embedding.backbone import read_pixels
from labelwise.embedding.extractor import make_extractor
from labelwise.errors import DataError
from labelwise.records import Problem, Sample
from labelwise.report.thumbnails import data_uris, thumbnail

sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


@st.composite
def boxes(draw):
    """A box in the picture."""
    (x0, x1), (y0, y1) = (
        sorted(draw(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2, unique=True))) for _ in range(2)
    )
    return x0, y0, x1, y1


@settings(max_examples=200, deadline=None)
@given(boxes(), sizes)
def test_a_square_holds_the_box_and_is_as_square_as_the_picture_allows(box, size):
    found = squared(box, size)
    slack = 1e-9
    assert found[0] <= box[0] + slack
    assert found[1] <= box[1] + slack
    assert found[2] >= box[2] - slack
    assert found[3] >= box[3] - slack
    assert min(found[:2]) >= 0
    assert max(found[2:]) <= 1
    width, height = (found[2] - found[0]) * size[0], (found[3] - found[1]) * size[1]
    long = max((box[2] - box[0]) * size[0], (box[3] - box[1]) * size[1])
    assert width == pytest.approx(min(long, size[0]), abs=1e-6)
    assert height == pytest.approx(min(long, size[1]), abs=1e-6)


@settings(max_examples=200, deadline=None)
@given(boxes(), sizes)
def test_pixels_are_whole_at_least_one_and_cover_the_box(box, size):
    x0, y0, x1, y1 = pixel_box(box, size)
    assert 0 <= x0 < x1 <= size[0]
    assert 0 <= y0 < y1 <= size[1]
    assert x0 <= box[0] * size[0] + 1e-5
    assert x1 >= min(size[0], box[2] * size[0]) - 1e-5


def test_a_margin_stays_in_the_picture():
    assert widened((0.4, 0.4, 0.6, 0.6), 0.5) == pytest.approx((0.3, 0.3, 0.7, 0.7))
    assert widened((0.0, 0.5, 0.5, 1.0), 0.2) == pytest.approx((0.0, 0.4, 0.6, 1.0))
    assert widened((0.2, 0.2, 0.3, 0.3), 0) == (0.2, 0.2, 0.3, 0.3)


def test_the_digest_is_the_files_without_crop_and_another_for_each_crop():
    digest = digest_of(b"x")
    assert content_of(digest, None) == digest
    found = {content_of(digest, crop) for crop in ((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.51), (0, 0, 1, 1))}
    assert len(found | {digest}) == 4
    assert all(len(one) == 32 for one in found)


def test_a_crop_must_be_part_of_a_picture():
    for crop in [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0, 0, 1), (0, 0, float("nan"), 1)]:
        with pytest.raises(DataError, match="crop"):
            Sample("a.png", None, crop=crop)


def test_the_pixels_are_those_of_the_picture_as_shown(tmp_path):
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 20, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned by a quarter: red is the upper half
    image.save(tmp_path / "a.png", exif=exif)
    sample = Sample("a.png", tmp_path / "a.png", crop=(0, 0, 1, 0.5))
    shown = np.asarray(open_sample(sample)[0])
    assert shown.shape == (20, 20, 3)
    assert (shown == (255, 0, 0)).all()
    assert open_sample(replace(sample, crop=None))[0].size == (20, 40)


def test_a_scan_tells_size_content_and_time_of_each_crop(tmp_path):
    path = picture(tmp_path / "a.jpg", taken="2024:05:01 10:00:00", size=(80, 40))
    crops = [(0.1, 0.1, 0.3, 0.3), (0.5, 0.5, 0.9, 0.6)]
    samples = [Sample(f"a.jpg#{i}", path, crop=crop) for i, crop in enumerate(crops)] + [Sample("b.jpg", path)]
    plain = list(scan(samples))
    assert [one.size for one in plain] == [(16, 8), (32, 4), (80, 40)]
    assert len({one.content for one in plain}) == 3
    assert find_duplicates(plain) == []
    assert "taken" not in plain[0].meta
    counted = []
    square = list(scan(samples, camera=Camera(), progress=counted.append))
    assert [one.size for one in square] == [(16, 16), (32, 32), (80, 40)]
    assert [one.meta["taken"] for one in square] == ["2024-05-01T10:00:00"] * 3
    assert counted == [1, 2, 3]
    assert square[0].content == content_of(plain[2].content, square[0].crop) != plain[0].content
    known = replace(samples[2], meta={"taken": "2020-01-01T00:00:00"})
    assert next(iter(scan([known], camera=Camera()))).meta["taken"] == "2020-01-01T00:00:00"


def test_an_unreadable_file_is_a_problem_of_each_of_its_crops(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    samples = [Sample(f"a.jpg#{i}", tmp_path / "a.jpg", crop=(0, 0, 0.5, 0.5)) for i in (1, 2)]
    found = list(scan(samples, camera=Camera()))
    assert [(one.id, one.code) for one in found if isinstance(one, Problem)] == [
        ("a.jpg#1", "not_an_image"), ("a.jpg#2", "not_an_image"),
    ]  # fmt: skip
    with pytest.raises(UnreadableImage):
        open_sample(samples[0])


def test_the_same_crop_of_two_copies_is_a_duplicate(tmp_path):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    crop = (0.25, 0.25, 0.75, 0.75)
    found = list(scan([Sample(n, tmp_path / n, crop=crop) for n in ("a.png", "b.png")]))
    assert [problem.code for problem in find_duplicates(found)] == ["duplicate"]


def test_features_are_those_of_the_crop_alone(tmp_path):
    path = picture(tmp_path / "a.png", size=(80, 60), boxes=[(20, 15, 60, 45, "blue")])
    crop = (0.25, 0.25, 0.75, 0.75)
    cropped(open_image(path)[0], crop).save(tmp_path / "cut.png")
    extractor = make_extractor(backbone="pixels", size=8)
    whole, part, cut = read_pixels(
        [Sample("a", path), Sample("a#1", path, crop=crop), Sample("cut", tmp_path / "cut.png")],
        extractor.prepare,
        threads=1,
    )
    assert np.array_equal(part, cut)
    assert not np.array_equal(part, whole)


def test_a_thumbnail_shows_the_crop(tmp_path):
    path = picture(tmp_path / "a.jpg", size=(2000, 1000), colour="white", boxes=[(900, 400, 1100, 600, "blue")])
    crop = (0.45, 0.4, 0.55, 0.6)
    data = thumbnail(path, crop=crop)
    small = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert small.shape[0] == small.shape[1] == 144
    assert abs(small[20:-20, 20:-20].astype(int) - (0, 0, 255)).max() < 12
    one, two, none = data_uris([path, (path, crop), (path, None)])
    assert one == none != two


def test_a_small_picture_of_a_crop(tmp_path):
    path = picture(tmp_path / "a.jpg", size=(2000, 1000), colour="white", boxes=[(900, 400, 1100, 600, "blue")])
    small = np.asarray(small_sample(Sample("a#1", path, crop=(0.45, 0.4, 0.55, 0.6)), 96))
    assert max(small.shape[:2]) <= 96
    assert min(small.shape[:2]) >= 90
    assert abs(small[8:-8, 8:-8].astype(int) - (0, 0, 255)).max() < 12
    assert max(small_sample(Sample("a", path), 96).size) == 96
    tiny = Sample("a#2", path, crop=(0.0, 0.0, 0.002, 0.001))  # a few pixels stay a few pixels
    assert small_sample(tiny, 96).size == (4, 1)


def test_files_and_boxes_of_samples():
    sample = Sample("a.jpg#2", None, meta={"file": "a.jpg", "box": box_text((0.1, 0.2, 0.4, 0.6))}, crop=(0, 0, 1, 1))
    assert file_of(sample) == "a.jpg"
    assert box_of(sample) == pytest.approx((0.1, 0.2, 0.4, 0.6))
    plain = Sample("b#1.jpg", None)
    assert (file_of(plain), box_of(plain)) == ("b#1.jpg", None)
    assert box_of(Sample("c", None, crop=(0, 0, 0.5, 1))) == (0, 0, 0.5, 1)
