"""Masks: what a file may hold, and which of its values is void."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.masks import read_mask
from labelwise.errors import DataError


def test_void_of_a_mask_of_16_bits_is_void(tmp_path: Path) -> None:
    wide = np.array([[0, 2, 65535]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 3).tolist() == [[0, 2, 255]]
    assert read_mask(tmp_path / "mask.png", 300).tolist() == wide.tolist()
    Image.fromarray(np.array([[0, 256]], np.uint16)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match="found 256"):
        read_mask(tmp_path / "mask.png", 3)
