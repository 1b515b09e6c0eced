"""Plain sentences about what a comparison shows, and about what it does not show."""

from __future__ import annotations

import math

from labelwise.curves import Difference, Saved
from labelwise.report import words

ENOUGH_SEEDS = 5


def saving(arm: str, baseline: str, metric: str, saved: Saved, unit: str = "labels") -> str:
    """One to three sentences: how many labels an arm needs for the baseline's quality, and what may be concluded.

    ``unit`` is what is counted, in the plural: labels, boxes or images.
    """
    quality = f"{words.phrase(metric)} of {words.amount(metric, saved.quality)}"
    goal = f"{baseline}’s {quality} at {words.whole(saved.of)} {unit}"
    if math.isinf(saved.needed):
        return _join(f"{arm} does not reach {goal} within its budget.", _unreached(saved), _seeds(saved))
    most = "at most " if saved.at_start else ""
    bounds = f" (95 % interval {ratio_range(saved)})" if math.isfinite(saved.low) else ""
    start = f"{arm} reaches {goal} with {most}{words.whole(saved.needed)} {unit}: {most}{ratio(saved.ratio)}{bounds}."
    return _join(start, _verdict(arm, baseline, saved, unit), _seeds(saved))


def ratio(value: float) -> str:
    """A ratio of labels in per cent; "not reached" for infinity."""
    return "not reached" if math.isinf(value) else words.percent(value, 0)


def ratio_range(saved: Saved) -> str:
    """The interval of a ratio: "58–66 %", "80 % to not reached", a dash for one seed."""
    if math.isnan(saved.low):
        return words.NOTHING
    if math.isinf(saved.high):
        return "not reached" if math.isinf(saved.low) else f"{ratio(saved.low)} to not reached"
    return f"{100 * saved.low:.0f}–{100 * saved.high:.0f} %"


def end_difference(metric: str, difference: Difference) -> str:
    """The paired difference at the end with its standard error: "+2.3 (se 0.4)"."""
    if math.isnan(difference.standard_error):
        return words.gap(metric, difference.mean)
    error = words.gap(metric, difference.standard_error, signed=False, digits=2)
    return f"{words.gap(metric, difference.mean)} (se {error})"


def _verdict(arm: str, baseline: str, saved: Saved, unit: str) -> str:
    if not math.isfinite(saved.low) or saved.seeds < ENOUGH_SEEDS:
        return ""
    if saved.low <= 1 <= saved.high:
        return f"The interval includes 100 %: that {arm} needs fewer {unit} than {baseline} is not shown."
    return f"{arm} needs more {unit} than {baseline}." if saved.low > 1 else ""


def _unreached(saved: Saved) -> str:
    if math.isnan(saved.missed) or saved.seeds < ENOUGH_SEEDS:
        return ""
    if saved.missed < 0.975:
        return f"Chance may play a part: it does in {words.percent(1 - saved.missed, 0)} of resampled sets of seeds."
    return ""


def _seeds(saved: Saved) -> str:
    if saved.seeds == 1:
        return "From one seed nothing can be concluded: no interval can be given."
    if saved.seeds < ENOUGH_SEEDS:
        return f"Only {saved.seeds} seeds: too few for a conclusion (at least {ENOUGH_SEEDS}, better 10)."
    return "" if saved.paired else "The arms ran with different seeds, so they are compared unpaired."


def _join(*sentences: str) -> str:
    return " ".join(s for s in sentences if s)
