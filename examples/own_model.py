"""A model of your own: the nearest class mean on small grey pictures, without any framework.

python examples/own_model.py
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import labelwise
from labelwise.data.digits import make_digits
from labelwise.data.images import open_image
from labelwise.records import Prediction


@dataclass
class NearestMean:
    """Probabilities from distances to class means; ``side`` is the pictures' side in pixels, ``softness`` the scale."""

    side: int = 8
    softness: float = 1.0

    tasks = frozenset({"classify"})
    provides = frozenset({"probs", "embeddings"})
    validation = 0.0
    batch_size = 512
    start = "scratch"

    def __post_init__(self):
        self._known = {}  # content of a file -> its vector

    def prepare(self, pool, others, *, place, progress):
        """Read every picture once; a network would keep its features in ``place.cache`` for other runs too."""
        self._vectors([*pool, *others])

    def fit(self, train, val, *, out, start, plan, seed, progress):
        """Write the mean vector of each class that has labels to ``out``."""
        vectors = self._vectors([item.sample for item in train])
        labels = np.array([plan.classes.index(item.target.classes[0]) for item in train])
        seen = np.unique(labels)
        out.mkdir(parents=True, exist_ok=True)
        np.savez(out / "means.npz", seen=seen, means=np.stack([vectors[labels == c].mean(axis=0) for c in seen]))
        (out / "classes.json").write_text(json.dumps(plan.classes), encoding="utf-8")
        return out

    def predict(self, checkpoint, samples, *, want):
        """One Prediction a sample, in their order; without a checkpoint only the vectors."""
        vectors = self._vectors(samples)
        probs = self._probs(checkpoint, vectors) if checkpoint is not None and "probs" in want else None
        for i, sample in enumerate(samples):
            yield Prediction(
                sample.id,
                probs=None if probs is None else probs[i],
                embedding=vectors[i] if "embeddings" in want else None,
            )

    def _probs(self, checkpoint, vectors):
        classes = json.loads((checkpoint / "classes.json").read_text(encoding="utf-8"))
        with np.load(checkpoint / "means.npz") as stored:
            distances = np.linalg.norm(vectors[:, None] - stored["means"][None], axis=2) / self.softness
            weights = np.exp(distances.min(axis=1, keepdims=True) - distances)
            probs = np.zeros((len(vectors), len(classes)), np.float32)  # a class without labels has probability 0
            probs[:, stored["seen"]] = weights / weights.sum(axis=1, keepdims=True)
        return probs

    def _vectors(self, samples):
        for sample in samples:
            if sample.content not in self._known:
                picture = open_image(sample.path)[0].convert("L").resize((self.side, self.side))
                self._known[sample.content] = np.asarray(picture, np.float32).reshape(-1) / 255
        return np.stack([self._known[sample.content] for sample in samples])


def main() -> None:
    """Run three rounds on digits with the model above."""
    with tempfile.TemporaryDirectory() as folder:
        result = labelwise.run(
            {
                "name": "own",
                "out": f"{folder}/runs",
                "data": {"format": "class_folders", "path": make_digits(folder), "on_duplicate": "keep"},
                "model": {"name": f"{Path(__file__).resolve()}:NearestMean", "softness": 0.3},
                "budget": {"initial": 20, "per_round": 20, "rounds": 3},
            },
            report=False,
        )
        for number in result.rounds:
            accuracy = result.evaluations["test"][number]["accuracy"]
            print(f"round {number}: {result.labels(number)} labels, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
