"""Locations, sequences and groups of camera-trap pictures."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.data.listing import Camera
from labelwise.data.sequences import camera_folder, location_rule, looks_made_by_camera, placed, placed_if, settle
from labelwise.errors import DataError
from labelwise.records import Sample

START = datetime(2024, 5, 1)


def at(id, seconds=None, **meta):
    """A sample taken so many seconds after the start."""
    taken = {} if seconds is None else {"taken": (START + timedelta(seconds=seconds)).isoformat()}
    return Sample(id, None, meta={**taken, **meta})


def sequences(samples, **options):
    return [sample.meta["sequence"] for sample in settle(samples, Camera(**options))[0]]


def parts(names):
    """Which positions share a name."""
    return {frozenset(i for i, name in enumerate(names) if name == one) for one in names}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 400)), max_size=25),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.randoms(use_true_random=False),
)
def test_a_pause_ends_a_sequence_whatever_the_order(shots, minutes, shuffle):
    samples = [at(f"{place}/{i}", second, location=place) for i, (place, second) in enumerate(shots)]
    found = parts(sequences(samples, minutes=minutes))
    # plainly: those of one place are joined if a chain of pauses that are short enough leads from one to the other
    joined = {frozenset({i}) for i in range(len(shots))}
    for i, (place, second) in enumerate(shots):
        for j, (other, later) in enumerate(shots):
            if place == other and abs(second - later) <= 60 * minutes:
                one, two = (next(part for part in joined if k in part) for k in (i, j))
                joined = (joined - {one, two}) | {one | two}
    assert found == joined
    mixed = list(range(len(samples)))
    shuffle.shuffle(mixed)
    named = dict(zip(mixed, sequences([samples[i] for i in mixed], minutes=minutes), strict=True))
    assert [named[i] for i in range(len(samples))] == sequences(samples, minutes=minutes)


def test_named_sequences_win_and_pictures_without_time_stand_alone():
    samples = [
        at("a/1", 0, sequence="s"),
        at("a/2", 5),
        at("a/3", 6),
        at("a/4"),
        at("a/5", 9999, sequence="s"),
        at("a/6"),
    ]
    assert parts(sequences(samples)) == {frozenset(x) for x in ([0, 4], [1, 2], [3], [5])}


def test_crops_of_a_picture_are_together():
    samples = [at("a.jpg#1", file="a.jpg"), at("a.jpg#2", file="a.jpg"), at("b.jpg")]
    assert parts(sequences(samples)) == {frozenset({0, 1}), frozenset({2})}


def test_a_named_sequence_in_two_places_is_one_in_each():
    samples = [
        at("a/1", location="A", sequence="s"),
        at("b/1", location="B", sequence="s"),
        at("b/2", location="B", sequence="s"),
    ]
    found, problems = settle(samples, Camera())
    assert parts([sample.meta["sequence"] for sample in found]) == {frozenset({0}), frozenset({1, 2})}
    assert [problem.code for problem in problems] == ["sequence_in_two_places"]
    assert [sample.group for sample in found] == ["A", "B", "B"]


def test_groups_are_locations_and_where_unknown_sequences():
    samples = [at("1", 0, location="A"), at("2", 9000, location="A"), at("3", 0, location="B"), at("4", 0), at("5", 10)]
    found, problems = settle(samples, Camera())
    assert [sample.group for sample in found][:3] == ["A", "A", "B"]
    assert parts([sample.group for sample in found]) == {frozenset(x) for x in ([0, 1], [2], [3, 4])}
    assert problems == []
    by_sequence = settle(samples, Camera(group="sequence"))[0]
    assert parts([sample.group for sample in by_sequence]) == {frozenset(x) for x in ([0], [1], [2], [3, 4])}
    kept = settle([Sample("x", None, group="own")], Camera(group=None))[0]
    assert kept[0].group == "own"


def test_one_location_alone_is_held_out_by_sequence():
    found, problems = settle([at("1", 0, location="A"), at("2", 1, location="A"), at("3", 900, location="A")], Camera())
    assert parts([sample.group for sample in found]) == {frozenset({0, 1}), frozenset({2})}
    assert [problem.code for problem in problems] == ["one_location"]
    assert settle([], Camera()) == ([], [])


@pytest.mark.parametrize(
    ("rule", "id", "meta", "place"),
    [
        ("folder", "site/camA/DCIM/100RECNX/1.jpg", {}, "site/camA"),
        ("folder", "site/camA/100_BTCF/1.jpg", {}, "site/camA"),
        ("folder", "100EK113/1.jpg", {}, None),
        ("folder", "1.jpg", {}, None),
        ("folder", "x/1.jpg", {"location": "known"}, "known"),
        (1, "site/camA/1.jpg", {}, "site"),
        ("2", "site/camA/1.jpg", {"location": "known"}, "camA"),
        (3, "site/camA/1.jpg", {}, None),
        ("Site", "a/1.jpg", {"Site": "north"}, "north"),
        ("Site", "a/1.jpg", {}, None),
        ("(cam[A-Z])", "site/camA/1.jpg", {}, "camA"),
        ("(cam[A-Z])", "site/1.jpg", {}, None),
        (None, "a/1.jpg", {"location": 7}, "7"),
        (None, "a/1.jpg", {}, None),
    ],
)
def test_where_a_picture_was_taken(rule, id, meta, place):
    assert location_rule(rule)(id, meta) == place


def test_folders_that_cameras_make():
    assert camera_folder("a/b/DCIM/101EK113/x.jpg") == "a/b"
    assert looks_made_by_camera("a/DCIM/x.jpg")
    assert not looks_made_by_camera("deer/100.jpg")


def test_a_rule_that_fits_only_some_is_told():
    found, problems, _ = placed([at("camA/1"), at("2")], location="(cam[A-Z])")
    assert [sample.meta.get("location") for sample in found] == ["camA", None]
    assert [problem.code for problem in problems] == ["no_location"]
    _, _, camera = placed([at("a/1")], group="folder", minutes=3)
    assert camera == Camera(3, None)


@pytest.mark.parametrize("location", ["(", "(a)(b)", "Column", 0, "5"])
def test_rules_that_fit_nothing_are_refused(location):
    with pytest.raises(DataError, match="location"):
        placed([at("a/1")], location=location)


def test_other_formats_have_cameras_only_if_asked():
    samples = [at("a/1"), at("b/2")]
    assert placed_if(samples, None, None, None) == (samples, [], None)
    found, _, camera = placed_if(samples, "folder", None, None)
    assert [sample.group for sample in found] == ["a", "b"]
    assert camera == Camera(1.0, "location")
    assert placed_if(samples, None, None, "sequence")[2] == Camera(1.0, "sequence")
