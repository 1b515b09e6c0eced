"""What is known of images, as columns."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.errors import ConfigError
from labelwise.loop.columns import Columns, check_columns
from labelwise.records import Sample
from labelwise.selection.terms import column
from labelwise.strategies import Recipe, assemble

SAMPLES = [
    Sample("a", None, group="g", size=(4, 3), meta={"location": "Höhle", "count": 2.0, "night": True, "mixed": "x"}),
    Sample("b", None, size=(8, 6), meta={"location": "x" * 500, "width": 7.0, "mixed": 1.0}),
]


def test_columns_of_numbers_and_words():
    found = Columns(SAMPLES)
    assert sorted(found) == ["count", "group", "height", "location", "mixed", "night", "width"]
    assert len(found) == 7
    assert found["location"].tolist() == ["Höhle", "x" * 500]
    assert found["mixed"].tolist() == ["x", "1.0"]
    assert np.array_equal(found["count"], [2, np.nan], equal_nan=True)
    assert np.array_equal(found["night"], [1, np.nan], equal_nan=True)
    assert found["width"].tolist() == [4, 8]  # not the metadata of that name
    assert found["group"].tolist() == ["g", ""]
    assert found["location"] is found["location"]
    assert column("height", found).tolist() == [3, 6]
    with pytest.raises(KeyError):
        found["ghost"]


def test_no_samples():
    assert Columns([])["group"].shape == (0,)


@pytest.mark.parametrize(
    "recipe",
    [
        {"select": "random", "per": {"locatoin": 2}},
        {"score": "margin", "threshold": ["score > 0.1", "locatoin != Höhle"]},
        {"select": {"name": "combined", "parts": [{"by": "diversity"}, {"by": "balance", "column": "locatoin"}]}},
    ],
)
def test_metadata_that_no_image_has(recipe):
    with pytest.raises(ConfigError, match="no metadata 'locatoin'; did you mean 'location'"):
        check_columns(assemble(Recipe(**recipe)), SAMPLES)


@pytest.mark.parametrize(
    "recipe",
    [
        {"select": "random", "per": {"location": 2}, "threshold": "width > 3"},
        {"score": "margin", "threshold": "score > 0.1"},
        {"select": {"name": "combined", "parts": [{"by": "diversity"}, {"by": "metadata", "column": "count"}]}},
    ],
)
def test_metadata_that_there_is(recipe):
    check_columns(assemble(Recipe(**recipe)), SAMPLES)
