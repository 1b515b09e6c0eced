"""Checks of what learns: heads, and models that classify or segment."""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from labelwise.data import image_masks
from labelwise.data.masks import points_of, target_mask
from labelwise.models import Model, Place, Plan, Want
from labelwise.models.heads import Head
from labelwise.records import Labelled, Prediction, Sample, Target, Task
from labelwise.testing.making import FIELDS, make_images, make_masks, quiet
from labelwise.testing.verdicts import require


def check_head(make: Callable[[], Head]) -> None:
    """A head's state is plain arrays, its logits finite with one column per class, the same twice."""
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        labels = np.arange(24) % classes
        features = (rng.normal(size=(24, 5)) + 3 * np.eye(5)[labels]).astype(np.float32)
        head, again = make(), make()
        state, same = head.fit(features, labels, seed=1), again.fit(features, labels, seed=1)
        for name, value in state.items():
            require(isinstance(value, np.ndarray) and value.dtype != object, f"expected state {name} to be an array")
            require(np.array_equal(value, same[name]), f"expected the same {name} twice from one seed")
        logits = head.logits(state, features)
        require(logits.shape == (24, classes), f"expected logits (24, {classes}), found {logits.shape}")
        require(bool(np.isfinite(logits).all()), "expected finite logits")
        right = float((logits.argmax(axis=1) == labels).mean())
        require(right > 0.9, f"expected classes far apart to be learnt, found {right:.2f} of the training images right")
        if head.dropout:
            dropped = head.logits(state, features, np.zeros(5, np.float32))
            require(np.allclose(dropped, dropped[0]), "expected equal logits where all inputs are dropped")


def check_model(make: Callable[[], Model], folder: Path, *, classes: int = 2) -> None:
    """A classification model keeps the seam: order, shapes, probabilities, checkpoints that reload, pickling, seeds.

    ``make`` gives a new model each time; ``folder`` must be empty. Trains a few times on 12 small pictures.
    """
    samples = make_images(folder / "images", 12, classes=classes)
    labelled = [Labelled(s, s.target) for s in samples if s.target is not None]
    names = (*sorted({s.target.classes[0] for s in samples if s.target}), "unseen")
    (folder / "run").mkdir()
    place = Place(folder / "run", folder / "cache", 1)
    model = make()
    _check_facts(model)
    model.prepare(samples[:8], samples[8:], place=place, progress=quiet)
    model.prepare(samples[:8], samples[8:], place=place, progress=quiet)
    if "embeddings" in model.provides:
        _predicted(model, None, samples, frozenset({"embeddings"}), 0)

    def fit(model: Model, out: str, count: int, start: Path | None = None, names: tuple[str, ...] = names) -> Path:
        path = folder / out
        plan = Plan(names, 0)
        val = [x for x in labelled[8:] if model.validation and x.target.classes[0] in names]
        got = model.fit(labelled[:count], val, out=path, start=start, plan=plan, seed=3, progress=quiet)
        require(got == path and path.exists(), f"expected fit to write and return {path}, found {got}")
        return got

    checkpoint = fit(model, "first", 8)
    _check_no_pickle(checkpoint)
    want = frozenset(model.provides & set(FIELDS))
    whole = _predicted(model, checkpoint, samples, want, len(names))
    alone = [_predicted(model, checkpoint, [s], want, len(names))[0] for s in samples[:3]]
    _require_equal(alone, whole[:3], want, "an image alone and in a batch", 1e-4)
    fresh = make()
    fresh.prepare(samples[:8], samples[8:], place=place, progress=quiet)
    for other, how in ((fresh, "a new object"), (pickle.loads(pickle.dumps(model)), "a pickled copy")):
        _require_equal(
            _predicted(other, checkpoint, samples, want, len(names)), whole, want, f"the model and {how}", 1e-5
        )
    second = _predicted(fresh, fit(fresh, "second", 8), samples, want, len(names))
    _require_equal(second, whole, want, "two trainings with one seed", 1e-4)
    one = fit(fresh, "one", 1, names=names[:1])  # a single image of a single class is a beginning
    _predicted(fresh, one, samples, want, 1)
    grown = fit(fresh, "grown", 8, start=one if fresh.start != "scratch" else None)
    _predicted(fresh, grown, samples, want, len(names))


