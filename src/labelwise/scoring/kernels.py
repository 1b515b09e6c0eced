"""Compiled inner loops of the scores: many elements side by side, one pass over the numbers.

Classes of M elements come as flat float32 memory and two ``steps``: from class to class and from element to element,
so that classes may lie apart (as networks give maps) or together (class axis last). Elements ``first`` to ``stop`` are
looked at. A block of them is laid out class by class; every element is then computed by itself, classes in ascending
order, so that equal elements have equal scores wherever they stand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from labelwise.scoring.vector_math import compiled, exp, log

BLOCK = 128  # elements side by side: their classes stay in the first or second level of cache
_ZERO, _ONE = np.float32(0), np.float32(1)
_INFINITY, _NAN = np.float32(np.inf), np.float32(np.nan)
_LOWEST = np.float32(-87)  # exp is as good as 0 there, and its product with minus infinity must be too
_H1, _H2, _H3 = np.float32(0.14300452), np.float32(0.61876591), np.float32(0.02866364)  # minimax fit, 1e-6 to 1e7


@compiled
def _load(flat: Any, steps: Any, start: int, stop: int, block: Any) -> int:
    """Copy the elements from ``start`` on, up to ``stop``, into ``block`` ``(C, BLOCK)``; returns how many."""
    n = min(BLOCK, stop - start)
    classes = block.shape[0]
    if steps[0] == 1:
        for j in range(n):
            begin = (start + j) * steps[1]
            part = flat[begin : begin + classes]
            for c in range(classes):
                block[c, j] = part[c]
    else:
        for c in range(classes):
            begin = c * steps[0] + start
            part, row = flat[begin : begin + n], block[c]
            for j in range(n):
                row[j] = part[j]
    return n


@compiled
def _entr(p: Any) -> Any:
    """-p log p, 0 at 0, minus infinity below 0 (as torch has it), NaN for NaN."""
    value = -(p * log(p))
    return -_INFINITY if p < _ZERO else value


@compiled
def entropies(flat: Any, steps: Any, number: int, first: int, stop: int, out: Any) -> None:
    """Entropy in nats of each element's probabilities into ``out`` ``(M,)``."""
    block, total = np.zeros((number, BLOCK), np.float32), np.empty(BLOCK, np.float32)
    for start in range(first, stop, BLOCK):
        n = _load(flat, steps, start, stop, block)
        total[:] = _ZERO
        for c in range(block.shape[0]):
            row = block[c]
            for j in range(BLOCK):
                total[j] += _entr(row[j])
        out[start : start + n] = total[:n]


@compiled
def best_two(flat: Any, steps: Any, number: int, first: int, stop: int, best: Any, next_best: Any) -> None:
    """The two highest of each element's classes, of 2 or more; NaN where a number is not finite."""
    block = np.zeros((number, BLOCK), np.float32)
    one, two, trace = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(first, stop, BLOCK):
        n = _load(flat, steps, start, stop, block)
        one[:], two[:], trace[:] = -_INFINITY, -_INFINITY, _ZERO
        for c in range(block.shape[0]):
            row = block[c]
            for j in range(BLOCK):
                value = row[j]
                trace[j] += value - value
                lower = min(value, one[j])
                one[j] = max(value, one[j])
                two[j] = max(lower, two[j])
        for j in range(n):
            best[start + j], next_best[start + j] = one[j] + trace[j], two[j] + trace[j]


@compiled
def classes_and_entropies(
    flat: Any,
    steps: Any,
    number: int,
    first: int,
    stop: int,
    logits: bool,
    small: Any,
    scale: Any,
    classes: Any,
    out: Any,
) -> None:
    """Each element's best class (the lowest of equal ones) and ``scale`` times -sum p log(p + small).

    The numbers are probabilities, or ``logits``, whose softmax is taken here. NaN shows in ``out`` ``(M,)``.
    """
    block, best = np.zeros((number, BLOCK), np.float32), np.empty(BLOCK, np.float32)
    which, total, other = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(first, stop, BLOCK):
        n = _load(flat, steps, start, stop, block)
        best[:], which[:] = block[0], 0
        for c in range(1, block.shape[0]):
            row, this = block[c], np.int32(c)
            for j in range(BLOCK):
                value, high, so_far = row[j], best[j], which[j]
                best[j] = value if value > high else high
                which[j] = this if value > high else so_far
        if logits:
            _entropies_of_logits(block, best, small, total, other)
        else:
            _entropies_of_probs(block, small, total)
        for j in range(n):
            out[start + j] = total[j] * scale
            classes[start + j] = which[j]


@compiled
def _entropies_of_probs(block: Any, small: Any, total: Any) -> None:
    """-sum p log(p + small) of each element of a block; NaN where p + small is below 0."""
    total[:] = _ZERO
    for c in range(block.shape[0]):
        row = block[c]
        for j in range(BLOCK):
            shifted = row[j] + small
            term = row[j] * log(shifted)
            total[j] -= _NAN if shifted < _ZERO else term


