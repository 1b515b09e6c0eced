"""A score and a selection of your own: plain functions whose parameter names say what they need.

python examples/own_strategy.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import labelwise
from labelwise.data.digits import make_digits


def gini(probs, *, power: float = 1.0):
    """Chance that two draws from the predicted classes differ: (1 - sum p^2)^power. ``probs`` is ``(..., C)``."""
    return (1 - (probs**2).sum(-1)) ** power


def mixed(n, candidates, scores, rng, *, share: float = 0.25):
    """The best-scored candidates, and a ``share`` of the picks drawn at random."""
    ranked = candidates[np.argsort(-scores[candidates], kind="stable")]
    best = ranked[: n - round(n * share)]
    others = rng.permutation(np.setdiff1d(candidates, best))
    return np.concatenate([best, others[: n - len(best)]])


def main() -> None:
    """Run three rounds on digits with the two functions above."""
    here = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as folder:
        result = labelwise.run(
            {
                "name": "own",
                "out": f"{folder}/runs",
                "cache": f"{folder}/cache",
                "data": {"format": "class_folders", "path": make_digits(folder), "on_duplicate": "keep"},
                "model": {"name": "frozen", "backbone": "pixels", "size": 8, "head": {"name": "logistic", "C": 1.0}},
                "strategy": {
                    "score": {"name": f"{here}:gini", "power": 0.5},
                    "select": {"name": f"{here}:mixed", "share": 0.2},
                },
                "budget": {"initial": 20, "per_round": 20, "rounds": 3},
            },
            report=False,
        )
        for number in result.rounds:
            accuracy = result.evaluations["test"][number]["accuracy"]
            print(f"round {number}: {result.labels(number)} labels, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
