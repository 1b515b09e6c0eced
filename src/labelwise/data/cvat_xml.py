"""Format: CVAT for images 1.1. One XML with all boxes, and a folder of pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

from labelwise.data.box_writing import Images, Writing, new_folder, number_text
from labelwise.data.cvat_shapes import AREAS, CORNERS, OTHERS, corners_of, is_turned
from labelwise.data.listing import Listing, checked_folder, existing_id
from labelwise.data.roles import Split, roles_of
from labelwise.data.true_boxes import Others, TrueBoxes, claimed, class_names, place_of, split_of
from labelwise.data.xml_reading import load_xml, size_of
from labelwise.errors import DataError
from labelwise.records import Sample

FILE = "annotations.xml"
_ALONE = "default"  # CVAT's own name where there are no subsets


def read(
    path: Path | str,
    *,
    images: Path | None = None,
    classes: list[str] | None = None,
    splits: dict[str, Split] | None = None,
    group: str | None = None,
    others: Others = "unlabelled",
) -> Listing:
    """List the pictures that CVAT's XML names, with their boxes; ids are paths relative to the pictures' folder.

    ``path``: the XML, or a folder with ``annotations.xml`` or one such XML of another name. ``images``: the pictures'
    folder, relative to the XML's; by default looked for near it. ``classes``: their names in order; by default the
    labels of the file's ``meta``, else all that occur, sorted. Subsets of a project say the splits. A picture in the
    XML without box is a known truth; one that is not named is unlabelled (``others``).

    Problems, with their counts: ``degenerate_boxes``, ``outside_boxes``, ``clipped_boxes``, ``duplicate_boxes``,
    ``unknown_class``, ``rotated_boxes``, ``polygons`` and ``masks`` (boxes around polygons, ellipses and masks),
    ``no_box`` (other shapes), ``bad_annotation`` (of a picture, then unlabelled), ``missing``, ``outside_root``,
    ``repeated``. Raises DataError for a file that is none, or CVAT for video.
    """
    file = _file(Path(path))
    tree = load_xml(file)
    entries = tree.findall("image")
    if tree.tag != "annotations" or tree.find("track") is not None:
        what = "tracks of a video" if tree.find("track") is not None else f"<{tree.tag}>"
        raise DataError(f"{file}: expected <annotations> of images, found {what}; export as 'CVAT for images 1.1'")
    names = [(entry.get("name") or "", entry.get("subset")) for entry in entries]
    subsets = {subset for _, subset in names if subset} | _subsets(tree)
    near = ("images", ".", "JPEGImages")
    folders = [file.parent / images] if images is not None else [file.parent / name for name in near]
    root = place_of((place for pair in names for place in _places(*pair)), folders, file)
    boxes = TrueBoxes(class_names(classes) or _declared(tree))
    roles = roles_of(sorted(subsets), splits, file)
    for entry, (name, subset) in zip(entries, names, strict=True):
        inside = next((place for place in _places(name, subset) if existing_id(place, root) is not None), name)
        id = claimed(inside, root, root, boxes)
        size = size_of(entry.get("width"), entry.get("height"))
        if id is not None and boxes.begin(id, size, split_of(roles, subset)):
            _take(entry, id, boxes)
    return boxes.listing(root, group=group, others=others)


def _places(name: str, subset: str | None) -> list[str]:
    """Where a picture may be: by its name, or in the folder of its subset, as CVAT exports projects."""
    return [name, f"{subset}/{name}"] if subset else [name]


def is_cvat(file: Path) -> bool:
    """True if the file begins like CVAT's XML."""
    try:
        with file.open("rb") as stream:
            return b"<annotations" in stream.read(4096)
    except OSError:
        return False


def load(path: Path) -> ET.Element:
    """CVAT's XML, or the one in a folder, as a tree. Raises DataError for anything else."""
    return load_xml(_file(path))


def _file(path: Path) -> Path:
    return path if path.is_file() else annotation_file(checked_folder(path)) or path / FILE


