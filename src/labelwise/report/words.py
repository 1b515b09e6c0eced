"""Names of metrics, and numbers as people read them."""

from __future__ import annotations

import math

TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "macro_recall": "Macro recall",
    "ece": "Calibration error",
    "nll": "Log loss",
    "miou": "Mean IoU",
    "pixel_accuracy": "Pixel accuracy",
    "class_accuracy": "Class accuracy",
    "map": "mAP",
    "map50": "mAP at IoU 0.5",
    "map75": "mAP at IoU 0.75",
    "map_small": "mAP, small",
    "map_medium": "mAP, medium",
    "map_large": "mAP, large",
}
SHARES = frozenset(TITLES) - {"nll"}
LOWER_IS_BETTER = frozenset({"ece", "nll", "loss", "brier"})
NOTHING = "–"


def title(metric: str) -> str:
    """A metric's name as shown; unknown ones with their underscores as spaces."""
    return TITLES.get(metric, metric.replace("_", " ").capitalize())


def phrase(metric: str) -> str:
    """A metric's name inside a sentence."""
    name = title(metric)
    return name if name[:2] == "mA" else name[:1].lower() + name[1:]


def lower_is_better(metric: str) -> bool:
    """True for errors and losses."""
    return metric in LOWER_IS_BETTER


def is_share(metric: str) -> bool:
    """True for metrics between 0 and 1, shown in per cent."""
    return metric in SHARES


def percent(value: float, digits: int = 1) -> str:
    """A share in per cent; a dash if it is not known."""
    return f"{100 * value:.{digits}f} %" if math.isfinite(value) else NOTHING


def amount(metric: str, value: float | None) -> str:
    """A metric's value: shares in per cent, others with three decimals; a dash if it is not known."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return percent(value) if is_share(metric) else f"{value:.3f}"


def gap(metric: str, value: float, *, signed: bool = True, digits: int = 1) -> str:
    """A difference or half width: percentage points for shares ("+2.3"), else two digits more; a dash if unknown."""
    if not math.isfinite(value):
        return NOTHING
    text = f"{100 * value:+.{digits}f}" if is_share(metric) else f"{value:+.{digits + 2}f}"
    return (text if signed else text.lstrip("+-")).replace("-", "−")


def whole(value: float) -> str:
    """A count with thin thousands: 2,100."""
    return f"{value:,.0f}" if math.isfinite(value) else NOTHING


def count(number: int, unit: str) -> str:
    """A number with its unit, "1 image", "2,100 images"; ``unit`` is a plural."""
    singular = unit[:-2] if unit.endswith("xes") else unit.removesuffix("s")
    return f"{number:,} {singular if number == 1 else unit}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"
