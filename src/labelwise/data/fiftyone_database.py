"""FiftyOne's database: its package, which is optional, datasets by name, and their saved views."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from typing import Any

from labelwise.catalog import suggest
from labelwise.errors import ConfigError, DataError

INSTALL = "pip install 'labelwise[fiftyone]'"


def framework() -> Any:
    """The module fiftyone. Raises ConfigError, with how to install it, where it is missing or finds no database."""
    if importlib.util.find_spec("fiftyone") is None:
        raise ConfigError(f"FiftyOne datasets need the package fiftyone, found none installed: {INSTALL}")
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("fiftyone")
        except Exception as error:
            raise _no_database(error) from None


def open_dataset(name: str, *, create: bool = False) -> Any:
    """A dataset by name, or a new persistent one with ``create``. Raises DataError if there is none, or no database."""
    fo = framework()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = fo.list_datasets()
            if name in known:
                return fo.load_dataset(name)
            if create:
                return fo.Dataset(name, persistent=True)
    except Exception as error:
        raise _no_database(error) from None
    raise DataError(f"FiftyOne has no dataset {name!r}: {suggest(name, known) if known else 'it holds none'}")


def _no_database(error: Exception) -> DataError:
    what = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"cannot open FiftyOne's database: {what}; start it, or set FIFTYONE_DATABASE_URI")


def open_view(dataset: Any, name: str) -> Any:
    """A saved view of a dataset. Raises DataError if there is none of this name."""
    known = dataset.list_saved_views()
    if name not in known:
        raise DataError(f"data.view: {dataset.name} has no saved view {name!r}: {suggest(name, known) or 'none'}")
    return dataset.load_saved_view(name)