def annotation_file(folder: Path) -> Path | None:
    """CVAT's XML in this folder: ``annotations.xml``, else the only one of another name.

    Raises DataError where there are several: nobody can tell which is meant.
    """
    usual = folder / FILE
    found = [usual] if usual.is_file() else sorted(file for file in folder.glob("*.xml") if is_cvat(file))
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:3])
        raise DataError(f"{folder}: expected one XML of CVAT, found {len(found)} ({names}); name one")
    return found[0] if found and is_cvat(found[0]) else None


def _declared(tree: ET.Element) -> tuple[str, ...] | None:
    labels = (label.findtext("name") or "" for labels in tree.findall("meta/*/labels") for label in labels)
    return tuple(dict.fromkeys(label.strip() for label in labels if label.strip())) or None


def _subsets(tree: ET.Element) -> set[str]:
    text = "\n".join(element.text or "" for element in tree.findall("meta/*/subsets"))
    return {line.strip() for line in text.splitlines() if line.strip()}


def _take(entry: ET.Element, id: str, boxes: TrueBoxes) -> None:
    for shape in entry:
        label = (shape.get("label") or "").strip()
        if shape.tag in OTHERS:
            boxes.note(id, "no_box", f"{shape.tag} {label}")
        if shape.tag not in AREAS:
            continue
        try:
            if not label:
                raise ValueError("expected a label of each box, found none")
            boxes.add(id, label, corners_of(shape))
            if is_turned(shape):
                boxes.note(id, "rotated_boxes", label)
            elif shape.tag != "box":
                boxes.note(id, "masks" if shape.tag == "mask" else "polygons", f"{shape.tag} {label}")
        except ValueError as error:
            boxes.spoil(id, str(error))


def write(path: Path | str, samples: Iterable[Sample], classes: Sequence[str], *, images: Images = "copy") -> list[str]:
    """Write a dataset as CVAT for images 1.1 into the new folder ``path``; returns what it cannot hold, a line each.

    ``annotations.xml`` names the samples with a target, their subset where there are splits; a class of a whole image
    is a tag. ``images/`` holds the pictures of all (``images``: copy, link, or leave them where they are). Written
    whole or not at all. Raises DataError as for coco.
    """
    writing = Writing.of(samples, classes, "cvat_xml", stems=False, whole=True)
    parts = writing.parts(_ALONE)
    tree = ET.Element("annotations")
    ET.SubElement(tree, "version").text = "1.1"
    _meta(tree, writing.classes, list(parts))
    named = [(sample, part) for part, members in parts.items() for sample in members]
    for number, (sample, part) in enumerate(named):
        _image(tree, number, sample, part, writing)
    ET.indent(tree)
    with new_folder(path) as folder:
        ET.ElementTree(tree).write(folder / FILE, encoding="utf-8", xml_declaration=True)
        writing.place(folder / "images", images)
    return writing.notes(images)


def _meta(tree: ET.Element, classes: Sequence[str], parts: Sequence[str]) -> None:
    """The labels and subsets, as CVAT writes them for a project: a task for each subset."""
    project = ET.SubElement(ET.SubElement(tree, "meta"), "project")
    ET.SubElement(project, "name").text = "labelwise"
    tasks = ET.SubElement(project, "tasks")
    for part in parts:
        task = ET.SubElement(tasks, "task")
        ET.SubElement(task, "name").text = part
        ET.SubElement(task, "subset").text = part
    labels = ET.SubElement(project, "labels")
    for name in classes:
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        ET.SubElement(label, "attributes")
    ET.SubElement(project, "subsets").text = "\n".join(parts)


def _image(tree: ET.Element, number: int, sample: Sample, part: str, writing: Writing) -> None:
    width, height = writing.size(sample)
    about = {"id": str(number), "name": sample.id} | ({"subset": part} if part != _ALONE else {})
    entry = ET.SubElement(tree, "image", about | {"width": str(width), "height": str(height)})
    for label, corners in writing.boxes(sample):
        places = dict(zip(CORNERS, map(number_text, corners), strict=True))
        ET.SubElement(entry, "box", {"label": label, "source": "manual", "occluded": "0", **places, "z_order": "0"})
    if sample.target is not None and sample.target.geometry is None:
        for label in sample.target.classes:
            ET.SubElement(entry, "tag", {"label": label, "source": "manual"})
