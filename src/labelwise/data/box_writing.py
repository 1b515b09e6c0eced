"""Writing datasets with boxes, common to the formats: a new folder whole or not at all, its pictures, its splits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labelwise.data.crops import write_crop
from labelwise.data.images import header_size
from labelwise.data.listing import shown
from labelwise.data.true_boxes import DECIMALS
from labelwise.errors import DataError
from labelwise.records import Sample

Images = Literal["copy", "link", "leave"]
Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Writing:
    """Samples that a format can hold, and how they are told to it."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        samples: Iterable[Sample],
        classes: Sequence[str],
        format: str,
        *,
        stems: bool = True,
        lines: bool = True,
        whole: bool = False,
    ) -> Writing:
        """Check the samples. ``stems``: a picture's annotation is found by its name without extension, so names must
        differ without it; ``lines``: names stand on lines of text or in XML, and must be printable; ``whole``: classes
        of whole images can be held too.

        Raises DataError, naming the image, for targets that are no boxes of ``classes`` or names that cannot be held.
        """
        kept = tuple(sorted(samples, key=lambda sample: sample.id))
        for sample in kept:
            target = sample.target
            if target is None:
                continue
            boxes = target.geometry is not None and target.geometry.shape[1] == 4
            if not boxes and not (whole and target.geometry is None and target.mask is None):
                raise DataError(f"{sample.id}: expected boxes to write as {format}, found another kind of target")
            if strange := sorted(set(target.classes) - set(classes)):
                raise DataError(f"{sample.id}: expected one of the classes to write, found {strange[0]!r}; add it")
        if lines:
            names = [*classes, *(sample.id for sample in kept)]
            odd = next((n for n in names if not n.isprintable() or (n != n.strip() and n in classes)), None)
            if odd is not None:
                raise DataError(f"{odd!r}: {format} cannot hold this name; rename it, or write coco")
        twice = Counter(stem_of(sample.id) for sample in kept) if stems else Counter()
        if same := [sample.id for sample in kept if twice[stem_of(sample.id)] > 1]:
            raise DataError(
                f"{shown(same[0])} and {shown(same[1])}: {format} has one annotation for both, as they differ only in "
                "their extension; rename one, or write coco"
            )
        return cls(kept, tuple(classes))

    def parts(self, alone: str) -> dict[str, list[Sample]]:
        """The samples of train, test and val (the unused ones), or all under the name ``alone`` if none is set apart.

        Where some are unused there is a test part too, perhaps empty: else they would be taken for it.
        """
        parts: dict[str, list[Sample]] = {"train": [], "test": [], "val": []}
        for sample in self.samples:
            parts[{"test": "test", "unused": "val"}.get(sample.split or "", "train")].append(sample)
        if not parts["test"] and not parts["val"]:
            return {alone: self._known(parts["train"])}
        return {name: self._known(members) for name, members in parts.items() if members or name != "val"}

    @staticmethod
    def _known(members: Iterable[Sample]) -> list[Sample]:
        return [sample for sample in members if sample.target is not None]

    def size(self, sample: Sample) -> tuple[int, int]:
        """Width and height in pixels as shown. Raises DataError if they are not known and cannot be read."""
        size = sample.size if min(sample.size) > 0 else header_size(sample.path)
        if size is None:
            raise DataError(f"{sample.path}: expected a picture to read the size of, found none; leave {sample.id} out")
        return size

    def boxes(self, sample: Sample) -> Iterator[tuple[str, Corners]]:
        """Class and corners of each box, as plain numbers."""
        assert sample.target is not None, sample.id
        if sample.target.geometry is None:
            return
        for name, row in zip(sample.target.classes, sample.target.geometry.tolist(), strict=True):
            x0, y0, x1, y1 = (_plain(value) for value in row)
            yield name, (x0, y0, x1, y1)

    def place(self, folder: Path, images: Images) -> None:
        """Put the pictures of all samples below ``folder``, by their ids, crops cut out; nothing for "leave"."""
        if images == "leave":
            return
        folder.mkdir(exist_ok=True)
        for sample in self.samples:
            to = folder / sample.id
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                if sample.crop is not None and images == "link":
                    raise DataError(f"{sample.id}: is a part of a picture, which cannot be linked; use images=copy")
                if sample.crop is not None:
                    write_crop(sample, to)
                elif images == "link":
                    to.symlink_to(sample.path.resolve())
                else:
                    shutil.copyfile(sample.path, to)
            except OSError as error:
                raise DataError(f"{sample.path}: cannot be put into {folder}: {error.strerror}; nothing kept") from None

    def notes(self, images: Images) -> list[str]:
        """What the written dataset does not say of the samples, a line each."""
        unknown = sum(sample.target is None for sample in self.samples)
        groups = len({sample.group for sample in self.samples} - {None})
        notes = []
        if unknown:
            notes.append(f"{unknown:,} unlabelled images have no annotation")
        if groups:
            notes.append(f"{groups:,} groups are not written; give group= again when reading")
        if images == "leave":
            notes.append("the pictures are where they were; give images=FOLDER when reading")
        return notes


def stem_of(id: str) -> str:
    """The id without its extension."""
    return os.path.splitext(id)[0]  # noqa: PTH122 (ids are text with /)


@contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """A folder to write into, which becomes ``path`` once all went well; else nothing stays behind.

    Raises DataError if there is something at ``path`` already, or it cannot be written.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path}: expected a new or empty folder to write into, found something there; choose another")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; choose another folder") from None
    try:
        beside.chmod(0o755)  # mkdtemp's folders are its owner's alone
        yield beside
        beside.replace(path)
    except BaseException as error:  # a mistake, a full disk, or Ctrl-C
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError):
            told = f"{path}: cannot be written: {error.strerror or error}; make room, or choose another folder"
            raise DataError(told) from None
        raise


def number_text(value: float) -> str:
    """A coordinate as text, whole where it is."""
    return f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _plain(value: float) -> float:
    rounded = round(float(value), DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded
