"""Small classifiers on features: fitted by scikit-learn, kept as plain arrays, and calibrated by one temperature."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from labelwise.records import Prediction, Sample

Array = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


class Head(Protocol):
    """A classifier on features ``(n, d)``. Its state is a dictionary of arrays, so that a checkpoint needs no pickle.

    Labels are the class indices that occur, renumbered from 0 without gaps; ``logits`` has one column for each of them.
    A head that may be exported also has ``network(state)``: its logits as a torch module.
    """

    @property
    def dropout(self) -> bool:
        """Whether ``logits`` can drop inputs, for stochastic passes."""
        ...

    def fit(self, features: Array, labels: NDArray[np.int64], *, seed: int) -> Arrays: ...
    def logits(self, state: Mapping[str, NDArray[Any]], features: Array, keep: Array | None = None) -> Array: ...


@dataclass(frozen=True)
class Logistic:
    """Multinomial logistic regression (scikit-learn, L-BFGS).

    ``C`` is the inverse strength of the L2 penalty; by default 12 / number of features, so that logits keep their size
    whatever the width (on 1,280 features that lies between the best values for plankton and for CIFAR-10).
    """

    C: PositiveFloat | None = None
    max_iter: PositiveInt = 100
    tol: PositiveFloat = 1e-3
    class_weight: Literal["balanced"] | None = None

    dropout = True

    def fit(self, features: Array, labels: NDArray[np.int64], *, seed: int) -> Arrays:
        """Fit; two classes are written as two columns, as every other number of classes."""
        from sklearn.linear_model import LogisticRegression

        strength = self.C or 12 / features.shape[1]
        model = LogisticRegression(C=strength, max_iter=self.max_iter, tol=self.tol, class_weight=self.class_weight)
        _fit(model, features, labels)
        coef, intercept = model.coef_, model.intercept_
        if len(coef) == 1:
            coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        return {"coef": np.asarray(coef, np.float32), "intercept": np.asarray(intercept, np.float32)}

    def logits(self, state: Mapping[str, NDArray[Any]], features: Array, keep: Array | None = None) -> Array:
        """``(n, classes)``; ``keep`` ``(d,)`` scales the inputs."""
        coef = state["coef"] if keep is None else state["coef"] * keep
        return np.asarray(features @ coef.T + state["intercept"], np.float32)

    def network(self, state: Mapping[str, NDArray[Any]]) -> Any:
        """The same as a torch module."""
        from labelwise.models.head_networks import linear

        return linear(state["coef"], state["intercept"])


@dataclass(frozen=True)
class Perceptron:
    """A multilayer perceptron with ReLU (scikit-learn, Adam). ``hidden`` gives the sizes of its layers, ``alpha`` the
    L2 penalty."""

    hidden: tuple[PositiveInt, ...] = (150, 100)
    alpha: NonNegativeFloat = 1e-4
    max_iter: PositiveInt = 200
    class_weight: Literal["balanced"] | None = None

    dropout = True

    def fit(self, features: Array, labels: NDArray[np.int64], *, seed: int) -> Arrays:
        """Fit from random numbers drawn from ``seed``."""
        from sklearn.neural_network import MLPClassifier

        model = MLPClassifier(self.hidden, alpha=self.alpha, max_iter=self.max_iter, random_state=seed % 2**32)
        weights_of = _class_weights(labels)[labels] if self.class_weight else None
        _fit(model, features, labels, **({} if weights_of is None else {"sample_weight": weights_of}))
        weights, biases = list(model.coefs_), list(model.intercepts_)
        if weights[-1].shape[1] == 1:
            weights[-1] = np.hstack([-weights[-1], weights[-1]]) / 2
            biases[-1] = np.concatenate([-biases[-1], biases[-1]]) / 2
        named = {f"weight{i}": w for i, w in enumerate(weights)} | {f"bias{i}": b for i, b in enumerate(biases)}
        return {k: np.asarray(v, np.float32) for k, v in named.items()}

    def logits(self, state: Mapping[str, NDArray[Any]], features: Array, keep: Array | None = None) -> Array:
        """``(n, classes)``; ``keep`` ``(d,)`` scales the inputs."""
        values = features if keep is None else features * keep
        last = sum(k.startswith("weight") for k in state) - 1
        for i in range(last + 1):
            values = values @ state[f"weight{i}"] + state[f"bias{i}"]
            values = np.maximum(values, 0) if i < last else values
        return np.asarray(values, np.float32)

    def network(self, state: Mapping[str, NDArray[Any]]) -> Any:
        """The same as a torch module."""
        from labelwise.models.head_networks import perceptron

        count = sum(k.startswith("weight") for k in state)
        return perceptron([(state[f"weight{i}"].T, state[f"bias{i}"]) for i in range(count)])


@dataclass(frozen=True)
class Neighbours:
    """k nearest neighbours by cosine similarity, votes weighted by ``exp(similarity / softness)`` (Wu et al. 2018)."""

    k: PositiveInt = 10
    softness: PositiveFloat = 0.07
    class_weight: Literal["balanced"] | None = None

    dropout = False

    def fit(self, features: Array, labels: NDArray[np.int64], *, seed: int) -> Arrays:
        """Keep the labelled features, and what a vote for each class counts."""
        weights = _class_weights(labels) if self.class_weight else np.ones(int(labels.max()) + 1)
        return {"features": _unit(features), "labels": labels, "weights": weights.astype(np.float32)}

    def logits(self, state: Mapping[str, NDArray[Any]], features: Array, keep: Array | None = None) -> Array:
        """``(n, classes)``: log of the weighted votes, smoothed so that a class without a vote keeps a finite value."""
        similarity = _unit(features) @ state["features"].T
        k = min(self.k, similarity.shape[1])
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weights = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1) / self.softness)
        votes = np.full((len(features), int(state["labels"].max()) + 1), 1e-6)
        named = state["labels"][nearest]
        np.add.at(votes, (np.arange(len(features))[:, None], named), weights * state["weights"][named])
        return np.asarray(np.log(votes), np.float32)

    def network(self, state: Mapping[str, NDArray[Any]]) -> Any:
        """The same as a torch module."""
        from labelwise.models.head_networks import NearestVotes

        return NearestVotes(state, self.k, self.softness)


def _unit(features: Array) -> Array:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12), np.float32)


def _class_weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """What an image of each class counts, so that all classes count alike and the mean is 1."""
    counts = np.bincount(labels)
    return np.asarray(len(labels) / (len(counts) * np.maximum(counts, 1)))


def _fit(model: Any, features: Array, labels: NDArray[np.int64], **more: Any) -> None:
    from sklearn.exceptions import ConvergenceWarning

    # The number of iterations is a setting of ours, and stopping there is meant; few labels of many classes are
    # no regression.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        model.fit(features, labels, **more)


def fit_temperature(logits: Array, labels: NDArray[np.int64], *, prior: float = 1.0) -> float:
    """The temperature T that makes ``softmax(logits / T)`` most likely for held-out ``labels`` (Guo et al. 2017,
    section 4.2).

    A log-normal prior around 1 of width ``prior`` keeps T near 1 where there are few labels; the result lies in [0.05,
    20].
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        nll = logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]
        return float(nll.sum() + 0.5 * (log_t / prior) ** 2)

    if len(labels) == 0:
        return 1.0
    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded").x))


