"""Choosing what to label from arrays that you have, without a run and without files.

python examples/array_picking.py
"""

from __future__ import annotations

import numpy as np

import labelwise


def made_predictions(rows: int = 2000, classes: int = 5, dims: int = 32):
    """Stand-ins for what your own model gives: embeddings ``(N, d)`` and class probabilities ``(N, C)``."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, dims))
    embeddings = (centres[rng.integers(0, classes, rows)] + rng.normal(size=(rows, dims))).astype(np.float32)
    logits = embeddings @ centres.T / 6
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    return embeddings, probs / probs.sum(axis=1, keepdims=True)


def main() -> None:
    """Pick by score, by spread, and with rules; print the first reasons."""
    embeddings, probs = made_predictions()
    labelled = np.arange(50)
    labels = probs[labelled].argmax(axis=1)  # yours come from people
    cameras = np.arange(len(probs)) // 20

    by_margin = labelwise.pick(10, probs=probs, labelled=labelled)
    spread = labelwise.pick(10, embeddings=embeddings, labelled=labelled, strategy="k_center")
    everything = labelwise.pick(
        10,
        probs=probs,
        embeddings=embeddings,
        labelled=labelled,
        labels=labels,
        groups=cameras,
        strategy="balanced_herding",
        per_group=1,
        near_duplicates=0.05,
    )
    own = labelwise.pick(10, scores=labelwise.scoring.entropy(probs), labelled=labelled)

    for name, picked in {
        "margin": by_margin,
        "k_center": spread,
        "balanced_herding": everything,
        "entropy": own,
    }.items():
        print(f"{name}: rows {picked.indices.tolist()}")
        print(f"  row {picked.indices[0]}: {picked.reasons[0]}")


if __name__ == "__main__":
    main()
