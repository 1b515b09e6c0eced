"""Everything known of one image: what was asked and why, what was answered, what the model said, and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.data.images import header_size
from labelwise.errors import DataError
from labelwise.reasons import sentence
from labelwise.records import Query, Sample, Target
from labelwise.report.maps import map_folder
from labelwise.results.candidates import kept_candidates
from labelwise.web.explored import Explored
from labelwise.web.served import Served

_MOST_BOXES = 2000  # of one target; more cannot be seen


def details(explored: Explored, id: str) -> dict[str, Any]:
    """What is known of an image, as plain values. Raises DataError if there is no such image."""
    served = explored.served
    sample = served.sample(id)
    size = sample.size if all(sample.size) else header_size(sample.path) or (0, 0)
    found: dict[str, Any] = {
        "id": sample.id,
        "width": size[0],
        "height": size[1],
        "group": sample.group,
        "note": sample.note,
        "meta": dict(sample.meta),
        "tags": sorted(name for name, ids in served.tags().items() if id in ids),
        "there": sample.path.is_file(),
        "layers": [],
        "queries": [],
        "scores": [],
    }
    if isinstance(served, Served):
        found |= _of_run(served, sample)
    return found


def target_of(served: Served, id: str, layer: str) -> tuple[Sample, Target]:
    """The target of a layer: "truth", or "label", "proposal" or "asked" followed by ":" and the query's id.

    What was asked is a target without classes that mean anything. Raises DataError if there is no such layer.
    """
    sample = served.sample(id)
    kind, _, name = layer.partition(":")
    if kind == "truth" and sample.target is not None:
        return sample, sample.target
    query = next((q for q in _queries(served, id) if q.id == name), None)
    if query is not None:
        answer = served.store.annotations().get(query.id)
        target = {
            "label": None if answer is None else answer.target,
            "proposal": query.proposal,
            "asked": _asked(query),
        }.get(kind)
        if target is not None:
            return sample, target
    raise DataError(f"no layer {layer!r:.80} of this image")


def score_map(served: Served, id: str, round: int) -> Path:
    """The picture of an image's score map in a round. Raises DataError where none was drawn."""
    path = map_folder(served.folder, round) / f"{served.sample(id).content}.png"
    if not path.is_file():
        raise DataError(
            "no score map of this image was drawn in this round; 'pictures' in the configuration draws them"
        )
    return path


def _queries(served: Served, id: str) -> list[Query]:
    return [q for q in served.store.queries() if q.sample_id == id]


def _asked(query: Query) -> Target | None:
    if query.geometry is None or not len(query.geometry):
        return None
    shape = query.geometry[:, :2] if query.geometry.shape[1] == 3 else query.geometry
    codes = np.zeros(len(shape), np.int32) if query.geometry.shape[1] == 3 else None
    return Target(("asked",) if codes is not None else ("asked",) * len(shape), shape, codes)


def _of_run(served: Served, sample: Sample) -> dict[str, Any]:
    store = served.store
    answers = store.annotations()
    layers = [] if sample.target is None else [_layer("truth", "true annotation", sample.target)]
    queries = []
    for query in _queries(served, sample.id):
        answer = answers.get(query.id)
        target = None if answer is None else answer.target
        when = f"round {query.round}"
        layers += [] if target is None else [_layer(f"label:{query.id}", f"annotation, {when}", target)]
        layers += (
            [] if query.proposal is None else [_layer(f"proposal:{query.id}", f"prediction, {when}", query.proposal)]
        )
        asked = _asked(query)
        layers += [] if asked is None else [_layer(f"asked:{query.id}", f"asked, {when}", asked)]
        queries.append(
            {
                "id": query.id,
                "round": query.round,
                "rank": query.rank,
                "unit": query.unit,
                "purpose": query.purpose,
                "reason": sentence(query.reason),
                "proposal": _named(query.proposal),
                "label": _named(target),
                "state": "open" if answer is None else "skipped" if answer.skipped else "labelled",
                "annotator": "" if answer is None else answer.annotator,
                "seconds": None if answer is None else answer.seconds,
            }
        )
    return {
        "split": served.splits.get(sample.id, ""),
        "truth": _named(sample.target),
        "layers": layers,
        "queries": queries,
        "scores": _scores(served, sample.id),
        "maps": _maps(served, sample),
    }


def _named(target: Target | None) -> str:
    """A target in a few words: its class, or how many of which."""
    if target is None:
        return ""
    if target.geometry is None and target.mask is None:
        return ", ".join(target.classes)
    if target.mask is not None:
        return "a mask"
    if target.codes is not None or target.geometry is None:
        return f"{len(target.codes) if target.codes is not None else 0:,} pixels"
    counts: dict[str, int] = {}
    for name in target.classes:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"


def _layer(name: str, title: str, target: Target) -> dict[str, Any]:
    """What can be drawn over the image: boxes as numbers; pixels and masks as a picture to ask for."""
    found: dict[str, Any] = {"name": name, "title": title, "classes": list(dict.fromkeys(target.classes))}
    if target.mask is None and target.geometry is not None and target.codes is None and target.geometry.shape[1] == 4:
        boxes: Sequence[Any] = np.asarray(target.geometry[:_MOST_BOXES], float).round(2).tolist()
        return found | {"kind": "boxes", "boxes": boxes, "names": list(target.classes[:_MOST_BOXES])}
    if target.mask is None and target.geometry is None:
        return found | {"kind": "class"}
    return found | {"kind": "picture"}


def _scores(served: Served, id: str) -> list[dict[str, Any]]:
    """What each round that did not ask the image yet thought of it."""
    classes, told = served.store.classes(), []
    for round, found in kept_candidates(served.folder).items():
        if id not in found.ids:
            continue
        at = found.ids.index(id)
        one: dict[str, Any] = {"round": round}
        if found.scores is not None and np.isfinite(found.scores[at]):
            one["score"] = float(found.scores[at])
            one["rank"] = int((found.scores > found.scores[at]).sum()) + 1
            one["of"] = len(found.ids)
        if found.predicted is not None and found.confidences is not None:
            index = int(found.predicted[at])
            one |= {
                "class": classes[index] if 0 <= index < len(classes) else "",
                "confidence": float(found.confidences[at]),
            }
        told.append(one)
    return told


def _maps(served: Served, sample: Sample) -> list[int]:
    """The rounds in which a score map of the image was drawn."""
    folders = sorted((served.folder / "rounds").glob("[0-9]*/maps"))
    return [int(f.parent.name) for f in folders if (f / f"{sample.content}.png").is_file()]
