"""What the choices of a run's rounds were made from, as far as it was kept beside the rounds."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CANDIDATES = "candidates.npz"  # beside a round: what its choice was made from


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a round's choice was made from: ``ids`` (N), and for each its score, and the index and the probability of
    its most probable class, where the strategy had them."""

    ids: list[str]
    scores: NDArray[np.floating[Any]] | None = None
    predicted: NDArray[np.integer[Any]] | None = None
    confidences: NDArray[np.floating[Any]] | None = None


def kept_candidates(folder: Path) -> dict[int, Candidates]:
    """The candidates of a run's rounds, as far as they were kept; a damaged file counts as none."""
    found = {}
    for file in sorted((folder / "rounds").glob(f"[0-9]*/{CANDIDATES}")):
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            found[int(file.parent.name)] = Candidates([str(id) for id in arrays.pop("ids").tolist()], **arrays)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            continue
    return found
