"""Large arrays through the compiled loops: which arrays qualify, how they are viewed, and in how many threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGE = 1 << 18  # numbers from which the loops are worth loading their compiler
_STRIP = 1 << 21  # numbers that a thread works on at a time

Floats = NDArray[np.float32]


def plain(array: Tensor) -> bool:
    """True for an array that the loops can read: float32 on the CPU, not part of a graph that needs gradients."""
    return array.dtype == torch.float32 and array.device.type == "cpu" and not array.requires_grad


def large(array: Tensor) -> bool:
    """True for an array that the loops can read and that is worth it."""
    return array.numel() >= LARGE and plain(array)


def elements(array: NDArray[Any]) -> tuple[Floats, tuple[int, int], int]:
    """The array ``(..., C)`` as the loops read it: flat memory, steps from class to class and element to element, C.

    No copy if the classes lie together, or each in one piece of memory.
    """
    number = array.shape[-1]
    apart = np.moveaxis(array, -1, 0)
    if apart.flags.c_contiguous and not array.flags.c_contiguous:
        return apart.reshape(-1), (array.size // number, 1), number
    return np.ascontiguousarray(array).reshape(-1), (1, number), number


def fitting(numbers: int) -> int:
    """How many elements of so many numbers each a thread works on at a time."""
    return max(1, _STRIP // max(1, numbers))


def in_strips(total: int, step: int, work: Callable[[int, int], None]) -> None:
    """Do ``work(start, stop)`` for all of range(total), ``step`` at a time, in torch's number of threads."""
    parts = [(start, min(start + step, total)) for start in range(0, total, step)]
    threads = min(len(parts), torch.get_num_threads())
    if threads < 2:
        for part in parts:
            work(*part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: work(*part), parts))


def entropies(probs: Tensor) -> Tensor:
    """Entropy in nats over the last axis of a plain tensor; differs from torch's by 1e-6 at most per log C."""
    from labelwise.scoring import kernels

    flat, steps, number = elements(probs.numpy())
    out: Floats = np.empty(len(flat) // number, np.float32)
    in_strips(len(out), fitting(number), lambda a, b: kernels.entropies(flat, steps, number, a, b, out))
    return torch.from_numpy(out.reshape(probs.shape[:-1]))


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the last axis, within 1e-6 of torch's; of large plain tensors the classes then lie apart in memory.

    So the compiled loops read them fastest. NaN where a number is NaN or the highest of an element is not finite.
    """
    if not large(logits):
        return logits.softmax(-1)
    from labelwise.scoring import kernels

    flat, steps, number = elements(logits.numpy())
    out: Floats = np.empty((number, len(flat) // number), np.float32)
    in_strips(out.shape[1], fitting(number), lambda a, b: kernels.softmax(flat, steps, number, a, b, out))
    return torch.from_numpy(np.moveaxis(out.reshape(number, *logits.shape[:-1]), 0, -1))


def best_two(probs: Tensor) -> tuple[Tensor, Tensor]:
    """The two highest over the last axis (2 classes or more) of a plain tensor; NaN where a number is not finite."""
    from labelwise.scoring import kernels

    flat, steps, number = elements(probs.numpy())
    best, following = np.empty((2, len(flat) // number), np.float32)
    in_strips(len(best), fitting(number), lambda a, b: kernels.best_two(flat, steps, number, a, b, best, following))
    shape = probs.shape[:-1]
    return torch.from_numpy(best.reshape(shape)), torch.from_numpy(following.reshape(shape))


def votes(samples: Tensor) -> Tensor:
    """Share of the passes that vote for each class, ``(..., C)``; NaN where a number is not finite."""
    share = np.float32(1 / len(samples))
    out: Floats = np.zeros((samples[0].numel() // samples.shape[-1], samples.shape[-1]), np.float32)
    for one_pass in samples:
        _count(one_pass.numpy(), share, out)
    return torch.from_numpy(out.reshape(samples.shape[1:]))


def _count(one_pass: NDArray[Any], share: Any, out: Floats) -> None:
    from labelwise.scoring import kernels

    flat, steps, number = elements(one_pass)
    in_strips(len(out), fitting(number), lambda a, b: kernels.count_votes(flat, steps, number, a, b, share, out))


def mutual_information(samples: Tensor) -> Tensor:
    """BALD of a plain tensor ``(S, ..., C)``, within 1e-5 nats of exact numbers for up to 1000 classes."""
    from labelwise.scoring import kernels

    passes, number = samples.shape[0], samples.shape[-1]
    x = np.ascontiguousarray(samples.numpy()).reshape(passes, -1)
    out: Floats = np.empty(x.shape[1] // number, np.float32)
    step = fitting(passes * number)
    in_strips(len(out), step, lambda a, b: kernels.mutual_information(x, number, a, b, out))
    return torch.from_numpy(out.reshape(samples.shape[1:-1]))
