"""What the room of the rounds shows, as plain data: where the run stands, and what its figures say."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict
from typing import Any

from labelwise.advice import Outlook, outlook
from labelwise.evaluate.effort import Effort, total
from labelwise.ownership import owner
from labelwise.progress import read_progress
from labelwise.report import words
from labelwise.report.fill import run_report
from labelwise.report.outlook import ahead, discovery_text, labels_left, needed_text, sentences
from labelwise.results import RunResult, read_run
from labelwise.store import STEPS
from labelwise.web.served import Served

_Z = 1.96
_CURVE = 40  # points of the rarefaction curve


class Followed:
    """A run that is looked at again and again: read anew only when its store has changed."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[str, Any]] = {}

    @property
    def version(self) -> str:
        """Another text after each change of the run."""
        return self.served.store.changes()

    def result(self) -> RunResult:
        """The run as it stands."""
        return self._once("result", "", lambda: read_run(self.served.folder, self.served.store))  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        """Where the run stands; quick, to be asked every second."""
        store, config = self.served.store, self.served.config
        facts = self._once("state", "", self._stored)
        progress = read_progress(self.served.folder)
        return {
            **facts,
            "name": config.name,
            "task": config.task,
            "asks": config.annotator.name,
            "state": store.setting("state", "unfinished"),
            "message": store.setting("message", "in its first call"),
            "at_work": owner(self.served.folder) is not None,
            "progress": None if progress is None else asdict(progress),
            "version": self.version,
        }

    def _stored(self) -> dict[str, Any]:
        store = self.served.store
        done: dict[int, list[str]] = {}
        for step in store.steps():
            if step.name in STEPS:
                done.setdefault(step.round, []).append(step.name)
        last = max(done, default=0)
        steps = done.get(last, [])
        if len(steps) == len(STEPS) and store.setting("state") != "finished":
            last, steps = last + 1, []
        asked = store.queries(last)
        # What people have said on the page counts as answered before the round is made of it.
        said = store.people.answer_counts()
        left = sum(query.id not in said for query in store.queries(last, open_only=True))
        return {
            "round": last,
            "rounds": self._rounds(),
            "steps": steps,
            "step": next((s for s in STEPS if s not in steps), None),
            "asked": len(asked),
            "open": left,
        }

    def _rounds(self) -> int:
        """How many rounds there will be: the loop knows it, which knows how many pixels or boxes the pool holds."""
        store, budget = self.served.store, self.served.config.budget
        told = store.setting("rounds")
        return int(told) if told else len(budget.cumulative(max(1, store.split_sizes().get("pool", 1))))

    def figures(self, target: float | None = None) -> dict[str, Any]:
        """What the run's figures say, and what they let expect."""
        return self._once("figures", str(target), lambda: _figures(self.result(), target))  # type: ignore[no-any-return]

    def report(self) -> str:
        """The run's report as a page of its own, as it would be written now."""
        return self._once("report", "", lambda: run_report(self.result()))  # type: ignore[no-any-return]

    def _once(self, what: str, how: str, make: Any) -> Any:
        """What was made before, if the run has not changed since."""
        version = f"{self.version} {how}"
        with self._lock:
            kept = self._kept.get(what)
        if kept is not None and kept[0] == version:
            return kept[1]
        made = make()
        with self._lock:
            self._kept[what] = version, made
        return made


def _figures(result: RunResult, target: float | None) -> dict[str, Any]:
    found = outlook(result, target)
    return {
        "metric": {"name": found.metric, "title": words.title(found.metric), "share": words.is_share(found.metric)},
        "unit": found.unit,
        "split": result.split,
        "advice": {"advice": found.advice, "reason": found.reason, "said": sentences(found)[1:]},
        "curve": _curve(result, found),
        "forecast": _forecast(found),
        "target": _target(found),
        "discovery": _discovery(found),
        "audited": None if found.audited is None else asdict(found.audited),
        "balance": _balance(result),
        "rounds": [_round(result, r) for r in result.rounds],
        "metrics": [{"name": m, "title": words.title(m), "share": words.is_share(m)} for m in result.metrics[:3]],
        "cost": _cost(result),
        "agreement": _agreement(result),
        "pool": result.split_sizes.get("pool", 0),
    }


