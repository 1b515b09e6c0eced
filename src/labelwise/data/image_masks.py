"""Format: images and masks. A folder of pictures and one of masks with the same names; the masks hold class indices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from labelwise.data.box_writing import Images, Writing, new_folder, stem_of
from labelwise.data.listing import (
    Listing,
    checked_folder,
    group_rule,
    list_images,
    make_listing,
    shown,
    ungrouped,
)
from labelwise.data.masks import target_mask, write_mask
from labelwise.data.roles import TEST, TRAIN, VAL, Split
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.records import Problem, Sample, Target


def read(
    path: Path | str,
    *,
    images: str = "images",
    masks: str = "masks",
    classes: list[str] | str = "classes.txt",
    image_suffix: str = "",
    mask_suffix: str = ".png",
    splits: dict[str, Split] | None = None,
    group: str | None = None,
) -> Listing:
    """List the pictures under ``path/images`` with their masks under ``path/masks``; ids are relative to the first.

    ``classes`` lists the names of the values from 0 on, or names a file below ``path`` with one a line. The mask of
    ``a/b<image_suffix>`` is ``a/b<mask_suffix>``; without ``image_suffix`` the picture's extension is left off. A
    picture without a mask has no known truth. ``splits`` says what the first folders below ``images`` are for, such as
    ``{train: pool, test: test, val: unused}``; without it folders named train, val and test are understood.
    ``group`` as for class folders. Problems: ``no_group``. Raises DataError for no pictures or no classes.
    """
    root = checked_folder(path)
    pictures, answers = checked_folder(root / images), root / masks
    names = class_names(root, classes)
    found, problems = list_images(pictures)
    if not found:
        raise DataError(f"{pictures}: expected pictures, found none; check data.images")
    rule, roles = group_rule(group), _roles([id for id, _ in found], splits, pictures)
    samples = []
    for id, file in found:
        if image_suffix and not id.endswith(image_suffix):
            problems.append(Problem(id, "other_suffix", f"{shown(id)}: left out, does not end with {image_suffix!r}"))
            continue
        stem = id.removesuffix(image_suffix) if image_suffix else id.rpartition(".")[0]
        mask = answers / f"{stem}{mask_suffix}"
        target = Target(names, mask=mask) if mask.is_file() else None
        samples.append(Sample(id, file, group=rule(id), target=target, split=roles.get(id.partition("/")[0])))
    if not any(s.target for s in samples) and answers.is_dir():
        problems.append(
            Problem("", "no_masks", f"{answers}: no mask fits a picture; check mask_suffix={mask_suffix!r}")
        )
    problems += ungrouped(samples, group)
    return make_listing(pictures, samples, names, problems)


def class_names(root: Path, classes: list[str] | str) -> tuple[str, ...]:
    """The names of the mask values from 0 on: those listed, or the lines of a file below ``root``."""
    if isinstance(classes, str):
        file = root / classes
        if not file.is_file():
            raise DataError(
                f"{file}: expected the names of the classes, one a line, found no such file; write it, or list them "
                "in data.classes"
            )
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    else:
        names = tuple(classes)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names or twice:
        raise DataError(f"{root}: expected different class names, found {f'{twice[0]!r} twice' if twice else 'none'}")
    return names


def _roles(ids: list[str], splits: Mapping[str, Split] | None, pictures: Path) -> dict[str, Split]:
    """What each first folder is for; empty where nothing says it."""
    folders = {id.partition("/")[0] for id in ids if "/" in id}
    if splits is not None:
        strange = sorted(set(splits) - folders)
        if strange:
            raise DataError(f"data.splits: expected folders below {pictures}, found no {strange[0]!r} there")
        return dict(splits)
    tested = any(folder in TEST for folder in folders)
    roles: dict[str, Split] = dict.fromkeys(TRAIN, "pool")
    roles |= dict.fromkeys(TEST, "test")
    roles |= dict.fromkeys(VAL, "unused" if tested else "test")
    known = folders & set(roles)
    return {f: roles[f] for f in folders} if folders and known == folders and known & set(TRAIN) else {}


def write(path: Path | str, samples: Iterable[Sample], classes: Sequence[str], *, images: Images = "copy") -> list[str]:
    """Write images and masks into the new folder ``path``; returns what they cannot hold, a line each.

    ``masks`` holds a PNG of class indices for each sample with a target (void where it says nothing), ``images`` the
    pictures of all (``images``: copy, link, or leave them where they are), ``classes.txt`` the names. Written whole or
    not at all. Raises DataError for targets that are no pixels of ``classes``, and for two pictures of one name.
    """
    listed = tuple(sorted(samples, key=lambda sample: sample.id))
    twice = Counter(stem_of(sample.id) for sample in listed)
    if same := [sample.id for sample in listed if twice[stem_of(sample.id)] > 1]:
        raise DataError(
            f"{shown(same[0])} and {shown(same[1])}: masks cannot hold both, they differ in their extension"
        )
    odd = next((name for name in classes if not name.isprintable() or name != name.strip()), None)
    if odd is not None:
        raise DataError(f"{odd!r}: classes.txt cannot hold this name; rename it")
    writing = Writing(listed, tuple(classes))
    sparse = 0
    with new_folder(path) as folder:
        (folder / "masks").mkdir()
        replace_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
        for sample in listed:
            if sample.target is None:
                continue
            try:
                mask = target_mask(sample.target, classes, writing.size(sample))
            except DataError as error:
                raise DataError(f"{sample.id}: {error}") from None
            sparse += sample.target.mask is None
            write_mask(folder / "masks" / f"{stem_of(sample.id)}.png", mask)
        writing.place(folder / "images", images)
    notes = writing.notes(images)
    if sparse:
        notes.append(f"{sparse:,} masks hold only the pixels that were asked; all others are void")
    if any(sample.split in ("test", "unused") for sample in listed):
        notes.append("which images are for testing is not written")
    return notes
