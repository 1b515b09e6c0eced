"""labelwise: find what is worth labelling, get it labelled, retrain, and see what every label bought.

The names below are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelwise import scoring, selection, testing
    from labelwise.api import check, compare, run, simulate
    from labelwise.data.predictions import read_predictions
    from labelwise.embedding.folder import Embedded, embed
    from labelwise.errors import LabelwiseError
    from labelwise.exchange.exporting import export
    from labelwise.exchange.finishing import predict
    from labelwise.exchange.importing import import_answers
    from labelwise.picking import pick
    from labelwise.picking.images import pick_images
    from labelwise.results import RunResult, open_run

__version__ = "0.1.0"

_HOMES = {
    "run": "labelwise.api",
    "check": "labelwise.api",
    "simulate": "labelwise.api",
    "compare": "labelwise.api",
    "embed": "labelwise.embedding.folder",
    "Embedded": "labelwise.embedding.folder",
    "open_run": "labelwise.results",
    "RunResult": "labelwise.results",
    "pick": "labelwise.picking",
    "pick_images": "labelwise.picking.images",
    "read_predictions": "labelwise.data.predictions",
    "export": "labelwise.exchange.exporting",
    "import_answers": "labelwise.exchange.importing",
    "predict": "labelwise.exchange.finishing",
    "LabelwiseError": "labelwise.errors",
    "scoring": "",
    "selection": "",
    "testing": "",
}

__all__ = [
    "Embedded",
    "LabelwiseError",
    "RunResult",
    "check",
    "compare",
    "embed",
    "export",
    "import_answers",
    "open_run",
    "pick",
    "pick_images",
    "predict",
    "read_predictions",
    "run",
    "scoring",
    "selection",
    "simulate",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'labelwise' has no attribute {name!r}")
    home = _HOMES[name]
    return getattr(importlib.import_module(home), name) if home else importlib.import_module(f"labelwise.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
