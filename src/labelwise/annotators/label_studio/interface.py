"""Label Studio's labelling configuration: written for a kind of question, and completed by classes that came later."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from labelwise.errors import DataError
from labelwise.records import Query, Task

Kind = Literal["classify", "detect", "areas", "pixels"]

IMAGE = "image"  # names in the configuration, which results refer to
ASKED = "asked"
_MANY = 10  # more labels than there are digits to choose them by get a field to find them


@dataclass(frozen=True, slots=True)
class Control:
    """What a person answers with: its name in the configuration, its tag, and the tag of each of its labels."""

    name: str
    tag: str
    child: str = "Label"

    @property
    def type(self) -> str:
        """The type of its results, and the key under which they hold their label."""
        return self.tag.lower()


CONTROLS: Mapping[Kind, tuple[Control, ...]] = {
    "classify": (Control("class", "Choices", "Choice"),),
    "detect": (Control("box", "RectangleLabels"),),
    "areas": (Control("brush", "BrushLabels"), Control("polygon", "PolygonLabels")),
    "pixels": (Control("point", "KeyPointLabels"),),
}

_OPTIONS: Mapping[str, dict[str, str]] = {
    "Choices": {"choice": "single", "required": "true", "showInline": "true"},
    "RectangleLabels": {"canRotate": "false"},
    "KeyPointLabels": {"strokeWidth": "4"},
}


def kind_of(query: Query, task: Task) -> Kind:
    """How a query is asked: of masks there are areas to paint (whole images, regions) and single pixels."""
    if task == "segment":
        return "pixels" if query.geometry is not None and query.geometry.shape[1] == 2 else "areas"
    return task


def label_of(name: str) -> str:
    """A class as Label Studio keeps it: white space of an attribute is made one blank."""
    return " ".join(name.split())


def labels_of(classes: Sequence[str]) -> dict[str, str]:
    """The class that each label means. Raises DataError for classes that Label Studio cannot tell apart or hold."""
    twice = next((label for label, count in Counter(map(label_of, classes)).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"Label Studio cannot tell two classes {twice!r} apart, they differ in blanks; rename one")
    odd = next((name for name in classes if name.lstrip().startswith("$") or not _holdable(name)), None)
    if odd is not None:
        raise DataError(f"Label Studio cannot hold the class {odd!r} (a leading $ or a control character); rename it")
    return {label_of(name): name for name in classes}


def written(kind: Kind, classes: Sequence[str]) -> str:
    """The configuration of a new project: the picture, why it is asked, and all classes. Raises DataError without
    any class."""
    labels = list(labels_of(classes))
    if not labels:
        raise DataError(
            "Label Studio needs the classes by name, but the run knows none yet; name them in the data's options"
        )
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$reason", size="6")
    for control in CONTROLS[kind]:
        if len(labels) > _MANY:
            ElementTree.SubElement(view, "Filter", name=f"find_{control.name}", toName=control.name, minlength="0")
        attributes = {"name": control.name, "toName": IMAGE, **_OPTIONS.get(control.tag, {})}
        made = ElementTree.SubElement(view, control.tag, attributes)
        for i, label in enumerate(labels):
            _add(made, control, label, i)
    if kind == "areas":
        # Only what has a label has a colour; people are not to choose this one.
        hidden = ElementTree.SubElement(view, "View", style="display: none")
        outline = ElementTree.SubElement(hidden, "BrushLabels", name=ASKED, toName=IMAGE)
        ElementTree.SubElement(outline, "Label", value=ASKED, background="#ffd500", hotkey="ctrl+alt+shift+9")
    ElementTree.SubElement(view, "Image", name=IMAGE, value="$image", zoom="true", zoomControl="true")
    return ElementTree.tostring(view, encoding="unicode")


def completed(configuration: str, kind: Kind, classes: Sequence[str], where: str) -> str | None:
    """The configuration with the labels that it lacks, at the end; None if it lacks none.

    What people changed in it stays. Raises DataError, naming ``where``, if a control is gone.
    """
    labels, changed = list(labels_of(classes)), False
    try:
        view = ElementTree.fromstring(configuration)
    except ElementTree.ParseError as error:
        raise DataError(f"{where}: expected a labelling configuration, found no XML ({error}); mend it there") from None
    for control in CONTROLS[kind]:
        found = next((made for made in view.iter(control.tag) if made.get("name") == control.name), None)
        if found is None:
            raise DataError(
                f"{where}: expected <{control.tag} name={control.name!r}> in the labelling configuration, found none; "
                "put it back"
            )
        known = {label_of(made.get("alias") or made.get("value") or "") for made in found.iter(control.child)}
        for label in labels:
            if label not in known:
                _add(found, control, label, len(known))
                known.add(label)
                changed = True
    return ElementTree.tostring(view, encoding="unicode") if changed else None


def _add(control: ElementTree.Element, what: Control, label: str, number: int) -> None:
    """One label more; its colour is far from those of its neighbours."""
    made = ElementTree.SubElement(control, what.child, value=label)
    if what.child == "Label":
        red, green, blue = colorsys.hsv_to_rgb((number * 0.618034) % 1, 0.85, 0.9)
        made.set("background", f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")


def _holdable(name: str) -> bool:
    """True if XML can hold it, and something is left of it."""
    return bool(label_of(name)) and all(c.isprintable() or c.isspace() for c in name)
