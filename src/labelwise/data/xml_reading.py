"""Reading XML annotations: a tree or one clear line, and the texts and sizes in it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from labelwise.errors import DataError


def load_xml(file: Path) -> ET.Element:
    """The root element of an XML file. Raises DataError, with the place, if it holds none."""
    try:
        return ET.parse(file).getroot()
    except OSError as error:
        raise DataError(f"{file}: expected a readable file, found: {error.strerror}; check it") from None
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise DataError(f"{file}: expected XML, found: {error}; was it written to its end?") from None


def text_of(element: ET.Element, path: str) -> str:
    """The text of the element below, without surrounding spaces; empty if there is none."""
    return (element.findtext(path) or "").strip()


def size_of(width: str | None, height: str | None) -> tuple[int, int] | None:
    """Width and height from text; None if they are not two whole numbers above 0."""
    try:
        size = int(float(width or 0)), int(float(height or 0))
    except (ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None
