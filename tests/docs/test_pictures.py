"""The script that takes the documentation's pictures: it must still fit the page and the store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.browser
def test_every_picture_is_taken(tmp_path: Path) -> None:
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(DOCS / "pictures.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=900, env=variables)
    assert _sizes(tmp_path) == _sizes(DOCS / "images")


def _sizes(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for file in folder.iterdir():
        with Image.open(file) as picture:
            found[file.name] = picture.size
    return found
