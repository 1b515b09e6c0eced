"""The workflow of an active-learning configuration of mmsegmentation: how long each round trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelwise.config.mm_values import whole
from labelwise.errors import ConfigError

WORDS = ("train", "val", "query")
EXAMPLE = (
    "[('train', 5), ('query', 1)], or a tuple for each round such as [(('train', 5), ('query', 1)), (('train', 9),)]"
)


def round_lengths(workflow: Any, rounds: int | None, where: str) -> tuple[list[int], list[str]]:
    """How many epochs or iterations each round trains, and what is worth a word.

    A regular workflow trains ``rounds`` rounds of the same length: with the initial labels, and after each query but
    the last, which would have no training after it. An irregular one has a tuple a round; a tuple without a query goes
    on into the next one. ``rounds`` is what ``sample_rounds`` says. Raises ConfigError beginning with ``where``.
    """
    if not isinstance(workflow, (list, tuple)) or not workflow:
        raise ConfigError(f"{where}: expected {EXAMPLE}, found {workflow!r}")
    flat = [_is_step(part) for part in workflow]
    if all(flat):
        return _regular(_steps(workflow, where), rounds, where)
    if any(flat):
        odd = workflow[flat.index(True)]
        raise ConfigError(
            f"{where}: expected a tuple of steps for each round, found {odd!r}; write ({odd!r},), with the comma"
        )
    return _irregular([_steps(part, where) for part in workflow], rounds)


def _regular(steps: Sequence[tuple[str, int]], rounds: int | None, where: str) -> tuple[list[int], list[str]]:
    if rounds is None:
        raise ConfigError(f"{where}: a regular workflow needs runner.sample_rounds, found none")
    if rounds > 1 and not any(name == "query" for name, _ in steps):
        raise ConfigError(f"{where}: expected ('query', 1) in it for {rounds} rounds, found none")
    return [_trained(steps)] * rounds, []


def _irregular(parts: Sequence[Sequence[tuple[str, int]]], rounds: int | None) -> tuple[list[int], list[str]]:
    lengths, notes, open_length = [], [], 0
    for steps in parts:
        open_length += _trained(steps)
        if any(name == "query" for name, _ in steps):
            lengths.append(open_length)
            open_length = 0
    if open_length:
        lengths.append(open_length)
    else:
        notes.append("workflow: the last query is left out, since no training comes after it")
    if rounds is not None and rounds not in (len(lengths), len(lengths) - 1):
        notes.append(f"runner.sample_rounds={rounds} is not what workflow says: {len(lengths)} rounds are run")
    return lengths, notes


def _trained(steps: Sequence[tuple[str, int]]) -> int:
    return sum(count for name, count in steps if name == "train")


def _is_step(part: Any) -> bool:
    return isinstance(part, (list, tuple)) and len(part) == 2 and isinstance(part[0], str)


def _steps(part: Any, where: str) -> list[tuple[str, int]]:
    if not isinstance(part, (list, tuple)) or not part or not all(_is_step(step) for step in part):
        raise ConfigError(f"{where}: expected {EXAMPLE}, found {part!r}")
    steps = [(str(name), count) for name, count in part]
    for name, count in steps:
        if name not in WORDS:
            raise ConfigError(f"{where}: expected train, val or query, found {name!r}")
        whole(count, where, expected=f"a number above 0 for {name!r}")
    names = [name for name, _ in steps]
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: expected each step once in a round, found {part!r}; write a tuple for each round")
    if names[0] == "query" or "train" not in names:
        raise ConfigError(f"{where}: expected a round to begin with ('train', ...), found {part!r}")
    if dict(steps).get("query", 1) != 1:
        raise ConfigError(f"{where}: expected ('query', 1), found {('query', dict(steps)['query'])!r}")
    return steps
