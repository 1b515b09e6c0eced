"""Turning a template and its numbers into one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from labelwise.report import words


def render(template: str, **context: Any) -> str:
    """The page as text; ``context`` is escaped wherever the template shows it."""
    return _environment().get_template(template).render(**context)


def as_json(value: Any) -> Markup:
    """JSON that can stand inside a script element: no ``<``, and null for numbers that are not finite."""
    plain = json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    return Markup(plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def breakable(name: str) -> Markup:
    """A name, escaped, that may break after an underscore, hyphen, slash or dot rather than in the middle of a word."""
    return Markup(re.sub(r"([_/.-]+)(?=\w)", r"\1<wbr>", str(escape(name))))


def unbroken(sentence: str) -> Markup:
    """A sentence, escaped, whose percentages and ranges stay on one line."""
    return Markup(re.sub(r"\d[\d.,]*(?:–\d[\d.]*)? %", r'<span class="keep">\g<0></span>', str(escape(sentence))))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return (round(value, 6) if abs(value) < 1e6 else value) if math.isfinite(value) else None
    return value


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("labelwise.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(json=as_json, breakable=breakable, unbroken=unbroken)
    environment.globals.update(plotly=_plotly, style=_asset("style.css"), script=_asset("page.js"), words=words)
    return environment


def _asset(name: str) -> Markup:
    return Markup(files("labelwise.report").joinpath("templates", name).read_text(encoding="utf-8"))


def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
