"""How a picture enters a whole network: what is done to it outside, so that anybody can do the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.embedding.backbone import INTERPOLATIONS, Preprocessing
from labelwise.errors import ModelError

Pixels = NDArray[np.uint8]
METADATA = "labelwise"  # of an exported file: one JSON text of what is to be known of it


@dataclass(frozen=True)
class Entry:
    """How a picture becomes the input: ``mode`` "RGB" or "L" (grey), then cut and resized as ``preprocessing`` says, to
    uint8 ``(size, size, 3)``, or ``(size, size)`` if grey. What follows is part of the network."""

    preprocessing: Preprocessing
    mode: str = "RGB"

    def pixels(self, image: Image.Image) -> Pixels:
        """The picture as the network takes it."""
        return self.preprocessing.pixels(image.convert(self.mode))

    def as_dict(self) -> dict[str, Any]:
        """What somebody must know to do the same."""
        own = asdict(self.preprocessing)
        return {"mode": self.mode, "size": own["size"], "resize": own["resize"], "interpolation": own["interpolation"]}


def plain_entry(backbone: str, size: int, interpolation: str) -> Entry:
    """The entry of plain features. Raises ModelError for those that are no network's arithmetic."""
    if backbone != "pixels":
        raise ModelError(f"backbone {backbone!r} cannot be exported: use pixels or a network of timm")
    assert interpolation in INTERPOLATIONS, interpolation
    return Entry(Preprocessing(size=size, interpolation=interpolation), "L")
