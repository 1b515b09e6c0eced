"""Why each pick was taken: facts by name, and one sentence for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwise.selection.compose import Inputs
from labelwise.selection.picks import (
    Array,
    Picks,
    Rows,
    Vectors,
    check_finite,
    chunks,
    descending,
    squared_distances,
)

Reason = dict[str, Any]

_BLOCK = 512
_GAIN = "gain_"  # begins the names of the facts that tell each part's share in the gain of a pick
# the facts that _told has words for; any other is shown as its name and value
_TOLD = frozenset(
    [
        *("drawn", "score", "score_rank", "score_of", "class", "probability", "distance", "nearest"),
        *(
            "coverage_gain",
            "typicality",
            "cluster_size",
            "cluster_labelled",
            "centre_distance",
            "gradient",
            "gradient_distance",
            "object",
            "object_class",
            "object_distance",
            "near_object",
        ),
        *("similarity", "query_distance", "typical", "chosen_by", "order", "each", "sought_class", "between"),
    ]
)


def explain(
    picks: Picks, inputs: Inputs, *, ids: Sequence[str] | None = None, classes: Sequence[str] | None = None
) -> list[Reason]:
    """Facts for each pick, as plain numbers and strings that fit into JSON.

    ``score`` with ``score_rank`` among ``score_of`` candidates (1 = highest, ties by lowest row); predicted ``class``
    (index) and its ``probability``; Euclidean ``distance`` to the ``nearest`` labelled or earlier picked row; and the
    selection's own facts, which win over these, with the ``object_class`` of the ``object`` they name. A fact
    that does not apply is left out.

    With ``ids`` (N image ids) and ``classes``, ``nearest`` and ``class`` are names; without, row and class numbers.
    """
    facts: dict[str, Array] = {}
    if inputs.scores is not None:
        facts |= _score_facts(inputs.scores, inputs.candidates, picks.rows)
    if inputs.probs is not None:
        probs = inputs.probs[picks.rows]
        facts |= {"class": probs.argmax(axis=1), "probability": probs.max(axis=1, initial=0.0)}
    if inputs.embeddings is not None and "nearest" not in picks.facts:
        facts |= _nearest(inputs.embeddings, picks.rows, inputs.labelled)
    facts |= picks.facts
    if "object" in facts and inputs.owners is not None and inputs.object_labels is not None:
        facts["object_class"] = _object_classes(facts["object"], picks.rows, inputs.owners, inputs.object_labels)
    reasons = [_plain({name: values[i] for name, values in facts.items()}) for i in range(len(picks.rows))]
    names = {"nearest": ids, "class": classes, "object_class": classes, "sought_class": classes}
    return [_named(reason, names) for reason in reasons]


def sentence(reason: Mapping[str, Any]) -> str:
    """One sentence for people from the facts of one pick."""
    others = [f"{name.replace('_', ' ')} {_show(value)}" for name, value in reason.items() if not _is_told(name)]
    parts = [*_told(reason), *others]
    text = "; ".join(parts) or "chosen without a score, a prediction or vectors"
    return f"{text[0].upper()}{text[1:]}."


def _is_told(name: str) -> bool:
    return name in _TOLD or name.startswith(_GAIN)


def _told(reason: Mapping[str, Any]) -> list[str]:
    parts = []
    if "chosen_by" in reason:
        parts.append(f"chosen by {reason['chosen_by']}")
    if gains := {name.removeprefix(_GAIN): value for name, value in reason.items() if name.startswith(_GAIN)}:
        parts.append(f"of the gain {', '.join(f'{share:.0%} from {name}' for name, share in gains.items())}")
    if "drawn" in reason:
        parts.append(f"drawn {reason['drawn']}")
    if "coverage_gain" in reason:
        parts.append(f"covers {reason['coverage_gain']:.2%} of what is uncertain in the pool")
    if "score" in reason:
        rank = f", rank {reason['score_rank']:,} of {reason['score_of']:,}" if "score_rank" in reason else ""
        parts.append(f"score {_show(reason['score'])}{rank}")
    if "class" in reason:
        parts.append(
            f"the model says {_name('class', reason['class'])} with probability {_show(reason['probability'])}"
        )
    if "sought_class" in reason:
        halved = f", halving {reason['between']:,} images between two labels" if reason.get("between", -1) > 0 else ""
        parts.append(f"at the border of {_name('class', reason['sought_class'])}{halved}")
    if "similarity" in reason:
        far = _show(reason["query_distance"])
        parts.append(f"similarity {_show(reason['similarity'])}, {far} from the nearest image asked for")
    if "typical" in reason:
        parts.append(f"typicality {_show(reason['typical'])} of 1")
    if "typicality" in reason:
        parts.append(f"typicality {_show(reason['typicality'])} in a cluster of {_cluster(reason)}")
    if "centre_distance" in reason:
        parts.append(f"{_show(reason['centre_distance'])} from the centre of a cluster of {_cluster(reason)}")
    if "gradient" in reason:
        far = f", {_show(reason['gradient_distance'])} from the nearest pick's" if "gradient_distance" in reason else ""
        parts.append(f"gradient of length {_show(reason['gradient'])}{far}")
    if "object_distance" in reason:
        where = f"object {reason['near_object']} of {_name('row', reason['nearest'])}"
        far = f"{_show(reason['object_distance'])} away from the nearest covered one, {where}"
        parts.append(f"{_object(reason)} is {far}")
    elif "object" in reason:
        parts.append(f"above all for its {_object(reason)}")
    if "distance" in reason:
        name = f", {_name('row', reason['nearest'])}" if "nearest" in reason else ""
        parts.append(f"{_show(reason['distance'])} away from the nearest labelled or picked image{name}")
    return parts


def _name(kind: str, value: Any) -> str:
    """A name as it is; a bare number with what it counts."""
    return value if isinstance(value, str) else f"{kind} {value}"


def _object(reason: Mapping[str, Any]) -> str:
    of_class = f" ({_name('class', reason['object_class'])})" if "object_class" in reason else ""
    return f"object {reason['object']}{of_class}"


def _cluster(reason: Mapping[str, Any]) -> str:
    labels = f" with {reason['cluster_labelled']} labelled" if "cluster_labelled" in reason else ""
    return f"{reason['cluster_size']:,}{labels}"


def _score_facts(scores: Array, candidates: Rows, rows: Rows) -> dict[str, Array]:
    ranks = np.empty(len(candidates), dtype=np.int64)
    ranks[descending(np.asarray(scores[candidates], dtype=np.float64))] = np.arange(1, len(candidates) + 1)
    return {
        "score": scores[rows],
        "score_rank": ranks[np.searchsorted(candidates, rows)],
        "score_of": np.full(len(rows), len(candidates)),
    }


def _object_classes(objects: Rows, rows: Rows, owners: Rows, labels: Rows) -> Rows:
    """Class of object number i of each row; -1 where none is named."""
    at = np.minimum(np.searchsorted(owners, rows) + objects, max(len(owners) - 1, 0))
    return np.where(objects >= 0, labels[at] if len(owners) else -1, -1)


def _nearest(embeddings: Array, rows: Rows, labelled: Rows) -> dict[str, Array]:
    """Distance to the nearest of labelled and earlier picks, and its row; NaN and -1 if there is none."""
    before = np.concatenate([labelled, rows])
    # only these rows: the others may lie on the disk
    vectors = check_finite(embeddings, before)[before].astype(np.float32, copy=False)
    distance, nearest = np.full(len(rows), np.nan), np.full(len(rows), -1, np.int64)
    for part in chunks(len(rows), _BLOCK):
        closest = _closest(vectors, len(labelled), part)
        for i, at in zip(range(part.start, part.stop), closest, strict=True):
            if at >= 0:
                nearest[i] = before[at]
                there = np.array([at])
                distance[i] = math.sqrt(squared_distances(vectors, there, vectors[len(labelled) + i])[0])
    return {"distance": distance, "nearest": nearest}


def _closest(vectors: Vectors, labelled: int, part: slice) -> list[int]:
    """For each pick of the part the position of its nearest: the labelled come first, then the picks in their order."""
    known = labelled + part.start
    points, others = vectors[known : labelled + part.stop].astype(np.float64), vectors[: labelled + part.stop]
    squared = np.einsum("ij,ij->i", others, others, dtype=np.float64) - 2 * points @ others.T
    return [int(np.argmin(line[: known + i])) if known + i else -1 for i, line in enumerate(squared)]


def _plain(facts: Mapping[str, Any]) -> Reason:
    """Python numbers and strings; what does not apply (NaN, or no nearest row) left out."""
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in facts.items()}
    missing = {name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)}
    missing |= {name for name in ("nearest", "object", "object_class", "near_object") if values.get(name, 0) == -1}
    return {name: value for name, value in values.items() if name not in missing}


def _named(reason: Reason, names: Mapping[str, Sequence[str] | None]) -> Reason:
    """Numbers that stand for an image or a class, replaced by its name where there are names."""
    found = {key: known[reason[key]] for key, known in names.items() if known is not None and key in reason}
    return {**reason, **found}


def _show(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