def check_segmentation_model(make: Callable[[], Model], folder: Path) -> None:
    """A segmentation model keeps the seam: it learns from sparse pixels and from masks, and gives maps of the picture's
    size that do not depend on the batch, the process or the training's luck.

    ``make`` gives a new model each time; ``folder`` must be empty. Trains three times on 6 small pictures.
    """
    listing = image_masks.read(make_masks(folder / "data", 6))
    samples = [replace(s, content=f"{i:032x}", size=(48, 32)) for i, s in enumerate(listing.samples)]
    names = listing.classes
    dense = [Labelled(s, s.target) for s in samples if s.target is not None]
    sparse = [Labelled(x.sample, _some_pixels(x.target, names, i)) for i, x in enumerate(dense)]
    (folder / "run").mkdir()
    model, other = make(), make()
    for each in (model, other):
        each.prepare(samples, [], place=Place(folder / "run", folder / "cache", 1), progress=quiet)

    def fit(model: Model, train: Sequence[Labelled], out: str) -> Path:
        return model.fit(train, [], out=folder / out, start=None, plan=Plan(names, 0), seed=3, progress=quiet)

    def maps(model: Model, checkpoint: Path, samples: Sequence[Sample]) -> list[NDArray[Any]]:
        found = as_predicted(model, checkpoint, samples, frozenset({"probs"}))
        require([p.id for p in found] == [s.id for s in samples], "expected a prediction for each sample, in order")
        for p in found:
            shape = None if p.probs is None else p.probs.shape
            require(shape == (32, 48, len(names)), f"expected probs of shape (32, 48, {len(names)}), found {shape}")
            require(np.allclose(np.asarray(p.probs).sum(axis=-1), 1, atol=1e-3), "expected probs that sum to 1")
        return [np.asarray(p.probs) for p in found]

    checkpoint = fit(model, sparse, "first")
    _check_no_pickle(checkpoint)
    whole = maps(model, checkpoint, samples)
    alone = maps(model, checkpoint, samples[1:2])[0]
    require(np.allclose(alone, whole[1], atol=1e-4), "expected the same map alone and in a batch")
    for copy in (other, pickle.loads(pickle.dumps(model))):
        require(np.allclose(maps(copy, checkpoint, samples), whole, atol=1e-5), "expected the same maps elsewhere")
    again = maps(other, fit(other, sparse, "second"), samples)
    require(np.allclose(again, whole, atol=1e-3), "expected the same maps from two trainings with one seed")
    maps(other, fit(other, [*dense[:3], *sparse[3:]], "mixed"), samples)
    if "embeddings" in model.provides:
        found = as_predicted(model, checkpoint, samples[:2], frozenset({"embeddings"}))
        shapes = {None if p.embedding is None else p.embedding.shape for p in found}
        flat = len(shapes) == 1 and len(next(iter(shapes)) or ()) == 3
        require(flat, f"expected embeddings of one shape (h, w, d) for images of one size, found {shapes}")


def _some_pixels(target: Target, classes: tuple[str, ...], seed: int) -> Target:
    """A tenth of a mask's pixels."""
    mask = target_mask(target, classes, (48, 32))
    return points_of(mask, np.random.default_rng(seed).random(mask.shape) < 0.1, classes)


def _check_facts(model: Model, least: str = "probs") -> None:
    require(bool(model.tasks) and model.tasks <= set(get_args(Task)), f"tasks: found {set(model.tasks)}")
    known = {*FIELDS, "boxes", "keypoints", "objects"}
    require(least in model.provides and model.provides <= known, f"provides: found {set(model.provides)}")
    require(0 <= model.validation < 1, f"validation: expected a share, found {model.validation}")
    require(model.batch_size >= 1, f"batch_size: expected 1 or more, found {model.batch_size}")
    require(model.start in ("scratch", "previous", "continue"), f"start: found {model.start!r}")


def as_predicted(model: Model, checkpoint: Path | None, samples: Sequence[Sample], want: Want) -> list[Prediction]:
    """All predictions; between two of them torch must be as it was, since whoever asks may compute in between."""
    found = []
    for prediction in model.predict(checkpoint, samples, want=want):
        if (torch := sys.modules.get("torch")) is not None:
            free = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            require(free, "expected predictions to be given outside of torch's inference mode")
        found.append(prediction)
    return found


def _predicted(
    model: Model, checkpoint: Path | None, samples: Sequence[Sample], want: Want, classes: int
) -> list[Prediction]:
    found = as_predicted(model, checkpoint, samples, want)
    require([p.id for p in found] == [s.id for s in samples], "expected predictions in the order of the samples")
    for name in want:
        values = [getattr(p, FIELDS[name]) for p in found]
        require(all(v is not None for v in values), f"{name} was wanted, but is missing")
        require(len({v.shape for v in values}) == 1, f"expected {name} of one shape for all images")
        shape = values[0].shape
        if name == "embeddings":
            require(len(shape) == 1, f"expected embeddings of shape (d,), found {shape}")
        else:
            axes = 1 if name == "probs" else 2
            require(
                len(shape) == axes and shape[-1] == classes, f"expected {name} with {classes} classes, found {shape}"
            )
            good = all((v >= 0).all() and np.allclose(v.sum(axis=-1), 1, atol=1e-4) for v in values)
            require(good, f"expected {name} that are not negative and sum to 1")
    return found


def _require_equal(one: Sequence[Prediction], two: Sequence[Prediction], want: Want, what: str, atol: float) -> None:
    for a, b in zip(one, two, strict=True):
        for name in want:
            x, y = getattr(a, FIELDS[name]), getattr(b, FIELDS[name])
            gap = float(np.abs(x - y).max())
            require(gap <= atol * max(1.0, float(np.abs(y).max())), f"{what}: {name} of {a.id} differ by {gap:.2g}")


def _check_no_pickle(checkpoint: Path) -> None:
    for path in [checkpoint, *checkpoint.rglob("*")]:
        if path.is_file():
            packed = zipfile.is_zipfile(path) and any(n.endswith(".pkl") for n in zipfile.ZipFile(path).namelist())
            raw = path.read_bytes()[:1] == b"\x80" and path.suffix != ".safetensors"
            require(not packed and not raw, f"{path.name} is a pickle: a checkpoint holds arrays and text only")
