"""Places, sequences and groups of pictures from cameras that stand somewhere: what belongs together, and what is kept
on one side of a split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labelwise.data.listing import Camera, group_rule, ungrouped
from labelwise.data.times import seconds
from labelwise.errors import DataError
from labelwise.records import Problem, Sample

MINUTES = 1.0  # a longer pause begins another sequence
GROUPS = ("location", "sequence")
# Folders that cameras and memory cards make themselves: DCIM, 100RECNX, 101EK113, 100_BTCF.
_MADE_BY_CAMERAS = re.compile(r"DCIM|\d{3}[A-Z0-9_]{5}", re.IGNORECASE)


def placed(
    samples: Iterable[Sample],
    *,
    location: str | int | None = "folder",
    minutes: float = MINUTES,
    group: str | None = "location",
    square: bool = True,
) -> tuple[list[Sample], list[Problem], Camera]:
    """The samples with ``meta.location`` by ``location_rule``, and what is settled later, once times are known.

    ``group``: "location", "sequence", or as in ``group_rule``. Raises DataError for options that cannot be used, or a
    rule that fits no sample.
    """
    if not 0 <= minutes < float("inf"):
        raise DataError(f"sequence_minutes: expected 0 or more minutes, found {minutes}; 1 is usual")
    where, grouped = location_rule(location), group_rule(None if group in GROUPS else group)
    found, lost = [], []
    for sample in samples:
        place = where(sample.id, sample.meta)
        meta = sample.meta
        if place is None:
            lost.append(sample.id)
            meta = {name: value for name, value in meta.items() if name != "location"}
        elif meta.get("location") != place:
            meta = {**meta, "location": place}
        together = place if group == "location" else sample.group or grouped(sample.id)
        found.append(replace(sample, meta=meta, group=together))
    problems = [] if group in GROUPS else list(ungrouped(found, group))
    if lost and len(lost) == len(found) and location not in (None, "folder"):
        raise DataError(f"location: expected {location!r} to fit, found none that does, e.g. {lost[0]!r}; mend it")
    if lost and len(lost) < len(found):
        message = f"the location of {len(lost):,} of {len(found):,} is not known, e.g. {lost[0]!r}"
        problems.append(Problem(lost[0], "no_location", message))
    return found, problems, Camera(minutes, group if group in GROUPS else None, square)


def placed_if(
    samples: list[Sample], location: str | int | None, minutes: float | None, group: str | None
) -> tuple[list[Sample], list[Problem], Camera | None]:
    """As ``placed`` where a reader of any pictures was given a location or minutes; else only groups."""
    if location is None and minutes is None and group not in GROUPS:
        rule = group_rule(group)
        found = [replace(s, group=s.group or rule(s.id)) for s in samples] if group is not None else samples
        return found, list(ungrouped(found, group)), None
    chosen = MINUTES if minutes is None else minutes
    kept = None if any(sample.group is not None for sample in samples) else "location"  # groups that the data name
    return placed(samples, location=location or "folder", minutes=chosen, group=group or kept)


def location_rule(location: str | int | None) -> Callable[[str, Mapping[str, Any]], str | None]:
    """From the option ``location`` make the function (id, meta) -> location.

    "folder": the folder of the picture, without the folders that cameras make below it (DCIM, 100RECNX); a number: that
    folder of the path, 1 the first; the name of a column of the metadata; or a regular expression with one group in
    parentheses, searched in the id. None: what the data say. Raises DataError for an expression that cannot be used.
    """
    if location is None:
        return lambda id, meta: _text(meta.get("location"))
    if location == "folder":
        return lambda id, meta: _text(meta.get("location")) or camera_folder(id)
    if isinstance(location, int) or location.isdecimal():
        level = int(location)
        if level < 1:
            raise DataError(f"location: expected a folder of the path, 1 for the first, found {level}; mend it")
        return lambda id, meta: _level(id, level)
    if "(" not in location:
        return lambda id, meta: _text(meta.get(location))
    try:
        pattern = re.compile(location)
    except re.error as error:
        raise DataError(f"location: expected an expression that can be read, found {location!r} ({error})") from None
    if pattern.groups != 1:
        raise DataError(f"location: expected one group in parentheses, found {pattern.groups} in {location!r}; mend it")

    def search(id: str, _: Mapping[str, Any]) -> str | None:
        found = pattern.search(id)
        return found[1] if found else None

    return search


def camera_folder(id: str) -> str | None:
    """The folder of a picture without what cameras and memory cards make below it; None in the root."""
    parts = id.split("/")[:-1]
    while parts and _MADE_BY_CAMERAS.fullmatch(parts[-1]):
        parts.pop()
    return "/".join(parts) or None


def looks_made_by_camera(id: str) -> bool:
    """True if a folder of the path is one that cameras make."""
    return any(_MADE_BY_CAMERAS.fullmatch(part) for part in id.split("/")[:-1])


def settle(samples: Sequence[Sample], camera: Camera) -> tuple[list[Sample], list[Problem]]:
    """The samples with ``meta.sequence`` and their groups, in the same order, and what is worth a word.

    Sequences that the data name stay as they are; else pictures of a location (without one: of a folder) are one while
    no pause is longer than ``camera.minutes``; a picture without a time is a sequence of its own. The crops of one
    picture are always together. A named sequence that lies in several locations is one in each of them. Where
    "location" is to be the group but there is only one, sequences are (problem ``one_location``); pictures without a
    location are grouped by sequence as well.
    """
    names = _sequences(samples, camera.minutes)
    spread = _spread(samples, names)
    if spread:
        names = [f"{_place(s)} {n}" if n in spread else n for s, n in zip(samples, names, strict=True)]
    if camera.group is None:
        return [_with(s, name, s.group) for s, name in zip(samples, names, strict=True)], []
    places = {s.meta.get("location") for s in samples} - {None}
    by_place = camera.group == "location" and len(places) > 1
    groups = [str(p) if by_place and (p := s.meta.get("location")) is not None else n
              for s, n in zip(samples, names, strict=True)]  # fmt: skip
    problems = []
    if camera.group == "location" and not by_place and samples:
        found = f"only {next(iter(places))!r}" if places else "none"
        message = f"held out by sequence: expected two locations or more, found {found}; set location if there are more"
        problems.append(Problem(samples[0].id, "one_location", message))
    if spread:
        example = next(iter(spread))
        message = f"{len(spread):,} named sequences lie in several locations, e.g. {example!r}: counted apart in each"
        problems.append(Problem(samples[0].id, "sequence_in_two_places", message))
    return [_with(s, name, group) for s, name, group in zip(samples, names, groups, strict=True)], problems


def _with(sample: Sample, sequence: str, group: str | None) -> Sample:
    return replace(sample, group=group, meta={**sample.meta, "sequence": sequence})


def _sequences(samples: Sequence[Sample], minutes: float) -> list[str]:
    """The name of each sample's sequence."""
    names = [""] * len(samples)
    timed: dict[str, list[tuple[float, str, int]]] = defaultdict(list)
    for i, sample in enumerate(samples):
        place = _place(sample)
        named, taken = sample.meta.get("sequence"), sample.meta.get("taken")
        if named not in (None, ""):
            names[i] = str(named)
        elif isinstance(taken, str):
            timed[place].append((seconds(taken), taken, i))
        else:
            names[i] = str(sample.meta.get("file", sample.id))
    for place, found in timed.items():
        found.sort()
        last, name = float("-inf"), ""
        for moment, taken, i in found:
            if moment - last > 60 * minutes:
                name = f"{place} {taken}".strip()
            names[i], last = name, moment
    return names


def _place(sample: Sample) -> str:
    place = sample.meta.get("location")
    return str(place) if place is not None else sample.id.rpartition("/")[0]


def _spread(samples: Iterable[Sample], names: Iterable[str]) -> dict[str, None]:
    """The sequences that lie in several locations."""
    first: dict[str, object] = {}
    several: dict[str, None] = {}
    for sample, name in zip(samples, names, strict=True):
        place = sample.meta.get("location")
        if first.setdefault(name, place) != place:
            several[name] = None
    return several


def _text(value: object) -> str | None:
    return None if value in (None, "") else str(value)


def _level(id: str, level: int) -> str | None:
    parts = id.split("/")[:-1]
    return parts[level - 1] if len(parts) >= level else None
