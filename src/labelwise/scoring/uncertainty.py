"""Uncertainty of class probabilities, one value per element; torch functions that take and give numpy as well.

Large float32 arrays on the CPU go through compiled loops, which differ from torch by less than 1e-5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelwise.errors import SelectionError
from labelwise.scoring import maps


class Score(Protocol):
    """A score as callers see it: numpy in, numpy out; tensor in, tensor out (same device)."""

    __name__: str

    @overload
    def __call__(self, array: Tensor, /, **options: Any) -> Tensor: ...
    @overload
    def __call__(self, array: NDArray[Any], /, **options: Any) -> NDArray[Any]: ...
    @overload
    def __call__(self, **arrays: Any) -> Any: ...


def on_arrays(function: Callable[..., Tensor]) -> Score:
    """Let a function of tensors take numpy arrays too: numpy in gives numpy out, tensor in gives tensor out.

    Numbers narrower than float32 (and integers) are computed in float32; float64 stays float64.
    Raises SelectionError if an array is not one class axis (or, for ``samples``, passes and classes) at least.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        was_numpy = not any(isinstance(value, Tensor) for value in (*args, *kwargs.values()))
        result = function(*map(_tensor, args), **{name: _tensor(value) for name, value in kwargs.items()})
        return result.numpy() if was_numpy else result

    return call


def _tensor(value: Any) -> Any:
    """A tensor of float32 or wider, sharing memory where it can; anything that is not an array passes through."""
    if isinstance(value, np.ndarray):
        # torch warns about read-only memory (a memory map) and refuses odd or negative strides and foreign byte order;
        # maps whose classes lie apart in memory stay so
        fits = all(step >= 0 and step % value.itemsize == 0 for step in value.strides)
        usable = fits and value.flags.writeable and value.dtype.isnative
        value = torch.from_numpy(value if usable else np.require(value, value.dtype.newbyteorder("="), ["C", "W"]))
    if not isinstance(value, Tensor):
        return value
    return value if value.dtype in (torch.float32, torch.float64) else value.to(torch.float32)


def _check(name: str, array: Tensor, least_axes: int) -> None:
    if array.ndim < least_axes or array.shape[-1] == 0 or (least_axes == 2 and array.shape[0] == 0):
        shape = "(..., C)" if least_axes == 1 else "(S, ..., C)"
        raise SelectionError(
            f"expected {name} of shape {shape}, class axis last and no empty axis there, but found {tuple(array.shape)}"
        )


@on_arrays
def least_confidence(probs: Tensor) -> Tensor:
    """How far the best class is from certain: (1 - max p) / (1 - 1/C).

    ``probs`` is ``(..., C)``, class axis last, rows sum to 1; returns ``(...)`` in 0 (certain) to 1 (uniform); 0 for
    one class. Lewis & Gale 1994, A sequential algorithm for training text classifiers; rescaled as in Lightly.
    """
    _check("probs", probs, 1)
    classes = probs.shape[-1]
    if classes == 1:
        return _zeros(probs)
    best = maps.best_two(probs)[0] if maps.large(probs) else probs.amax(-1)
    return (1 - best) / (1 - 1 / classes)


@on_arrays
def margin(probs: Tensor) -> Tensor:
    """How close the two best classes are: 1 - (p1 - p2).

    ``probs`` is ``(..., C)``, class axis last, rows sum to 1; returns ``(...)`` in 0 (certain) to 1 (a tie); 0 for
    one class. Scheffer, Decomain & Wrobel 2001, Active hidden Markov models for information extraction.
    """
    _check("probs", probs, 1)
    if probs.shape[-1] == 1:
        return _zeros(probs)
    if maps.large(probs):
        first, second = maps.best_two(probs)
        return 1 - (first - second)
    best = probs.topk(2, dim=-1).values
    return 1 - (best[..., 0] - best[..., 1])


@on_arrays
def entropy(probs: Tensor) -> Tensor:
    """Shannon entropy as a share of its greatest value: -sum p log p / log C, with 0 log 0 = 0.

    ``probs`` is ``(..., C)``, class axis last, rows sum to 1; returns ``(...)`` in 0 (certain) to 1 (uniform); 0 for
    one class. Settles 2009, Active learning literature survey, section 3.1.
    """
    _check("probs", probs, 1)
    if probs.shape[-1] == 1:
        return _zeros(probs)
    return _nats(probs) / math.log(probs.shape[-1])


