"""The user's folder for what is computed once and used again: vectors, converted masks, pages."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache() -> Path:
    """Where it lies unless a folder is named: $LABELWISE_CACHE, or in the user's cache folder."""
    if own := os.environ.get("LABELWISE_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "labelwise"
