"""Checks of what finds boxes: detectors that learn, and those that know already."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from labelwise.data import coco
from labelwise.models import Model, Place, Plan, knows_already
from labelwise.records import Labelled, Prediction, Sample, Target
from labelwise.testing.learning import _check_facts, _check_no_pickle, as_predicted
from labelwise.testing.making import make_boxes, quiet
from labelwise.testing.verdicts import require

SURE = 5  # of this many boxes of an image it is asked that they come again


def check_detection_model(make: Callable[[], Model], folder: Path, *, learns: bool = True) -> None:
    """A detector keeps the seam: boxes inside the picture with labels, confidences and, where it has them, the
    probabilities of all classes and vectors; the same alone, in a batch, from a checkpoint and in another process.

    ``make`` gives a new model each time; ``folder`` must be empty. Trains a few times on 8 pictures of 64 x 48 pixels,
    some without box. With ``learns`` False nothing is trained: ``fit`` gets no labels, only the classes red and green
    (a zero-shot detector).
    """
    listing = coco.read(make_boxes(folder / "data"))
    samples = [replace(s, content=f"{i:032x}", size=(64, 48)) for i, s in enumerate(listing.samples)]
    names = listing.classes
    labelled = [Labelled(s, s.target) for s in samples if s.target is not None]
    (folder / "run").mkdir()
    model, other = make(), make()
    _check_facts(model, "boxes")
    require("detect" in model.tasks, f"tasks: expected detect, found {set(model.tasks)}")
    for each in (model, other):
        each.prepare(samples, [], place=Place(folder / "run", folder / "cache", 1), progress=quiet)
    if not learns:
        require(knows_already(model), "expected an attribute needs_labels = False")
        known = model.fit([], [], out=folder / "known", start=None, plan=Plan(names, 0), seed=3, progress=quiet)
        _check_no_pickle(known)
        _check_found(model, other, known, samples, len(names))
        return

    def fit(model: Model, train: Sequence[Labelled], out: str, start: Path | None = None, classes: int = 2) -> Path:
        plan, path = Plan(names[:classes], 0), folder / out
        val = labelled[6:] if model.validation and classes == len(names) else []
        got = model.fit(train, val, out=path, start=start, plan=plan, seed=3, progress=quiet)
        require(got == path and path.exists(), f"expected fit to write and return {path}, found {got}")
        return got

    checkpoint = fit(model, labelled[:6], "first")
    _check_no_pickle(checkpoint)
    whole = _check_found(model, other, checkpoint, samples, len(names))
    second = _found(other, fit(other, labelled[:6], "second"), samples, len(names))
    _require_equal(second, whole, "two trainings with one seed", 1e-2)
    _found(other, fit(other, labelled[:1], "nothing"), samples, len(names))  # a single image, without box
    one = fit(other, [_of_class(x, names[0]) for x in labelled[:4]], "one", classes=1)
    _found(other, one, samples, 1)
    grown = fit(other, labelled[:4], "grown", start=one if other.start != "scratch" else None)
    _found(other, grown, samples, len(names))


def _check_found(
    model: Model, other: Model, checkpoint: Path | None, samples: Sequence[Sample], classes: int
) -> list[Prediction]:
    whole = _found(model, checkpoint, samples, classes)
    alone = [_found(model, checkpoint, [s], classes)[0] for s in samples[:3]]
    _require_equal(alone, whole[:3], "an image alone and in a batch", 1e-3)
    for copy, how in ((other, "a new object"), (pickle.loads(pickle.dumps(model)), "a pickled copy")):
        _require_equal(_found(copy, checkpoint, samples, classes), whole, f"the model and {how}", 1e-4)
    return whole


def _found(model: Model, checkpoint: Path | None, samples: Sequence[Sample], classes: int) -> list[Prediction]:
    want = frozenset(model.provides & {"boxes", "probs", "objects"})
    found = as_predicted(model, checkpoint, samples, want)
    require([p.id for p in found] == [s.id for s in samples], "expected predictions in the order of the samples")
    widths = set()
    for sample, p in zip(samples, found, strict=True):
        require(
            p.boxes is not None and p.labels is not None and p.confidences is not None,
            f"expected boxes, labels and confidences for {p.id}, nothing found or not",
        )
        assert p.boxes is not None
        assert p.labels is not None
        edges = np.array([*sample.size, *sample.size])
        inside = bool((p.boxes >= -0.5).all() and (p.boxes <= edges + 0.5).all())
        require(inside, f"expected boxes of {p.id} inside the picture of {sample.size} pixels")
        require(not len(p.labels) or p.labels.max() < classes, f"expected labels of {classes} classes for {p.id}")
        if "probs" in want:
            shape = None if p.probs is None else p.probs.shape
            require(shape == (len(p.boxes), classes), f"expected probs ({len(p.boxes)}, {classes}), found {shape}")
        if "objects" in want:
            shape = None if p.embedding is None else p.embedding.shape
            require(
                shape is not None and len(shape) == 2 and shape[0] == len(p.boxes),
                f"expected a vector a box, found {shape}",
            )
            widths.add(shape[1] if shape else 0)
    require(len(widths) <= 1, f"expected vectors of one length for all boxes, found {sorted(widths)}")
    return found


def _of_class(item: Labelled, name: str) -> Labelled:
    """A labelled image with its boxes of one class only."""
    target = item.target
    assert target.geometry is not None
    keep = [i for i, n in enumerate(target.classes) if n == name]
    return Labelled(item.sample, Target((name,) * len(keep), target.geometry[keep]))


def _require_equal(one: Sequence[Prediction], two: Sequence[Prediction], what: str, atol: float) -> None:
    """The surest boxes of each image have the same confidences; rounding may change the order of equal ones."""
    for a, b in zip(one, two, strict=True):
        assert a.confidences is not None
        assert b.confidences is not None
        x, y = (np.sort(c.astype(np.float64))[::-1][:SURE] for c in (a.confidences, b.confidences))
        same = len(x) == len(y) and bool(np.allclose(x, y, atol=atol))
        require(same, f"{what}: confidences of {a.id} differ, {x.round(4).tolist()} and {y.round(4).tolist()}")
