"""Annotations without their pictures: the names in them joined to images that lie elsewhere, then read as a dataset.

The reader of the format does the reading: it is given a folder of links and annotations under the images' own ids.
"""

from __future__ import annotations

import json
import os
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from labelwise.data import coco, cvat_xml, voc, yolo
from labelwise.data.box_writing import stem_of
from labelwise.data.listing import Listing
from labelwise.data.predictions.reading import load_json
from labelwise.data.predictions.yolo import names_in
from labelwise.data.xml_reading import load_xml, text_of
from labelwise.errors import DataError
from labelwise.ownership import replace_text

BOXES = ("coco", "voc", "yolo", "cvat_xml")
Find = Callable[[str], str | None]
_IMAGES = "images"
_STAGED = "annotations/instances_{}.json"
_UNPACKED = frozenset({".json", ".xml", ".txt", ".yaml", ".yml", ".names", ".data", ".csv", ".png"})
_LARGEST = 4 << 30  # bytes that an archive may unpack to


def read_renamed(
    path: Path, format: str, find: Find, pictures: Mapping[str, Path], classes: Sequence[str]
) -> Listing | None:
    """What annotations of boxes say about ``pictures`` (by id); None if they name none of these.

    ``find`` gives the id that a name in the annotations means, or None: then what is said under it is passed over.
    ``classes`` name YOLO's indices where no file does. Problems and errors are those of the format's reader, and name
    ``path``. Raises DataError for annotations that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="labelwise-") as text:
        stage = Path(text)
        seen: set[str] = set()

        def claim(name: str) -> str | None:
            id = find(name)
            if id is not None and id not in seen:
                seen.add(id)
                link = stage / _IMAGES / id
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(pictures[id].resolve())
            return id

        (stage / _IMAGES).mkdir()
        try:
            _STAGES[format](path, stage, claim, classes)
            listing = _read(format, stage) if seen else None
        except DataError as error:
            raise DataError(_of_theirs(str(error), text, path, format)) from None
        if listing is None:
            return None
        told = tuple(replace(p, message=_of_theirs(p.message, text, path, format)) for p in listing.problems)
        return replace(listing, problems=told)


def _of_theirs(message: str, stage: str, path: Path, format: str) -> str:
    """A message about staged annotations as one about those that were given."""
    if format == "coco":
        for number, file in enumerate(_coco_files(path)):
            message = message.replace(f"{stage}/{_STAGED.format(number)}", str(file))
    elif path.is_file():
        message = message.replace(f"{stage}/{cvat_xml.FILE}", str(path))
    return message.replace(stage, str(path))


def _coco_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else coco.annotation_files(path)


def _read(format: str, stage: Path) -> Listing:
    if format == "coco":
        return coco.read(stage, images=Path(_IMAGES), others="leave_out")
    if format == "cvat_xml":
        return cvat_xml.read(stage, images=Path(_IMAGES), others="leave_out")
    if format == "voc":
        return voc.read(stage, images=_IMAGES, others="leave_out")
    return yolo.read(stage, others="leave_out")


def guess_format(path: Path) -> str:
    """The format of annotations, by their names and contents; raises DataError, saying how to name it, if unclear."""
    kind = path.suffix.lower()
    if kind == ".csv":
        return "csv"
    if kind == ".json":
        return "coco"
    if kind == ".xml":
        return "cvat_xml" if cvat_xml.is_cvat(path) else "voc"
    if path.is_dir():
        if cvat_xml.annotation_file(path) is not None:
            return "cvat_xml"
        if coco.annotation_files(path):
            return "coco"
        for format, pattern in (("voc", "*.xml"), ("yolo", "*.txt"), ("masks", "*.png")):
            if any(file.name not in _OTHERS for file in path.rglob(pattern)):
                return format
    elif not path.exists():
        raise DataError(f"{path}: expected annotations to read, found nothing there; check the path")
    raise DataError(f"{path}: expected csv, coco, voc, yolo, cvat_xml or masks, found none of them; say it by --format")


_OTHERS = frozenset({"classes.txt", "obj.names", "labels.txt", "labelmap.txt", "label_colors.txt"})


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The path itself, or the folder that a ZIP (as CVAT exports it) is unpacked to; pictures stay out. Where all lies
    in one folder of it, as when a folder was compressed, that one.

    Raises DataError for an archive that cannot be read, or unpacks to more than 4 GB.
    """
    if path.suffix.lower() != ".zip":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="labelwise-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                wanted = [m for m in archive.infolist() if _is_wanted(PurePosixPath(m.filename))]
                if sum(member.file_size for member in wanted) > _LARGEST:
                    raise DataError(f"{path}: expected annotations, found more than 4 GB of them; unpack it yourself")
                archive.extractall(folder, wanted)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: expected a ZIP with annotations, found: {error}; export it again") from None
        yield _inner(Path(folder))


def _is_wanted(member: PurePosixPath) -> bool:
    return member.suffix.lower() in _UNPACKED and "__MACOSX" not in member.parts  # what macOS adds to each file


