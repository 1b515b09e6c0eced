"""Paths in a configuration: which keys hold one, and from where relative ones are taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# Values under these keys are paths: relative ones are taken from the folder of the file that holds them. What other
# options name lies relative to the data.
PATH_KEYS = (
    *(f"{part}.{key}" for part in ("data", "source") for key in ("path", "root", "converted")),
    *(f"{part}.{key}" for part in ("model", "proposals") for key in ("weights", "config", "path", "settings")),
    *(f"{part}.options.{key}" for part in ("model", "proposals") for key in ("annotations", "names")),  # of predictions
    "model.reconstructions",
    "proposals.reconstructions",
    "annotator.root",
    "annotator.document_root",
    "out",
    "cache",
    "pictures_folder",
)
_WEIGHT_FILES = {".bin", ".ckpt", ".h5", ".npz", ".onnx", ".pt", ".pth", ".safetensors"}


def resolve_paths(tree: dict[str, Any], base: Path) -> None:
    """Make the relative paths of a tree those below ``base``, in place; without ``out`` the runs go there too."""
    for key in PATH_KEYS:
        *branches, leaf = key.split(".")
        parent: Any = tree
        for branch in branches:
            parent = parent.get(branch) if isinstance(parent, dict) else None
        value = parent.get(leaf) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and isinstance(value, str | Path) and str(value) not in ("", "hub", "none"):
            place = base / Path(value).expanduser()
            if leaf not in ("weights", "settings") or place.exists() or _says_where(str(value)):
                parent[leaf] = str(place)
    tree.setdefault("out", str(base / "runs"))
    _resolve_plugins(tree, base)


def _says_where(value: str) -> bool:
    """True for what is a place even if nothing lies there; other words name a network of a hub or a library."""
    return value.startswith((".", "~")) or Path(value).suffix in _WEIGHT_FILES


def _resolve_plugins(tree: dict[str, Any], base: Path) -> None:
    """Plug-ins named by a relative file, such as ``./mine.py:score``, are found from any working folder."""
    for key, value in tree.items():
        if isinstance(value, dict):
            _resolve_plugins(value, base)
        elif isinstance(value, str) and re.fullmatch(r"\.{1,2}/.+\.py:\w+", value):
            tree[key] = str(base / value)


def stay_in(tree: dict[str, Any], folder: Path) -> None:
    """A run's folder knows where it lies: it may have been moved or renamed since its configuration was written."""
    own = Path(str(tree.get("name", ""))).parts
    if own and folder.parts[-len(own) :] == own:
        tree["out"] = str(folder.parents[len(own) - 1])
    elif (folder / "run.db").is_file():
        tree["out"], tree["name"] = str(folder.parent), folder.name
