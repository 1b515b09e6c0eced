"""Format: Pascal VOC. One XML a picture in Annotations, pictures in JPEGImages, lists of splits in ImageSets/Main."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

from labelwise.data.box_writing import Images, Writing, new_folder, number_text, stem_of
from labelwise.data.listing import Found, Listing, checked_folder, existing_id, list_images, shown
from labelwise.data.predictions.reading import load_text, parsed
from labelwise.data.predictions.yolo import names_in
from labelwise.data.roles import Split, named_split, roles_of, without_union
from labelwise.data.true_boxes import Others, TrueBoxes, class_names
from labelwise.data.xml_reading import load_xml, size_of, text_of
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.records import Sample

_LABELMAP = "labelmap.txt"  # of CVAT and datumaro: label:color:parts:actions
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(
    path: Path | str,
    *,
    images: str = "JPEGImages",
    annotations: str = "Annotations",
    sets: str = "ImageSets/Main",
    classes: list[str] | None = None,
    one_based: bool = False,
    splits: dict[str, Split] | None = None,
    group: str | None = None,
    others: Others = "unlabelled",
) -> Listing:
    """List the pictures below ``path/images`` with the boxes of their XML files; ids are relative to the first.

    The picture of ``annotations/a/b.xml`` is the one its ``<filename>`` says, in folder ``a``, else ``a/b.*``.
    ``classes``: their names in order; by default those in ``classes.txt``, ``labels.txt`` or CVAT's
    ``labelmap.txt``, else all that occur,
    sorted. ``one_based``: corners count pixels from 1 and include the last, as in the original VOC data: 1 is taken
    from xmin and ymin. ``sets`` holds a list of names for each split. An XML without object is a known truth: no box. A
    picture without XML is unlabelled (``others``).

    Problems, with their counts: ``degenerate_boxes``, ``outside_boxes``, ``clipped_boxes``, ``duplicate_boxes``,
    ``unknown_class``, ``difficult`` (used), ``bad_annotation`` (of a picture, then unlabelled), ``missing``,
    ``repeated``. Raises DataError without annotations or pictures.
    """
    place = checked_folder(path)
    root, answers = checked_folder(place / images), checked_folder(place / annotations)
    found, problems = list_images(root)
    boxes = TrueBoxes(class_names(classes) or _declared(place), problems)
    stems = _by_stem(found)
    roles = _roles(place / sets, splits, stems, boxes)
    for file in sorted(answers.rglob("*.xml")):
        _take(file, file.relative_to(answers).with_suffix("").as_posix(), root, stems, roles, one_based, boxes)
    return boxes.listing(root, group=group, others=others, found=found)


def _declared(place: Path) -> tuple[str, ...] | None:
    file = next((place / name for name in ("classes.txt", "labels.txt") if (place / name).is_file()), None)
    if file is not None:
        return names_in(file)
    if not (place / _LABELMAP).is_file():
        return None
    lines = load_text(place / _LABELMAP).splitlines()
    names = [line.partition(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return tuple(dict.fromkeys(name for name in names if name and name != "background")) or None


def _by_stem(found: Found) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = {}
    for id, _ in found:
        stems.setdefault(stem_of(id), []).append(id)
    return stems


def _roles(
    sets: Path, splits: dict[str, Split] | None, stems: dict[str, list[str]], boxes: TrueBoxes
) -> dict[str, Split]:
    """What each picture is for, by its id."""
    files = {file.stem: file for file in sorted(sets.glob("*.txt"))}
    wanted = [name for name in files if splits is not None or named_split(name) in ("train", "val", "test")]
    meant = roles_of(without_union(wanted) if splits is None else wanted, splits, sets)
    roles: dict[str, Split] = {}
    for name, role in meant.items():
        for line in load_text(files[name]).splitlines():
            stem = line if line in stems else line.strip()
            if not stem:
                continue
            if stem not in stems:
                told = f"{shown(stem)}: listed in {files[name].name}, but there is no such picture"
                boxes.tell(stem, "missing", told)
            for id in stems.get(stem, ()):
                if roles.setdefault(id, role) != role:
                    told = f"{shown(id)}: listed for more than one split, the first counts ({roles[id]})"
                    boxes.tell(id, "repeated", told)
    return roles


def _take(
    file: Path,
    stem: str,
    root: Path,
    stems: dict[str, list[str]],
    roles: dict[str, Split],
    one_based: bool,
    boxes: TrueBoxes,
) -> None:
    """Take one XML file in."""
    try:
        tree, broken = load_xml(file), ""
    except DataError as error:
        tree, broken = ET.Element("annotation"), str(error)
    folder, slash, _ = stem.rpartition("/")
    name = text_of(tree, "filename").replace("\\", "/").rpartition("/")[2]
    id = existing_id(f"{folder}{slash}{name}", root) if name else None
    if id is None:
        same = stems.get(stem, [])
        id = same[0] if same else None
    if id is None:
        boxes.tell(stem, "missing", f"{shown(stem)}: annotated, but there is no such picture below {root}; left out")
        return
    size = size_of(tree.findtext("size/width"), tree.findtext("size/height"))
    if not boxes.begin(id, size, roles.get(id)):
        return
    if broken or tree.tag != "annotation":
        boxes.spoil(id, broken or f"expected <annotation> in {file}, found <{tree.tag}>")
        return
    for entry in tree.iterfind("object"):
        try:
            _add(entry, id, one_based, boxes)
        except ValueError as error:
            boxes.spoil(id, f"{file.name}: {error}")


def _add(entry: ET.Element, id: str, one_based: bool, boxes: TrueBoxes) -> None:
    name = text_of(entry, "name")
    if not name:
        raise ValueError("expected a <name> in each object, found none")
    if entry.find("bndbox") is None:
        boxes.note(id, "no_box", name)
        return
    corners = [parsed(entry.findtext(f"bndbox/{corner}"), corner) for corner in _CORNERS]
    if one_based:
        corners[:2] = corners[0] - 1, corners[1] - 1
    if text_of(entry, "difficult") == "1":
        boxes.note(id, "difficult", name)
    boxes.add(id, name, corners)


def write(path: Path | str, samples: Iterable[Sample], classes: Sequence[str], *, images: Images = "copy") -> list[str]:
    """Write a Pascal VOC dataset into the new folder ``path``; returns what it cannot hold, a line each.

    ``Annotations`` holds an XML for each sample with a target, ``JPEGImages`` the pictures of all (``images``: copy,
    link, or leave them where they are), ``ImageSets/Main`` the splits (``default.txt`` where there are none),
    ``classes.txt`` (and ``labelmap.txt``, for CVAT) the names in order. Coordinates are as in labelwise, counted from
    0, with decimals where they have some. Written whole or not at all. Raises DataError as for coco, and for
    pictures of one name with two extensions.
    """
    writing = Writing.of(samples, classes, "voc")
    fractions = 0
    with new_folder(path) as folder:
        sets = folder / "ImageSets" / "Main"
        sets.mkdir(parents=True)
        (folder / "Annotations").mkdir()
        for part, members in writing.parts("default").items():
            replace_text(sets / f"{part}.txt", "".join(f"{stem_of(sample.id)}\n" for sample in members))
            for sample in members:
                tree = _tree(writing, sample)
                fractions += sum("." in (element.text or "") for element in tree.iterfind("object/bndbox/*"))
                file = folder / "Annotations" / f"{stem_of(sample.id)}.xml"
                file.parent.mkdir(parents=True, exist_ok=True)
                ET.ElementTree(tree).write(file, encoding="utf-8", xml_declaration=True)
        replace_text(folder / "classes.txt", "".join(f"{name}\n" for name in writing.classes))
        replace_text(folder / _LABELMAP, _labelmap(writing.classes))
        writing.place(folder / "JPEGImages", images)
    notes = writing.notes(images)
    if fractions:
        notes.append(f"{fractions:,} coordinates have decimals, which some readers of VOC refuse or cut off")
    if odd := [name for name in writing.classes if ":" in name or name.startswith("#")]:
        notes.append(f"{_LABELMAP}, which CVAT wants, cannot hold the class {odd[0]!r}: give it another name there")
    return notes


def _labelmap(classes: Sequence[str]) -> str:
    names = [name for name in classes if ":" not in name and not name.startswith("#")]
    return "# label:color_rgb:parts:actions\n" + "".join(f"{name}:::\n" for name in names)


def _tree(writing: Writing, sample: Sample) -> ET.Element:
    tree = ET.Element("annotation")
    folder, _, name = sample.id.rpartition("/")
    width, height = writing.size(sample)
    _below(tree, {"folder": folder or "JPEGImages", "filename": name})
    _below(ET.SubElement(tree, "size"), {"width": str(width), "height": str(height), "depth": "3"})
    _below(tree, {"segmented": "0"})
    for label, corners in writing.boxes(sample):
        entry = ET.SubElement(tree, "object")
        _below(entry, {"name": label, "pose": "Unspecified", "truncated": "0", "difficult": "0"})
        places = dict(zip(_CORNERS, map(number_text, corners), strict=True))
        _below(ET.SubElement(entry, "bndbox"), places)
    ET.indent(tree)
    return tree


def _below(element: ET.Element, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        ET.SubElement(element, name).text = text