@compiled
def _entropies_of_logits(block: Any, best: Any, small: Any, total: Any, other: Any) -> None:
    """-sum p log(p + small) of the softmax of each element, with one logarithm an element; the block is overwritten.

    With d a logit below the best and Z = sum exp d it is log Z - sum p d - small sum h(p / small), where
    h(x) = x log(1 + 1 / x). h is 0 at 0 and 1 far out; a quotient fitted to it is within 0.0033 everywhere. An element
    with NaN, or no finite maximum, becomes NaN.
    """
    total[:], other[:] = _ZERO, _ZERO
    for c in range(block.shape[0]):
        row = block[c]
        for j in range(BLOCK):
            below = row[j] - best[j]
            power = exp(below) if below <= _ZERO else _NAN
            row[j] = power
            total[j] += power
            other[j] += power * max(below, _LOWEST)
    for j in range(BLOCK):
        log_z = log(total[j]) - other[j] / total[j]
        best[j] = _ONE / (total[j] * small)
        total[j], other[j] = log_z, _ZERO
    for c in range(block.shape[0]):
        row = block[c]
        for j in range(BLOCK):
            x = row[j] * best[j]
            other[j] += x * (x + _H1) / ((x + _H2) * x + _H3)
    for j in range(BLOCK):
        total[j] -= small * other[j]


@compiled
def softmax(flat: Any, steps: Any, number: int, first: int, stop: int, out: Any) -> None:
    """The softmax of each element's logits into ``out`` ``(C, M)``; NaN where one is NaN or the highest not finite."""
    block = np.zeros((number, BLOCK), np.float32)
    best, total = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(first, stop, BLOCK):
        n = _load(flat, steps, start, stop, block)
        best[:] = block[0]
        for c in range(1, block.shape[0]):
            row = block[c]
            for j in range(BLOCK):
                best[j] = row[j] if row[j] > best[j] else best[j]
        _softmax(block, best, total)
        for c in range(block.shape[0]):
            part, row = out[c, start : start + n], block[c]
            for j in range(n):
                part[j] = row[j]


@compiled
def _softmax(block: Any, best: Any, total: Any) -> None:
    """Softmax over the classes of a block, in place; an element with NaN, or no finite maximum, becomes NaN."""
    total[:] = _ZERO
    for c in range(block.shape[0]):
        row = block[c]
        for j in range(BLOCK):
            below = row[j] - best[j]
            row[j] = exp(below) if below <= _ZERO else np.float32(np.nan)
            total[j] += row[j]
    for c in range(block.shape[0]):
        row = block[c]
        for j in range(BLOCK):
            row[j] /= total[j]


@compiled
def count_votes(flat: Any, steps: Any, number: int, first: int, stop: int, share: Any, votes: Any) -> None:
    """Add ``share`` to ``votes`` ``(M, C)`` at each element's best class (the lowest of equal ones).

    NaN is added where one of an element's numbers is not finite.
    """
    block, best = np.zeros((number, BLOCK), np.float32), np.empty(BLOCK, np.float32)
    which, trace = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.float32)
    for start in range(first, stop, BLOCK):
        n = _load(flat, steps, start, stop, block)
        best[:], which[:], trace[:] = block[0], 0, share
        for c in range(block.shape[0]):
            row, this = block[c], np.int32(c)
            for j in range(BLOCK):
                value, high, so_far = row[j], best[j], which[j]
                trace[j] += value - value
                best[j] = value if value > high else high
                which[j] = this if value > high else so_far
        for j in range(n):
            votes[start + j, which[j]] += trace[j]


@compiled
def mutual_information(samples: Any, classes: int, first: int, stop: int, out: Any) -> None:
    """Entropy of the mean minus mean of the entropies, in nats and not below 0, of the elements ``first`` to ``stop``.

    ``samples`` is ``(S, M C)``, the ``classes`` of an element together; as many elements as fill a block are looked at
    at once, pass by pass.
    """
    passes = samples.shape[0]
    step = max(1, 2048 // classes)
    mean, nats = np.empty(step * classes, np.float32), np.empty(step * classes, np.float32)
    share = _ONE / np.float32(passes)
    for start in range(first, stop, step):
        end = min(start + step, stop)
        size = (end - start) * classes
        mean[:], nats[:] = _ZERO, _ZERO
        for s in range(passes):
            numbers = samples[s][start * classes : end * classes]
            for j in range(size):
                mean[j] += numbers[j]
                nats[j] += _entr(numbers[j])
        for j in range(size):
            nats[j] = _entr(mean[j] * share) - nats[j] * share
        for i in range(end - start):
            total = _ZERO
            for j in range(i * classes, (i + 1) * classes):
                total += nats[j]
            out[start + i] = _ZERO if total < _ZERO else total
