"""Boxes beside each other: how much they overlap."""

from __future__ import annotations

from typing import Any


def overlaps(one: Any, two: Any) -> Any:
    """Intersection over union of boxes ``(..., 4)``, x0, y0, x1, y1, broadcast against each other: ``(...)``, 0 to 1.

    Arrays of numpy or tensors, both of one kind and of floating point; 0 for two boxes without an area. All pairs of
    ``(n, 4)`` and ``(m, 4)`` are ``overlaps(one[:, None], two[None])``.
    """
    near, far = one[..., :2].clip(min=two[..., :2]), one[..., 2:].clip(max=two[..., 2:])
    shared = (far - near).clip(min=0).prod(-1)
    first, second = ((boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(-1) for boxes in (one, two))
    union = first + second - shared
    return shared / (union + (union == 0))
