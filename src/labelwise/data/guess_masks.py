"""Looking whether a folder holds pictures and, in another folder, masks of class indices for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from labelwise.data import image_masks
from labelwise.data.listing import Listing, has_image_extension, list_images
from labelwise.data.masks import VOID_16, void_of

NAMES = frozenset(
    {"mask", "masks", "label", "labels", "annotation", "annotations", "annot", "ann_dir", "gt", "gtfine"}
    | {"segmentation", "segmentationclass"}
)
LOOKED_AT = 200  # masks opened for their values


@dataclass(frozen=True, slots=True)
class ImageMasks:
    """What was found: the reader's options, what it lists, and facts about what nobody named."""

    options: dict[str, object]
    listing: Listing
    facts: tuple[str, ...] = ()


def look(path: Path, images: str, masks: str) -> ImageMasks | str:
    """The masks in ``path/masks`` for the pictures in ``path/images``; or a few words on why they cannot be read."""
    ids = [id for id, _ in list_images(path / images)[0]]
    refused = "have the names of no pictures"
    for picture, mask in _endings(path / masks, ids):
        options: dict[str, object] = {"images": images} if images != "images" else {}
        options |= {"masks": masks} if masks != "masks" else {}
        options |= {"image_suffix": picture} if picture else {}
        options |= {"mask_suffix": mask} if mask != ".png" else {}
        stems = [id.removesuffix(picture) if picture else id.rpartition(".")[0] for id in ids]
        found = _read(path, options, [file for stem in stems if (file := path / masks / f"{stem}{mask}").is_file()])
        if not isinstance(found, str):
            return found
        refused = found
    return refused


def _endings(masks: Path, ids: list[str]) -> list[tuple[str, str]]:
    """What pictures' names end with (empty: their extension) and what masks have instead, the likeliest first.

    Most masks are called as their picture, or begin as it is called. Else all pictures may share a last word that
    masks do not have: a_leftImg8bit.png, a_gtFine_labelTrainIds.png.
    """
    words = {f"_{id.rpartition('_')[2]}" for id in ids if "_" in id.rpartition("/")[2]}
    for picture in ("", *(words if len(words) == 1 and len(ids) > 1 else ())):
        for id in ids:
            stem = Path(id.removesuffix(picture)).name if picture else Path(id).stem
            if endings := _beginning_with(stem, (masks / id).parent):
                return [(picture, ending) for ending in endings]
    return []


def _beginning_with(stem: str, folder: Path) -> list[str]:
    """What files have after a picture's name: training ids before others, short ones first; JPEG at the end."""
    names = (file.name for file in folder.iterdir()) if folder.is_dir() else ()
    rests = [name.removeprefix(stem) for name in names if name.startswith(stem)]
    # After a longer name's beginning the rest is that of another picture: a.png, ab.png.
    fitting = [rest for rest in rests if not rest[:1].isalnum() and has_image_extension(f"m{rest}")]
    return sorted(fitting, key=lambda rest: (_is_jpeg(rest), "trainids" not in rest.lower(), len(rest), rest))


def _is_jpeg(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg"))


def _read(path: Path, options: dict[str, object], files: list[Path]) -> ImageMasks | str:
    """What the reader says of masks that hold class indices; else a few words on why they do not."""
    if _is_jpeg(files[0].name):
        return "are JPEG, which does not keep class indices"
    looked_at = files[:: max(1, -(-len(files) // LOOKED_AT))]
    values = _values(looked_at)
    if values is None:
        return "are coloured, not of class indices"
    facts = []
    if not (path / "classes.txt").is_file():
        if len(values) < 2:
            return f"hold no two classes, only {', '.join(map(str, sorted(values))) or 'void'}"
        if max(values) > 4 * len(values) + 16:
            return f"hold {len(values)} values up to {max(values)}, not class indices from 0 on"
        options = {**options, "classes": [f"class {i}" for i in range(max(values) + 1)]}
        facts = [f"the classes have no names: values up to {max(values)} were found in {len(looked_at):,} masks"]
    listing = image_masks.read(path, **options)  # type: ignore[arg-type]
    if splits := _without_void_tests(listing):
        options = {**options, "splits": splits}
        named = {role: ", ".join(sorted(f for f in splits if splits[f] == role)) for role in splits.values()}
        facts.append(f"the pictures in {named['unused']} have no labels: those in {named['test']} are the test")
        listing = image_masks.read(path, **options)  # type: ignore[arg-type]
    return ImageMasks(options, listing, tuple(facts))


def _without_void_tests(listing: Listing) -> dict[str, str]:
    """What each folder is for where the answers of the test are kept secret; empty where they are not."""
    tested = [s.target.mask for s in listing.samples if s.split == "test" and s.target and s.target.mask]
    roles = {s.id.partition("/")[0]: s.split for s in listing.samples if s.split}
    if "unused" not in roles.values() or _values(tested[:: max(1, -(-len(tested) // LOOKED_AT))]) != set():
        return {}
    return {folder: {"unused": "test", "test": "unused"}.get(role, role) for folder, role in roles.items()}


def _values(files: list[Path]) -> set[int] | None:
    """The classes in masks, void left out; None if they are coloured. What cannot be read is left to the reader."""
    values: set[int] = set()
    for file in files:
        try:
            with Image.open(file) as picture:
                mask = np.asarray(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        if mask.ndim != 2 or mask.dtype.kind not in "uib":
            return None
        void = void_of(mask) if mask.dtype == np.uint8 else VOID_16
        values |= {int(value) for value in np.unique(mask) if value != void}
    return values
