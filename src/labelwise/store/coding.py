"""How the store writes targets, arrays and facts as text, exactly; nothing is pickled."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.records import Target


def as_text(value: Any) -> str:
    """Exact JSON text; arrays become lists."""
    return json.dumps(value, ensure_ascii=False, allow_nan=True, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored")


def target_text(target: Target | None) -> str | None:
    """A target as text; many points are packed."""
    if target is None:
        return None
    fields: dict[str, Any] = {"classes": target.classes}
    if target.mask is not None:
        fields["mask"] = str(target.mask)
    elif target.codes is not None and target.geometry is not None:  # many points: packed
        fields |= {"points": _packed(target.geometry, np.int32), "codes": _packed(target.codes, np.int32)}
    elif target.geometry is not None:
        fields |= {"geometry": target.geometry, "shape": target.geometry.shape}
    return as_text(fields)


def target_of(text: str | None) -> Target | None:
    """The target that a text holds."""
    if text is None:
        return None
    fields = json.loads(text)
    classes = tuple(fields["classes"])
    if "mask" in fields:
        return Target(classes, mask=Path(fields["mask"]))
    if "points" in fields:
        return Target(classes, _unpacked(fields["points"]).reshape(-1, 2), _unpacked(fields["codes"]))
    if "geometry" not in fields:
        return Target(classes)
    return Target(classes, np.asarray(fields["geometry"], dtype=float).reshape(fields["shape"]))


def _packed(array: NDArray[Any], kind: type[np.integer[Any]]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, dtype=kind).tobytes(), 6)).decode("ascii")


def _unpacked(text: str) -> NDArray[np.int32]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.int32)


def array_text(array: NDArray[Any] | None) -> str | None:
    """An array as text, with its type and shape; int32 is packed."""
    if array is not None and array.dtype == np.int32:
        return as_text({"shape": array.shape, "packed": _packed(array, np.int32)})
    return None if array is None else as_text({"dtype": str(array.dtype), "shape": array.shape, "values": array})


def array_of(text: str | None) -> NDArray[Any] | None:
    """The array that a text holds."""
    if text is None:
        return None
    fields = json.loads(text)
    if "packed" in fields:
        return _unpacked(fields["packed"]).reshape(fields["shape"])
    return np.asarray(fields["values"], dtype=fields["dtype"]).reshape(fields["shape"])
