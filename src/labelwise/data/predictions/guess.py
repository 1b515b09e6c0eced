"""Looking at a file or folder of predictions and saying which format it is."""

from __future__ import annotations

from pathlib import Path

from labelwise.data.listing import has_image_extension
from labelwise.errors import DataError

_FILES = {
    ".json": "coco",
    ".csv": "probs_table",
    ".tsv": "probs_table",
    ".parquet": "probs_table",
    ".pq": "probs_table",
}
_FOLDERS = {".npy": "maps", ".npz": "maps", ".txt": "yolo"}


def guess(path: Path) -> str:
    """The name of the format: by the ending of a file, by what lies in a folder.

    Raises DataError if it could be none or several.
    """
    if path.is_file():
        if path.suffix.casefold() in _FILES:
            return _FILES[path.suffix.casefold()]
        raise DataError(
            f"{path}: expected .json (COCO results), .csv or .parquet (probabilities) or a folder, found "
            f"{path.suffix or 'no ending'!r}; name the format"
        )
    schemas = ("schema.json", "*/schema.json", ".lightly/predictions/*/schema.json")
    if any(next(path.glob(pattern), None) for pattern in schemas):
        return "lightly"
    found = {
        _FOLDERS[file.suffix] for file in path.rglob("*") if file.suffix in _FOLDERS and file.name != "classes.txt"
    }
    if len(found) == 1:
        return found.pop()
    if not found and any(has_image_extension(file.name) for file in path.rglob("*")):
        return "maps"  # which says why pictures will not do
    what = " and ".join(sorted(found)) if found else "neither"
    raise DataError(
        f"{path}: expected schema.json (Lightly), .txt (YOLO) or .npy files (maps), found {what}; name the format"
    )
