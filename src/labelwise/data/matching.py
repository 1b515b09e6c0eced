"""Which image a name in somebody's list means; and for names that mean none, what may have been meant."""

from __future__ import annotations

import difflib
import os
import posixpath
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from labelwise.data.listing import shown
from labelwise.records import Problem

_EXPLAINED = 10  # names that get a suggestion: looking for one costs a comparison with every image
_COMPARED = 50_000  # images; among more, only the same file name elsewhere is suggested


def match_names(names: Sequence[str], ids: Collection[str], root: Path | None) -> tuple[dict[str, str], list[str]]:
    """The id that each name means, and the names that mean none.

    A name is an id, or a path to the image: absolute, or from the working folder. ``\\`` counts as ``/`` and composed
    letters as decomposed ones where needed. A file name alone means no image in a subfolder: there may be several.
    """
    known = ids if isinstance(ids, set | dict | frozenset) else set(ids)
    base = None if root is None else os.path.abspath(root)  # noqa: PTH100 (no Path: an id keeps its letters)
    found: dict[str, str] = {}
    unknown: list[str] = []
    for name in names:
        match = next((form for form in _forms(name, base) if form in known), None)
        if match is None:
            unknown.append(name)
        else:
            found[name] = match
    return found, unknown


def unknown_names(unknown: Sequence[str], ids: Collection[str]) -> list[Problem]:
    """A Problem for each name that means no image, the first ones with what may have been meant."""
    problems = []
    elsewhere: dict[str, str] = {}
    if unknown:
        for id in ids:
            elsewhere.setdefault(posixpath.basename(id).casefold(), id)
    for place, name in enumerate(unknown):
        near = elsewhere.get(posixpath.basename(name.replace("\\", "/")).casefold())
        if near is None and place < _EXPLAINED and len(ids) <= _COMPARED:
            near = next(iter(difflib.get_close_matches(name, ids, n=1, cutoff=0.7)), None)
        hint = f"; did you mean {shown(near)}?" if near is not None else ""
        problems.append(Problem(name, "unknown_name", f"{shown(name)}: no such image{hint}"))
    return problems


def _forms(name: str, base: str | None) -> Iterator[str]:
    yield name
    slashed = posixpath.normpath(name.strip().replace("\\", "/"))
    for form in (name.strip(), slashed):
        yield form
        yield unicodedata.normalize("NFC", form)
        yield unicodedata.normalize("NFD", form)
    if base is not None and name.strip():
        yield os.path.relpath(os.path.abspath(name.strip()), base).replace(os.sep, "/")  # noqa: PTH100
