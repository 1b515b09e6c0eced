"""The labelling configuration: every class in it, names that XML could break, and classes that come later."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.annotators.label_studio.interface import CONTROLS, completed, kind_of, label_of, labels_of, written
from labelwise.errors import DataError
from labelwise.records import Query

ODD = ("cat", "dog \"q\" <x> & 'y'", "夜", "a, b", "ünï cødé")


def values(configuration: str, tag: str) -> list[str]:
    return [made.get("value", "") for made in ElementTree.fromstring(configuration).iter(tag)]


@pytest.mark.parametrize("kind", sorted(CONTROLS))
def test_every_class_is_a_label_of_every_control(kind: str) -> None:
    configuration = written(kind, ODD)
    for control in CONTROLS[kind]:
        found = [made for made in ElementTree.fromstring(configuration) if made.tag == control.tag]
        assert [(c.get("name"), c.get("toName")) for c in found] == [(control.name, "image")]
        assert [label.get("value") for label in found[0]] == list(ODD)
    assert completed(configuration, kind, ODD, "here") is None


def test_kinds_of_questions() -> None:
    def asked(columns: int | None) -> Query:
        return Query("q", 0, 0, "a", geometry=None if columns is None else np.zeros((1, columns), np.int32))

    assert [kind_of(asked(n), "segment") for n in (None, 2, 3, 4)] == ["areas", "pixels", "areas", "areas"]
    assert (kind_of(asked(None), "classify"), kind_of(asked(None), "detect")) == ("classify", "detect")


def test_many_classes_can_be_searched_and_have_colours_of_their_own() -> None:
    names = [f"c{i}" for i in range(40)]
    view = ElementTree.fromstring(written("detect", names))
    assert [made.get("toName") for made in view.iter("Filter")] == ["box"]
    assert len({label.get("background") for label in view.iter("Label")}) == 40
    assert list(ElementTree.fromstring(written("detect", names[:10])).iter("Filter")) == []


def test_a_class_that_came_later_is_added_and_nothing_of_people_is_lost() -> None:
    theirs = (
        '<View><Style>.x{color:red}</Style><Header value="Please &amp; thanks"/><Image name="image" value="$image"/>'
        '<View className="x"><RectangleLabels name="box" toName="image"><Label value="cat" hotkey="k"/>'
        '<Label value="A bird" alias="bird"/></RectangleLabels></View><TextArea name="note" toName="image"/></View>'
    )
    assert completed(theirs, "detect", ("cat", "bird"), "here") is None
    found = completed(theirs, "detect", ("dog", "cat", "bird"), "here")
    assert found is not None
    assert values(found, "Label") == ["cat", "A bird", "dog"]
    assert 'hotkey="k"' in found
    assert [made.tag for made in ElementTree.fromstring(found)] == ["Style", "Header", "Image", "View", "TextArea"]
    assert completed(found, "detect", ("dog", "cat", "bird"), "here") is None


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ("<View/>", "project 3: expected <RectangleLabels name='box'>.*put it back"),
        ('<View><RectangleLabels name="other" toName="image"/></View>', "expected <RectangleLabels name='box'>"),
        ("<View>", "project 3: .*no XML"),
        ("", "no XML"),
    ],
)
def test_a_configuration_that_people_broke_is_told_in_one_line(configuration: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        completed(configuration, "detect", ("cat",), "project 3")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ((), "knows none yet"),
        (("a b", "a  b"), "cannot tell two classes 'a b' apart"),
        (("$image",), "cannot hold the class"),
        (("bell\x07",), "cannot hold the class"),
        (("  ",), "cannot hold the class"),
    ],
)
def test_classes_that_cannot_be_asked_are_refused(classes: tuple[str, ...], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        written("classify", classes)
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6, unique_by=label_of))
def test_what_is_taken_comes_back(classes: list[str]) -> None:
    try:
        known = labels_of(classes)
    except DataError:
        return
    found = values(written("classify", classes), "Choice")
    assert [known[label_of(label)] for label in found] == classes
