"""Objects and their images: what is refused at the border, in one line."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.errors import SelectionError
from labelwise.picking import pick
from labelwise.selection import Inputs
from labelwise.selection.owned import ObjectNames, check_owners, with_objects


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"owners": [0, 2, 1]}, "ascending"),
        ({"owners": [-1, 0]}, "ascending from 0"),
        ({"owners": [0.5, 1]}, "row numbers"),
        ({"owners": [[0], [1]]}, "row numbers"),
        ({"owners": [0, 1], "objects": np.ones((3, 2))}, "objects and owners of one length"),
        ({"owners": [0, 1], "labels": np.ones(1, int)}, "object_labels and owners"),
        ({"owners": [0, 1], "scores": 1.0}, "object_scores and owners"),
    ],
)
def test_owners_are_checked(given, message):
    with pytest.raises(SelectionError, match=message):
        check_owners(**given)


def test_inputs_check_them_too():
    with pytest.raises(SelectionError, match="ascending"):
        Inputs(1, np.arange(2), np.random.default_rng(0), owners=np.array([1, 0]))


def test_spans():
    images, empty = with_objects(np.array([1, 1, 4]), np.array([0, 1, 2, 4]))
    assert (images.rows.tolist(), images.counts.tolist(), empty.tolist()) == ([1, 4], [2, 1], [0, 2])
    assert (images.objects.tolist(), images.owner.tolist(), images.begins.tolist()) == ([0, 1, 2], [0, 0, 1], [0, 2, 3])
    names = ObjectNames(np.array([1, 1, 4]))
    assert (names[1], names[0:3:2], len(names)) == ("object 1 of row 1", ["object 0 of row 1", "object 0 of row 4"], 3)


def test_pick_takes_objects():
    rng = np.random.default_rng(0)
    owners = np.array([0, 0, 1, 3, 3, 3])
    vectors = rng.normal(size=(6, 4))
    picked = pick(
        2, objects=vectors, owners=owners, object_labels=[0, 1, 1, 0, 0, 0], labelled=[0], strategy="object_k_center"
    )
    assert set(picked.indices.tolist()) == {1, 3}
    assert picked.facts[0]["object_class"] in (0, 1)
    assert "away from the nearest covered one, object" in picked.reasons[0]
    mask = np.array([True, False, False, False, False])
    rows = pick(4, objects=vectors, owners=owners, labelled=mask, strategy="object_k_center").indices
    assert sorted(rows.tolist()) == [1, 2, 3, 4]
    assert rows[2:].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objects": np.ones((2, 3))}, "expected owners, .* beside objects"),
        ({"objects": np.ones((2, 3)), "owners": [1, 0]}, "ascending"),
        (
            {"objects": np.ones((2, 3)), "owners": [0, 2], "embeddings": np.ones((2, 2))},
            "owners from 0 to 1, but found 2",
        ),
        ({"owners": [0, 1]}, "needs objects"),
        ({"objects": np.full((2, 3), np.inf), "owners": [0, 1]}, "object 0 of row 0"),
    ],
)
def test_pick_says_what_does_not_fit(given, message):
    with pytest.raises(SelectionError, match=message):
        pick(1, strategy="object_k_center", **given)


def test_negative_and_unfinite_object_scores_are_named():
    given = {"objects": np.ones((3, 2)), "owners": [0, 1, 1], "object_labels": [0, 0, 0], "strategy": "object_coverage"}
    for bad in (-1, np.nan, np.inf):
        with pytest.raises(SelectionError, match="object 1 of row 1 has"):
            pick(1, object_scores=[0, 0, bad], **given)
    with pytest.raises(SelectionError, match="whole numbers"):
        pick(1, object_scores=[0, 0, 1], **{**given, "object_labels": [0.5, 0, 0]})
