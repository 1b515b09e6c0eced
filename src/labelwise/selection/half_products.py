"""Products of vectors rounded to bfloat16, by the processor's own instruction for them where it has one.

AVX-512 BF16 multiplies and adds 32 pairs of numbers at a time, twice as many as float32 allows; no library gives it to
compiled Python, so the inner loop is written out below in LLVM's terms. On any other processor the same numbers come
from float32 arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32  # a vector has a multiple of so many numbers, the last ones 0
SIDE = 4  # points and centres in a tile

# numba may have been told to compile for another processor than this one
_SETTINGS: Any = numba.config
_OWN_CODE = not (_SETTINGS.CPU_NAME or _SETTINGS.CPU_FEATURES) and bool(_SETTINGS.ENABLE_AVX)
FAST = _OWN_CODE and bool(get_host_cpu_features().get("avx512bf16", False))


class _BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_INDEX, _FLOAT = ir.IntType(64), ir.FloatType()
_SUMS, _PAIRS = ir.VectorType(_FLOAT, LANES // 2), ir.VectorType(_BFloat(), LANES)


def _lanes(numbers: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def _added_up(builder: Any, vectors: list[Any]) -> Any:
    """One vector with the sum of each of as many vectors as it has lanes.

    In each step a vector takes in another: lanes that belong together are halved, and one half is added to the other.
    """
    width = len(vectors)
    while len(vectors) > 1:
        half = len(vectors) // 2
        halves = []
        for x, y in zip(vectors[:half], vectors[half:], strict=True):
            lanes = [
                [
                    who * width + group + second + k
                    for group in range(0, width, 2 * half)
                    for who in (0, 1)
                    for k in range(half)
                ]
                for second in (0, half)
            ]
            low, high = (builder.shuffle_vector(x, y, _lanes(part)) for part in lanes)
            halves.append(builder.fadd(low, high))
        vectors = halves
    return vectors[0]


def _declared(module: Any, name: str, result: Any, given: list[Any]) -> Any:
    return cgutils.get_or_insert_function(module, ir.FunctionType(result, given), name)  # type: ignore[no-untyped-call]


@intrinsic
def tile_fast(_: Any, points: Any, p: Any, q: Any, r: Any, s: Any, centres: Any, first: Any, out: Any) -> Any:
    """Products of four rows of ``points`` with four of ``centres`` from ``first`` on, into the first of ``out``."""
    signature = types.void(points, p, q, r, s, centres, first, out)

    def rows(builder: Any, array: Any, numbers: list[Any]) -> list[Any]:
        start = builder.ptrtoint(array.data, _INDEX)
        stride = builder.extract_value(array.strides, 0)
        places = [builder.add(start, builder.mul(number, stride)) for number in numbers]
        return [builder.inttoptr(place, _PAIRS.as_pointer()) for place in places]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        arrays = {k: context.make_array(signature.args[k])(context, builder, values[k]) for k in (0, 5, 7)}
        next_rows = [builder.add(values[6], ir.Constant(_INDEX, k)) for k in range(SIDE)]
        left, right = rows(builder, arrays[0], list(values[1:5])), rows(builder, arrays[5], next_rows)
        steps = builder.udiv(builder.extract_value(arrays[0].shape, 1), ir.Constant(_INDEX, LANES))
        before = builder.block
        loop, after = builder.append_basic_block("products"), builder.append_basic_block("sums")
        builder.branch(loop)

        builder.position_at_end(loop)
        step, sums = builder.phi(_INDEX), [builder.phi(_SUMS) for _ in range(SIDE * SIDE)]
        step.add_incoming(ir.Constant(_INDEX, 0), before)
        left = [builder.load(builder.gep(row, [step]), align=2) for row in left]
        right = [builder.load(builder.gep(row, [step]), align=2) for row in right]
        given = [_SUMS, _PAIRS, _PAIRS]
        multiply = _declared(builder.module, "llvm.x86.avx512bf16.dpbf16ps.512", _SUMS, given)
        new = [
            builder.call(multiply, [sums[SIDE * i + j], left[i], right[j]]) for i in range(SIDE) for j in range(SIDE)
        ]
        following = builder.add(step, ir.Constant(_INDEX, 1))
        step.add_incoming(following, loop)
        for total, value in zip(sums, new, strict=True):
            total.add_incoming(ir.Constant(_SUMS, [0.0] * (LANES // 2)), before)
            total.add_incoming(value, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, steps), loop, after)

        builder.position_at_end(after)
        sums, four = _added_up(builder, new), ir.VectorType(_FLOAT, SIDE)
        start, stride = builder.ptrtoint(arrays[7].data, _INDEX), builder.extract_value(arrays[7].strides, 0)
        for i in range(SIDE):
            row = builder.shuffle_vector(sums, sums, _lanes(range(SIDE * i, SIDE * i + SIDE)))
            place = builder.add(start, builder.mul(stride, ir.Constant(_INDEX, i)))
            builder.store(row, builder.inttoptr(place, four.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True, nogil=True)
def tile_anywhere(points: Any, p: Any, q: Any, r: Any, s: Any, centres: Any, first: Any, out: Any) -> None:
    """As ``tile_fast``, on every processor."""
    wide, rows = np.empty((2, points.shape[1]), np.float32), (p, q, r, s)
    bits = wide.view(np.uint32)
    for a in range(SIDE):
        for b in range(SIDE):
            for k in range(points.shape[1]):
                bits[0, k] = np.uint32(points[rows[a], k]) << np.uint32(16)
                bits[1, k] = np.uint32(centres[first + b, k]) << np.uint32(16)
            total = np.float32(0)
            for k in range(points.shape[1]):
                total += wide[0, k] * wide[1, k]
            out[a, b] = total


tile: Any = tile_fast if FAST else tile_anywhere


@njit(cache=True, nogil=True)
def products(points: Any, first: int, centres: Any, start: int, out: Any) -> None:
    """Products of ``points`` from ``first`` on with ``centres`` from ``start`` on, as many as ``out`` ``(b, g)`` has.

    Both hold the bits of bfloat16, ``(.., d)`` uint16 with d a multiple of LANES, and have SIDE rows or more. The sums
    are of float32, their terms added in any order.
    """
    found = np.empty((SIDE, SIDE), np.float32)
    count, width = out.shape
    for begin in range(0, count, 64):  # points that stay in the second-level cache while centres pass
        end = min(begin + 64, count)
        for block in range(0, width, 16):  # centres that stay in the first-level cache while points pass
            for u in range(begin, end, SIDE):
                v, w, x = min(u + 1, end - 1), min(u + 2, end - 1), min(u + 3, end - 1)
                for j in range(block, min(block + 16, width), SIDE):
                    at = min(start + j, centres.shape[0] - SIDE)
                    whole = u + SIDE <= end and at == start + j and j + SIDE <= width
                    place = out[u:, j:] if whole else found
                    tile(points, first + u, first + v, first + w, first + x, centres, at, place)
                    if not whole:
                        for a in range(min(SIDE, end - u)):
                            for b in range(start + j - at, min(SIDE, start + width - at)):
                                out[u + a, at + b - start] = found[a, b]
