"""The words of the verb ``pick``: from them to images picked, files written, and what is said of both."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.config import parse_override
from labelwise.data.listing import shown
from labelwise.data.name_lists import read_names
from labelwise.errors import ConfigError
from labelwise.picking.images import ImagePicks, pick_images
from labelwise.picking.output import check_outputs, pick_facts, write_outputs

_SHOWN = 10  # names told in full
_DIRECT = (
    *("n", "total", "least_distance", "strategy", "predictions", "already", "embeddings"),
    *("group", "cache", "threads", "seed"),
)
_FEATURES = ("backbone", "weights", "size", "resize", "mean", "std")  # words of the model frozen
_NAMED = frozenset(inspect.signature(pick_images).parameters) - {"options"}


@dataclass(frozen=True)
class Done:
    """``facts`` for ``--json``; for people what is ``said`` of the picks, and the ``result``, a line each."""

    facts: Mapping[str, Any]
    said: list[str]
    result: list[str]


def lacking(words: Mapping[str, Any]) -> str:
    """What the arguments and options do not say but must, in one line; empty if nothing."""
    images = _images(words)[0]
    if images is None and words["embeddings"] is None:
        return "expected a folder of images, or --embeddings FILE"
    if words["n"] is None and words["total"] is None and words["least_distance"] is None:
        return "expected how many to pick: -n, --total or --least-distance"
    if words["sheet"] is not None and images is None:
        return "expected a folder of images for --sheet: vectors alone have no pictures"
    return ""


def _images(words: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The folder and the changes: without a folder the first change stands in its place."""
    images, changes = words["images"], list(words["changes"] or ())
    if images is not None and "=" in str(images) and not Path(images).exists():
        return None, [str(images), *changes]
    return images, changes


def pick_by_words(words: Mapping[str, Any], *, progress: Callable[[int, int, str], None]) -> Done:
    """Do what the verb's arguments and options say. Raises LabelwiseError."""
    images, changes = _images(words)
    lists, sheet = [Path(path) for path in words["out"] or ()], words["sheet"] and Path(words["sheet"])
    check_outputs(lists, sheet, force=words["force"])
    given = {name: words[name] for name in _DIRECT if words[name] is not None}
    ours, changes = _split(changes, "predictions.")
    if ours:
        given["predictions"] = {**ours, "path": words["predictions"]}
    for name, value in _options(changes).items():
        if name in _NAMED.union(_FEATURES) and (name != "strategy" or "strategy" in given):
            raise ConfigError(
                f"{name}={value}: expected a rule or an option of the strategy; write {_flag(name)} {value}"
            )
        given[name] = value
    if words["classes"] is not None:
        given["classes"] = read_names(words["classes"])
    picks = pick_images(images, features=_features(words), progress=progress, **given)
    write_outputs(picks, lists, sheet)
    written = [*lists, *([] if sheet is None else [sheet])]
    wrote = [f"wrote {path}" for path in written]
    facts = {**pick_facts(picks), "written": [str(path) for path in written]}
    return Done(facts, _said(picks) + (wrote if not lists else []), wrote if lists else _picked(picks))


def _split(changes: Iterable[str], prefix: str) -> tuple[dict[str, Any], list[str]]:
    """The changes under a prefix, read and without it, and the others as they are."""
    ours = [text for text in changes if text.startswith(prefix)]
    found = dict(parse_override(text) for text in ours)
    return {key.removeprefix(prefix): value for key, value in found.items()}, [c for c in changes if c not in ours]


def _options(changes: Iterable[str]) -> dict[str, Any]:
    """Options of the strategy; the words of a run's configuration, such as ``strategy.per_group``, mean the same."""
    found = dict(parse_override(text) for text in changes)
    return {re.sub(r"^(model\.|(strategy\.)?(select\.)?)", "", key): value for key, value in found.items()}


def _flag(name: str) -> str:
    return "-n" if name == "n" else f"--{name.replace('_', '-')}"


def _features(words: Mapping[str, Any]) -> dict[str, Any]:
    """The words of the model that were given."""
    features = {name: words[name] for name in _FEATURES if words[name] not in (None, ())}
    network = dict(parse_override(text) for text in words["option"] or ())
    return {**features, "network": network} if network else features


def _said(picks: ImagePicks) -> list[str]:
    lines = [picks.pool.summary]
    if picks.already or picks.unknown:
        lines.append(f"picked earlier: {len(picks.already):,}" + _strange(len(picks.unknown)))
        lines += [f"  {problem.message}" for problem in picks.unknown[:_SHOWN]]
    if len(picks.unknown) > _SHOWN:
        lines.append(f"  and {len(picks.unknown) - _SHOWN:,} more; --json names them all")
    return [*lines, *(f"note: {note}" for note in picks.notes), f"picked: {len(picks.rows):,} by {picks.strategy}"]


def _strange(count: int) -> str:
    return f"; {count:,} more {'name' if count == 1 else 'names'} cannot be used:" if count else ""


def _picked(picks: ImagePicks) -> list[str]:
    return [f"{shown(row.id)}\t{row.reason}" for row in picks.rows]