def fit_calibrated(
    head: Head, features: Array, labels: NDArray[np.int64], *, seed: int, held_out: float = 0.2
) -> Arrays:
    """Fit a head on labelled features ``(n, d)`` and a temperature on a random share of them that a first fit does not
    see.

    ``labels`` are indices on the run's class axis. The state also holds ``seen``, the class indices that occur, and
    ``temperature``. A single class needs no fit: the state then holds no array of the head.
    """
    seen, own = np.unique(labels, return_inverse=True)
    state: Arrays = {"seen": seen.astype(np.int64), "temperature": np.ones(1, np.float32)}
    if len(seen) < 2:
        return state
    held = np.random.default_rng(seed).random(len(labels)) < held_out
    inner, renumbered = np.unique(own[~held], return_inverse=True)
    if len(inner) >= 2:
        judged = held & np.isin(own, inner)
        first = head.fit(features[~held], renumbered, seed=seed)
        where = np.searchsorted(inner, own[judged])
        state["temperature"][:] = fit_temperature(head.logits(first, features[judged]), where)
    return state | head.fit(features, own, seed=seed)


def probabilities(
    head: Head, state: Mapping[str, NDArray[Any]], features: Array, classes: int, keep: Array | None = None
) -> Array:
    """Calibrated probabilities ``(n, classes)`` on the run's class axis; a class without a label has probability 0."""
    from scipy.special import softmax

    probs = np.zeros((len(features), classes), np.float32)
    seen = state["seen"]
    if len(seen) == 1:
        probs[:, seen] = 1
    else:
        probs[:, seen] = softmax(head.logits(state, features, keep) / state["temperature"], axis=1)
    return probs


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) / factor`` for each number of a vector: fixed when it is made, part of the checkpoint."""

    offset: Array
    factor: Array

    def applied(self, vectors: Array) -> Array:
        """Scaled vectors ``(n, d)``."""
        return np.asarray((vectors - self.offset) / self.factor, np.float32)


def scaling_of(kind: str, vectors: Array) -> Scaling:
    """ "minmax" brings each number of these vectors ``(n, d)`` to 0..1, "standard" to mean 0 and deviation 1, "none"
    leaves it. A number that is the same in all of them is not stretched."""
    if kind == "none":
        return Scaling(np.zeros(vectors.shape[1], np.float32), np.ones(vectors.shape[1], np.float32))
    offset = vectors.min(axis=0) if kind == "minmax" else vectors.mean(axis=0)
    factor = np.ptp(vectors, axis=0) if kind == "minmax" else vectors.std(axis=0)
    # It must not blow up where another image differs in it.
    return Scaling(offset.astype(np.float32), np.where(factor > 1e-6, factor, 1).astype(np.float32))


@dataclass(frozen=True)
class Fitted:
    """A head as a checkpoint holds it: its state, the scaling of what it is given, and the class axis."""

    state: Arrays
    scaling: Scaling
    classes: tuple[str, ...]

    def save(self, checkpoint: Path, about: Mapping[str, Any]) -> None:
        """Write it, and beside it ``about`` for people and for later rounds."""
        checkpoint.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {f"head.{k}": v for k, v in self.state.items()}
        np.savez(checkpoint / "head.npz", mean=self.scaling.offset, std=self.scaling.factor, **arrays)
        text = json.dumps({"classes": self.classes, **about}, ensure_ascii=False, indent=1)
        (checkpoint / "about.json").write_text(text, encoding="utf-8")


def read_fitted(checkpoint: Path) -> Fitted:
    """The head of a checkpoint."""
    with np.load(checkpoint / "head.npz", allow_pickle=False) as stored:
        state = {k.removeprefix("head."): stored[k] for k in stored.files if k.startswith("head.")}
        scaling = Scaling(stored["mean"], stored["std"])
    about = json.loads((checkpoint / "about.json").read_text(encoding="utf-8"))
    return Fitted(state, scaling, tuple(about["classes"]))


def head_predictions(
    head: Head,
    fitted: Fitted | None,
    features: Array,
    samples: Sequence[Sample],
    want: frozenset[str],
    *,
    passes: int,
    dropout: float,
) -> Iterator[Prediction]:
    """What a head says of scaled features ``(n, d)``, one matrix product for all; without a head embeddings alone."""
    outputs: dict[str, Array] = {"embedding": features} if "embeddings" in want else {}
    if fitted is not None and "probs" in want:
        outputs["probs"] = probabilities(head, fitted.state, features, len(fitted.classes))
    if fitted is not None and "samples" in want:
        masks = _masks(passes, dropout, features.shape[1])
        drawn = [probabilities(head, fitted.state, features, len(fitted.classes), keep) for keep in masks]
        outputs["samples"] = np.stack(drawn, axis=1)
    for i, sample in enumerate(samples):
        yield Prediction(sample.id, **{k: v[i] for k, v in outputs.items()})


def _masks(passes: int, dropout: float, width: int) -> Iterator[Array]:
    # One mask a pass, the same for all images: a prediction does not depend on the batch it is made in.
    for index in range(passes):
        rng = np.random.default_rng([index, width])
        yield ((rng.random(width) >= dropout) / (1 - dropout)).astype(np.float32)
