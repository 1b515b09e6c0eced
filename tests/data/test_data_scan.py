"""Tests of data/scan.py: verdicts in order, digests, and exact duplicates."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data import images_folder
from labelwise.data.scan import find_duplicates, scan
from labelwise.records import Problem, Sample, Target


def test_every_bad_input_gets_one_verdict_in_order(shared_data: Path) -> None:
    listing = images_folder.read(shared_data / "bad_inputs")
    done: list[int] = []
    verdicts = list(scan(listing.samples, threads=2, progress=done.append))
    assert [verdict.id for verdict in verdicts] == [sample.id for sample in listing.samples]
    assert done == list(range(1, len(listing.samples) + 1))
    problems = {verdict.id: verdict.code for verdict in verdicts if isinstance(verdict, Problem)}
    assert problems == {
        "bad_crc.png": "truncated",
        "huge_20000x20000_1bit.png": "too_large",
        "huge_declared_60000x60000_no_data.png": "too_large",
        "text_not_image.jpg": "not_an_image",
        "truncated.jpg": "truncated",
        "truncated.png": "truncated",
        "truncated_header.jpg": "truncated",
        "warn_12000x12000_1bit.png": "too_large",
        "zero_bytes.jpg": "empty_file",
    }
    samples = {verdict.id: verdict for verdict in verdicts if isinstance(verdict, Sample)}
    assert samples["exif_orientation_6.jpg"].size == (160, 120)
    assert samples["cmyk.jpg"].note.startswith("cmyk")
    data = (shared_data / "bad_inputs" / "ok.jpg").read_bytes()
    assert samples["ok.jpg"].content == hashlib.blake2b(data, digest_size=16).hexdigest()


def test_missing_file(tmp_path: Path) -> None:
    (verdict,) = scan([Sample("a.jpg", tmp_path / "a.jpg")], threads=1)
    assert isinstance(verdict, Problem)
    assert (verdict.id, verdict.code) == ("a.jpg", "missing")
    assert str(tmp_path) not in verdict.message


def test_exact_duplicates_only(shared_data: Path) -> None:
    listing = images_folder.read(shared_data / "bad_inputs" / "duplicates")
    scanned = [verdict for verdict in scan(listing.samples, threads=2) if isinstance(verdict, Sample)]
    assert len(scanned) == 4
    (problem,) = find_duplicates(reversed(scanned))
    assert (problem.id, problem.code) == ("b_same_bytes.jpg", "duplicate")
    assert "a.jpg" in problem.message


@pytest.mark.parametrize(
    ("one", "two", "code"),
    [
        (None, None, "duplicate"),
        (Target(("fox",)), None, "duplicate"),
        (Target(("fox",)), Target(("fox",)), "duplicate"),
        (Target(("fox",)), Target(("cat",)), "conflicting_duplicate"),
        (Target(("fox",), np.zeros((1, 4))), Target(("fox",), np.zeros((1, 4))), "duplicate"),
        (Target(("fox",), np.zeros((1, 4))), Target(("fox",), np.ones((1, 4))), "conflicting_duplicate"),
        (Target(("fox",), np.zeros((1, 4))), Target(("fox",)), "conflicting_duplicate"),
    ],
)
def test_truths_of_duplicates(tmp_path: Path, one: Target | None, two: Target | None, code: str) -> None:
    sample = Sample("a", tmp_path, content="1")
    copies = [replace(sample, target=one), replace(sample, id="b", target=two)]
    assert [problem.code for problem in find_duplicates(copies)] == [code]


def test_samples_without_digest_are_no_duplicates(tmp_path: Path) -> None:
    assert find_duplicates([Sample("a", tmp_path), Sample("b", tmp_path)]) == []


def test_boxes_drawn_at_another_size(tmp_path: Path) -> None:
    """An image that was turned, or made smaller, after it was annotated: its boxes are somewhere else."""
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    boxes = Target(("cat",), np.array([[1.0, 2, 3, 4]]))
    sample = Sample("a.png", tmp_path / "a.png", target=boxes)
    for size, words in (((30, 40), "was it turned"), ((80, 60), "annotated at 80x60 pixels, but is 40x30")):
        (verdict,) = scan([replace(sample, size=size)], threads=1)
        assert isinstance(verdict, Problem)
        assert verdict.code == "size_differs"
        assert words in verdict.message
    for fits in (replace(sample, size=(40, 30)), sample, Sample("a.png", tmp_path / "a.png", size=(9, 9))):
        (verdict,) = scan([fits], threads=1)
        assert isinstance(verdict, Sample)
        assert verdict.size == (40, 30)
