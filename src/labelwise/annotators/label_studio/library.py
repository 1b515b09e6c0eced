"""Label Studio's SDK, which is optional: its parts that are used here, imported when they are needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from labelwise.errors import ConfigError

_INSTALL = "Label Studio needs its SDK, which is not installed: pip install 'labelwise[labelstudio]'"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of the SDK, which uses what its own dependencies deprecate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sdk() -> ModuleType:
    """The SDK. Raises ConfigError saying how to install it."""
    try:
        with quiet():
            return import_module("label_studio_sdk")
    except ImportError:
        raise ConfigError(_INSTALL) from None


def failure() -> Any:
    """The SDK's error for an HTTP status: called with ``status_code`` and ``body``."""
    sdk()
    with quiet():
        from label_studio_sdk.core.api_error import ApiError
    return ApiError


def brush_converter() -> Any:
    """The SDK's module between masks and the brush's run lengths."""
    sdk()
    with quiet():
        from label_studio_sdk.converter import brush
    return brush