def _inner(folder: Path) -> Path:
    inside = list(folder.iterdir())
    alone = len(inside) == 1 and inside[0].is_dir() and not any(inside[0].glob("*.png"))  # a class, or masks
    return inside[0] if alone else folder


def _stage_coco(path: Path, stage: Path, claim: Find, _: Sequence[str]) -> None:
    files = _coco_files(path)
    if not files:
        raise DataError(f"{path}: expected COCO annotations (*.json), found none; name the file")
    for number, file in enumerate(files):
        data = load_json(file)
        entries = coco.images_in(file, data)
        ids = [claim(entry["file_name"]) for entry in entries]
        others = {entry["id"] for entry, id in zip(entries, ids, strict=True) if id is None}
        data["images"] = [{**e, "file_name": id} for e, id in zip(entries, ids, strict=True) if id is not None]
        data["annotations"] = [a for a in data["annotations"] if not _about(a, others)]
        target = stage / _STAGED.format(number)
        target.parent.mkdir(exist_ok=True)
        replace_text(target, json.dumps(data, ensure_ascii=False))


def _about(annotation: Any, images: Collection[Any]) -> bool:
    """Whether a COCO annotation belongs to one of these images."""
    image = annotation.get("image_id") if isinstance(annotation, dict) else None
    return isinstance(image, int | str) and image in images


def _stage_cvat(path: Path, stage: Path, claim: Find, _: Sequence[str]) -> None:
    tree = cvat_xml.load(path)
    for entry in tree.findall("image"):
        id = claim(entry.get("name") or "")
        if id is None:
            tree.remove(entry)
        else:
            entry.set("name", id)
            entry.attrib.pop("subset", None)
    for subsets in tree.findall("meta/*/subsets"):
        subsets.text = ""
    ET.ElementTree(tree).write(stage / cvat_xml.FILE, encoding="utf-8", xml_declaration=True)


def _stage_voc(path: Path, stage: Path, claim: Find, _: Sequence[str]) -> None:
    base = path.parent if path.is_file() else path / "Annotations" if (path / "Annotations").is_dir() else path
    files = [path] if path.is_file() else sorted(base.rglob("*.xml"))
    (stage / "Annotations").mkdir()
    for file in files:
        place = file.relative_to(base).with_suffix("").as_posix()
        try:
            tree = load_xml(file)
        except DataError:  # the reader says what is wrong with it
            if (id := claim(place)) is not None:
                _put(stage / "Annotations" / f"{stem_of(id)}.xml", file.read_bytes())
            continue
        name = text_of(tree, "filename").replace("\\", "/").rpartition("/")[2]
        folder, slash, _stem = place.rpartition("/")
        id = claim(f"{folder}{slash}{name}" if name else place)
        if id is not None:
            element = tree.find("filename")
            if element is not None:
                element.text = id.rpartition("/")[2]
            _put(stage / "Annotations" / f"{stem_of(id)}.xml", ET.tostring(tree))


def _stage_yolo(path: Path, stage: Path, claim: Find, classes: Sequence[str]) -> None:
    top = path.parent if path.is_file() else path
    file = path if path.is_file() else yolo.dataset_yaml(path) or yolo.class_list(path)
    names = list(classes) if file is None else names_in(file)
    replace_text(stage / "classes.txt", "".join(f"{name}\n" for name in names))
    base = next((top / name for name in ("labels", "obj_train_data") if (top / name).is_dir()), top)
    for text in sorted(base.rglob("*.txt")):
        if text.name in _OTHERS or (base == top and text.parent == top and _is_list(text)):
            continue
        if (id := claim(text.relative_to(base).with_suffix("").as_posix())) is not None:
            _put(stage / "labels" / f"{stem_of(id)}.txt", text.read_bytes())


def _is_list(text: Path) -> bool:
    """Whether a text lists pictures, as train.txt does."""
    with text.open("rb") as stream:
        first = stream.readline(4096).strip()
    return bool(first) and not first[:1].isdigit()


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


_STAGES = {"coco": _stage_coco, "voc": _stage_voc, "yolo": _stage_yolo, "cvat_xml": _stage_cvat}


def tags_in(path: Path) -> list[tuple[str, list[str]]]:
    """The names of the images in CVAT's XML, each with the labels of its tags.

    Of tags that a person set and tags that were proposed (their source is "auto"), only the person's count.
    """
    tree = cvat_xml.load(path)
    found = []
    for entry in tree.findall("image"):
        tags = entry.findall("tag")
        own = [tag for tag in tags if tag.get("source") != "auto"]
        found.append((entry.get("name") or "", [(tag.get("label") or "").strip() for tag in own or tags]))
    return found


def pictures_below(folder: Path) -> list[str]:
    """The names of the PNGs below a folder, with ``/``."""
    return sorted(Path(os.path.relpath(file, folder)).as_posix() for file in folder.rglob("*.png"))