def _curve(result: RunResult, found: Outlook) -> list[dict[str, Any]]:
    """The points of the learning curve; bounds are None where they are not known."""
    if found.curve is None:
        return []
    rounds = {result.labels(r): r for r in result.evaluations[result.split]}
    points = []
    for labels, value, error in zip(
        found.curve.labels.tolist(), found.curve.values.tolist(), found.errors.tolist(), strict=True
    ):
        known = math.isfinite(error)
        points.append(
            {
                "round": rounds.get(int(labels)),
                "labels": labels,
                "value": value,
                "low": max(0.0, value - _Z * error) if known else None,
                "high": min(1.0, value + _Z * error) if known else None,
            }
        )
    return points


def _forecast(found: Outlook) -> dict[str, Any] | None:
    if found.forecast is None or found.curve is None or found.gain is None:
        return None
    labels = found.forecast.last + found.step
    return {
        "line": ahead(found.curve, found.forecast, found.needed, labels_left(found)),
        "next": {"labels": labels, **asdict(found.forecast.at(labels))},
        "gain": asdict(found.gain),
        "level": found.forecast.level,
        "doubt": found.forecast.doubt,
    }


def _target(found: Outlook) -> dict[str, Any] | None:
    if found.target is None:
        return None
    told = None if found.needed is None else {k: _plain(v) for k, v in asdict(found.needed).items()}
    said = found.reason if found.needed is None else needed_text(found.needed, found.target, found.metric, found.unit)
    return {"figure": found.target, "needed": told, "said": said}


def _discovery(found: Outlook) -> dict[str, Any] | None:
    seen = found.discovery
    if seen is None or not seen.units:
        return None
    images, classes = seen.curve(_CURVE)
    return {
        "images": images.tolist(),
        "classes": classes.tolist(),
        "found": seen.found,
        "once": seen.once,
        "coverage": _plain(seen.coverage),
        "new": found.new_classes,
        "said": discovery_text(seen),
    }


def _balance(result: RunResult) -> list[dict[str, Any]]:
    """The labels of each class, and how well it is found, in the order of the classes."""
    counts = result.class_counts(max(result.rounds, default=0))
    rounds = result.evaluations[result.split]
    last = rounds[max(rounds)] if rounds else {}
    names = last.get("classes", [])
    recall = dict(zip(names, last.get("recall", last.get("ap", [])), strict=False))
    support = dict(zip(names, last.get("support", []), strict=False))
    return [
        {
            "name": name,
            "labels": counts.get(name, 0),
            "found": _plain(recall.get(name)),
            "support": support.get(name),
        }
        for name in dict.fromkeys([*result.classes, *counts])
    ]


def _round(result: RunResult, round: int) -> dict[str, Any]:
    scores = result.evaluations[result.split].get(round, {})
    asked = result.queries.get(round, [])
    done = result.effort(round)
    return {
        "round": round,
        "labels": result.labels(round),
        "asked": len(asked),
        "answered": sum(q.id in result.annotations for q in asked),
        "skipped": sum(q.id in result.annotations and result.annotations[q.id].target is None for q in asked),
        "metrics": {m: _plain(scores.get(m)) for m in result.metrics[:3]},
        "people": _people(done),
        "machine": sum(result.seconds.get(round, {}).values()),
    }


def _people(done: Effort) -> dict[str, Any]:
    return {
        "answers": done.answers,
        "proposed": done.proposed,
        "accepted": done.accepted,
        "corrections": done.corrections if done.proposed else None,
        "seconds": done.seconds if done.timed else None,
        "each": done.seconds / done.timed if done.timed else None,
    }


def _cost(result: RunResult) -> dict[str, Any]:
    """What the run has cost so far: labels, answers, corrections, seconds of people and of the machine."""
    done = total(result.effort(r) for r in result.rounds)
    machine = sum(sum(steps.values()) for steps in result.seconds.values())
    # What was said where nothing was proposed corrects nothing.
    proposed = total(effort for r in result.rounds if (effort := result.effort(r)).proposed)
    people = {**_people(done), "corrections": proposed.corrections}
    return {"labels": result.labels(max(result.rounds, default=0)), **people, "machine": machine}


def _agreement(result: RunResult) -> dict[str, Any] | None:
    """How far people who answered the same queries agree; None where nobody did."""
    if not result.shared:
        return None
    found = result.agreement
    figures = {name: _plain(getattr(found, name)) for name in ("same", "kappa", "alpha", "overlap")}
    return {"queries": found.queries, "annotators": list(found.annotators), **figures}


def _plain(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