@on_arrays
def bald(samples: Tensor) -> Tensor:
    """Mutual information of label and weights: entropy of the mean minus mean of the entropies, in nats.

    ``samples`` is ``(S, ..., C)``: S stochastic passes first, class axis last; returns ``(...)`` in 0 to log C.
    Equal to a committee's mean Kullback-Leibler divergence from its mean (McCallum & Nigam 1998, Employing EM and
    pool-based active learning). Houlsby et al. 2011, equation 2; with dropout passes: Gal, Islam &
    Ghahramani 2017.
    """
    _check("samples", samples, 2)
    if maps.large(samples):
        return maps.mutual_information(samples)
    # the difference is never negative in exact arithmetic; rounding can make it so
    return (_nats(samples.mean(0)) - _nats(samples).mean(0)).clamp(min=0)


@on_arrays
def mean_std(samples: Tensor) -> Tensor:
    """Standard deviation over the passes, averaged over the classes.

    ``samples`` is ``(S, ..., C)``: S stochastic passes first, class axis last; returns ``(...)`` in 0 to 0.5.
    Kampffmeyer et al. 2016; "Mean STD" in Gal, Islam & Ghahramani 2017, section 4.
    """
    _check("samples", samples, 2)
    return samples.std(0, correction=0).mean(-1)


@on_arrays
def variance(samples: Tensor) -> Tensor:
    """Variance over the passes, averaged over the classes.

    ``samples`` is ``(S, ..., C)``: S stochastic passes first, class axis last; returns ``(...)`` in 0 to 0.25.
    Kendall, Badrinarayanan & Cipolla 2017, Bayesian SegNet (there per pixel).
    """
    _check("samples", samples, 2)
    return samples.var(0, correction=0).mean(-1)


@on_arrays
def variation_ratio(samples: Tensor) -> Tensor:
    """Share of the passes that do not vote for the most voted class.

    ``samples`` is ``(S, ..., C)``: S stochastic passes first, class axis last; returns ``(...)`` in 0 to 1 - 1/min(S,
    C). Freeman 1965; Gal, Islam & Ghahramani 2017, section 4.
    """
    _check("samples", samples, 2)
    ratio: Tensor = 1 - _votes(samples).amax(-1)
    return ratio


@on_arrays
def vote_entropy(samples: Tensor) -> Tensor:
    """Entropy of the passes' votes as a share of its greatest value: -sum V/S log V/S / log min(S, C).

    ``samples`` is ``(S, ..., C)``: S stochastic passes or committee members first, class axis last; each votes for its
    best class (the lowest of equal ones). Returns ``(...)`` in 0 (all agree) to 1; 0 for one pass or class.
    Engelson & Dagan 1996, Minimizing manual annotation cost in supervised training from corpora.
    """
    _check("samples", samples, 2)
    most = min(samples.shape[0], samples.shape[-1])
    return _zeros(samples).sum(0) if most == 1 else _nats(_votes(samples)) / math.log(most)


def _votes(samples: Tensor) -> Tensor:
    """Share of the passes that vote for each class, ``(..., C)``; NaN where a number is: a vote would hide it."""
    if maps.large(samples):
        return maps.votes(samples)
    votes = torch.zeros_like(samples[0])
    for one_pass in samples:
        best = one_pass.argmax(-1, keepdim=True)
        votes.scatter_add_(-1, best, torch.ones_like(best, dtype=votes.dtype))
    return votes / len(samples) + _zeros(samples).sum(0).unsqueeze(-1)


def _nats(probs: Tensor) -> Tensor:
    """Entropy in nats over the last axis, 0 log 0 = 0."""
    if maps.large(probs):
        return maps.entropies(probs)
    nats: Tensor = torch.special.entr(probs).sum(-1)
    return nats


def _zeros(probs: Tensor) -> Tensor:
    """Zeros without the class axis that keep NaN where a row has one, so that it is not hidden."""
    return torch.sum(torch.mul(probs, 0), dim=-1)
