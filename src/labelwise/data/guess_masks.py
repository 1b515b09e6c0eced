"""Looking whether a folder holds pictures and, in another folder, masks of class indices for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from labelwise.data import image_masks
from labelwise.data.listing import Listing, list_images
from labelwise.data.masks import VOID_16, void_of

NAMES = frozenset({"mask", "masks", "label", "labels", "annotations", "segmentation"})
LOOKED_AT = 200  # masks opened for their values


@dataclass(frozen=True, slots=True)
class ImageMasks:
    """What was found: the reader's options, what it lists, and a fact about classes without names, if any."""

    options: dict[str, object]
    listing: Listing
    facts: tuple[str, ...] = ()


def look(path: Path, images: str, masks: str) -> ImageMasks | str:
    """The masks in ``path/masks`` for the pictures in ``path/images``; or a few words on why they cannot be read."""
    found = [Path(id) for id, _ in list_images(path / images)[0]]
    suffix = next((s for id in found if (s := _suffix(path / masks, id)) is not None), None)
    if suffix is None:
        return "have the names of no pictures"
    if suffix.lower().endswith((".jpg", ".jpeg")):
        return "are JPEG, which does not keep class indices"
    files = [file for id in found if (file := path / masks / id.parent / f"{id.stem}{suffix}").is_file()]
    looked_at = files[:: max(1, -(-len(files) // LOOKED_AT))]
    values = _values(looked_at)
    if values is None:
        return "are coloured, not of class indices"
    options: dict[str, object] = {"images": images} if images != "images" else {}
    options |= {"masks": masks} if masks != "masks" else {}
    options |= {"mask_suffix": suffix} if suffix != ".png" else {}
    if (path / "classes.txt").is_file():
        return ImageMasks(options, image_masks.read(path, **options))  # type: ignore[arg-type]
    if len(values) < 2:
        return f"hold no two classes, only {', '.join(map(str, sorted(values))) or 'void'}"
    if max(values) > 4 * len(values) + 16:
        return f"hold {len(values)} values up to {max(values)}, not class indices from 0 on"
    options["classes"] = [f"class {i}" for i in range(max(values) + 1)]
    fact = f"the classes have no names: values up to {max(values)} were found in {len(looked_at):,} masks"
    return ImageMasks(options, image_masks.read(path, **options), (fact,))  # type: ignore[arg-type]


def _suffix(masks: Path, id: Path) -> str | None:
    """What the mask of a picture has after the picture's name without extension; None without a mask."""
    folder = masks / id.parent
    names = (file.name for file in folder.iterdir()) if folder.is_dir() else ()
    rests = [name.removeprefix(id.stem) for name in names if name.startswith(id.stem)]
    # After a longer name's beginning the rest is that of another picture: a.png, ab.png.
    return min((rest for rest in rests if not rest[:1].isalnum() and Path(f"m{rest}").suffix), key=len, default=None)


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
