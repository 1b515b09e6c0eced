"""Waiting for people: a step that leaves questions open is done again after a pause, until they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from labelwise.annotators import Annotator
from labelwise.errors import ConfigError, ServerAway
from labelwise.loop.context import Context
from labelwise.store import Store

PAUSE = 30.0  # seconds between two looks, where neither the caller nor the annotator says it
Wait = bool | float | None


def pause_of(annotator: Annotator, wait: Wait) -> float | None:
    """Seconds between two looks at whether people are done; None if a run is to return instead of waiting.

    ``wait``: seconds, True for the annotator's own pace (its attribute ``poll``), False for not at all, None for what
    the annotator wants (its attribute ``waits``). Raises ConfigError for seconds that are not above 0.
    """
    if wait is False or (wait is None and not getattr(annotator, "waits", False)):
        return None
    seconds = float(getattr(annotator, "poll", PAUSE)) if wait is None or wait is True else float(wait)
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"wait: expected seconds above 0 between two looks, found {seconds:g}")
    return seconds


def until_answered(
    context: Context,
    round: int,
    look: Callable[[], str],
    pause: float | None,
    *,
    after_look: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """What is still waited for: nothing once ``look`` says so, or without a pause what its first call says.

    ``after_look`` is called when something new is waited for. An annotator's server that is away is waited for as well.
    The run's state says "waiting" meanwhile. An interruption loses nothing: each look keeps what it found.
    """
    said = ""
    while True:
        try:
            waiting = look()
        except ServerAway as error:
            if pause is None:
                raise
            waiting = str(error)
        if pause is None and waiting and (found := _answered(context.store, round)):
            context.tell(found)
        if pause is None or not waiting:
            break
        if waiting != said:
            said = waiting
            _say(context, round, waiting)
            after_look()
        sleep(pause)
    if said and not waiting:
        _say(context, round, "")
    return waiting


def _say(context: Context, round: int, waiting: str) -> None:
    """Write down what is waited for, tell it once, and show how much is answered."""
    store = context.store
    asked, left = _counts(store, round)
    with store.transaction():
        store.set_setting("state", "waiting" if waiting else "unfinished")
        store.set_setting("message", waiting or "at work, or interrupted: run it again to resume")
    if waiting:
        context.tell("; ".join(filter(None, (waiting, _answered(store, round)))))
    context.progress(asked - left, asked, f"answers of round {round}")


def _counts(store: Store, round: int) -> tuple[int, int]:
    """How many questions of a round there are, and how many nobody has answered; answers on the page count at once."""
    said = store.people.answer_counts()
    left = sum(query.id not in said for query in store.queries(round, open_only=True))
    return len(store.queries(round)), left


def _answered(store: Store, round: int) -> str:
    """How many are answered already, which is of interest where a run is begun again; nothing if none is."""
    asked, left = _counts(store, round)
    return f"{asked - left} of {asked} are answered" if left < asked else ""
