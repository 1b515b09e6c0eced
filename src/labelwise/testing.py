"""For authors of plug-ins: checks that one keeps the rules of its seam, on small made data, and the fakes they use.

Each check raises AssertionError with one line that says what was expected and what was found.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.annotators import Annotator, Desk
from labelwise.engine import Engine, Work
from labelwise.errors import DataError, LabelwiseError
from labelwise.models import Model, Place, Plan, Progress, Want
from labelwise.models.heads import Head
from labelwise.presets import preset
from labelwise.records import Labelled, Prediction, Query, Sample, Target, Task
from labelwise.selection.compose import OBJECT_WORDS, SCORE_VOCABULARY, Inputs, Selector, bind, name_of, needs
from labelwise.strategies import Recipe, Strategy, assemble

COLOURS = {"blue": (40, 60, 200), "red": (200, 50, 40), "green": (40, 180, 60)}
FIELDS = {"probs": "probs", "samples": "samples", "embeddings": "embedding"}


def quiet(done: int, total: int, what: str) -> None:
    """A progress that says nothing."""


def make_images(folder: Path, count: int = 12, *, classes: int = 2, size: int = 32, seed: int = 0) -> list[Sample]:
    """Write ``count`` noisy PNGs of one colour, ``size`` x ``size`` pixels; returns them as samples, as the scan does.

    The class is the colour, in turn one of the first ``classes`` of blue, red and green.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for i in range(count):
        name = list(COLOURS)[i % classes]
        pixels = np.clip(rng.normal(COLOURS[name], 20, (size, size, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{i:03d}.png"
        Image.fromarray(pixels).save(path)
        content = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        samples.append(Sample(path.name, path, target=Target((name,)), content=content, size=(size, size)))
    return samples


def make_masks(folder: Path, count: int = 12, *, size: tuple[int, int] = (48, 32), seed: int = 0) -> Path:
    """Write ``count`` pictures of coloured rectangles with their masks, as the format images and masks has them.

    Classes: blue (the ground), red and green; the border of each rectangle is void. Folders ``images`` and ``masks``
    and ``classes.txt`` lie below ``folder``, which is returned; ``size`` is (width, height) in pixels.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(COLOURS), encoding="utf-8")
    for i in range(count):
        mask = np.zeros((height, width), np.uint8)
        for label in (1, 2):
            side = int(rng.integers(6, min(size) // 2))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            mask[y : y + side, x : x + side] = 255
            mask[y + 1 : y + side - 1, x + 1 : x + side - 1] = label
        colours = np.array(list(COLOURS.values()))[np.where(mask == 255, 0, mask)]
        pixels = np.clip(rng.normal(colours, 15), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i:03d}.png")
    return folder


def make_queries(samples: Sequence[Sample], round: int = 0) -> list[Query]:
    """A query for each sample, ranked in their order."""
    return [Query(f"{round:03d}-{i:05d}", round, i, s.id, reason={"drawn": "at random"}) for i, s in enumerate(samples)]


def make_inputs(n: int, *, rows: int = 30, labelled: int = 4, seed: int = 0) -> Inputs:
    """Everything a selection may ask for, over ``rows`` rows, some of them equal; labelled rows have no prediction."""
    rng = np.random.default_rng(seed)
    known = np.sort(rng.choice(rows, labelled, replace=False))
    candidates = np.setdiff1d(np.arange(rows), [*known, *range(0, rows, 7)])  # some rows are neither
    probs, scores = rng.dirichlet(np.ones(3), rows), rng.random(rows)
    embeddings = rng.normal(size=(rows, 5)).astype(np.float32)
    twins = candidates[: len(candidates) // 3]
    for values in (probs, scores, embeddings):
        values[twins] = values[candidates[0]]
    for values in (probs, scores):
        values[known] = np.nan
    labels, groups = rng.integers(0, 3, labelled), np.arange(rows) // 4 - 1
    owners = np.arange(rows).repeat(np.arange(rows) % 4)  # every fourth row has no object
    objects = rng.normal(size=(len(owners), 4)).astype(np.float32)
    objects[: len(objects) // 4] = objects[0]
    confidences = np.where(np.isin(owners, known), np.nan, rng.random(len(owners)))
    picker = np.random.default_rng(seed)
    empty = np.arange(rows) % 5 == 1
    metadata = {
        "width": rng.integers(100, 200, rows),
        "place": np.array(["lake", "wood", ""])[rng.integers(0, 3, rows)],
    }
    return Inputs(
        *(n, candidates, picker, known, labels, scores, probs, embeddings, groups, metadata),
        empty=empty,
        objects=objects,
        owners=owners,
        object_labels=rng.integers(-1, 3, len(owners)),
        object_scores=confidences,
    )


def check_score(function: Callable[..., Any], **options: Any) -> None:
    """A score gives one finite number per element, class axis last, whatever else is in the batch."""
    who = name_of(function)
    names = _accepted(lambda: needs(function, SCORE_VOCABULARY), who)
    _require(bool(names), f"{who}: expected a parameter named {' or '.join(SCORE_VOCABULARY)}, found none")
    if names & OBJECT_WORDS:
        _check_object_score(lambda **given: function(**given, **options), names, who)
        return
    rng = np.random.default_rng(0)
    passes = rng.dirichlet(np.full(4, 0.5), (5, 6)).astype(np.float32)
    passes[:, 0], passes[:, 1] = np.eye(4)[2], 0.25  # certain, and knowing nothing
    arrays = {"samples": passes, "probs": passes.mean(axis=0)}

    def score(change: Callable[[NDArray[Any], int], NDArray[Any]] = lambda a, axis: a) -> NDArray[Any]:
        given = {name: change(arrays[name], 1 if name == "samples" else 0) for name in names}
        kept = {name: array.copy() for name, array in given.items()}
        result = np.asarray(function(**given, **options))
        for name, array in given.items():
            _require(np.array_equal(array, kept[name]), f"{who}: expected {name} to stay as it is, but it was changed")
        return result

    whole = score()
    _require(whole.shape == (6,), f"{who}: expected one score for each of 6 images, found shape {whole.shape}")
    _require(bool(np.isfinite(whole).all()), f"{who}: expected finite scores, found {whole.tolist()}")
    _require(np.array_equal(whole, score()), f"{who}: expected the same scores twice from the same predictions")
    alone = np.concatenate([score(lambda a, axis, i=i: a.take([i], axis)) for i in range(6)])  # type: ignore[misc]
    _require(np.allclose(alone, whole, atol=1e-5), f"{who}: the score of an image depends on the batch it comes in")
    grid = score(lambda a, axis: a.reshape(*a.shape[:axis], 2, 3, a.shape[-1]))
    _require(
        grid.shape == (2, 3) and np.allclose(grid.reshape(-1), whole, atol=1e-5),
        f"{who}: expected (2, 3) scores for a (2, 3) grid, found shape {grid.shape}; the class axis is the last",
    )


def make_objects(count: int = 6, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """All that a score of objects may ask for: ``count`` boxes of one image of 100 x 100 pixels, of 4 classes."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 100, (count, 2, 2)).astype(np.float32)
    return {
        "boxes": np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1),
        "confidences": rng.random(count).astype(np.float32),
        "box_labels": rng.integers(0, 4, count),
        "keypoints": rng.random((count, 3, 3)).astype(np.float32),
        "probs": rng.dirichlet(np.full(4, 0.5), count).astype(np.float32),
        "samples": rng.dirichlet(np.full(4, 0.5), (5, count)).astype(np.float32),
    }


def _check_object_score(function: Callable[..., Any], names: frozenset[str], who: str) -> None:
    """A score of objects gives one finite number each, none for none, whatever their order."""
    for count in (6, 1, 0):
        arrays = {name: array for name, array in make_objects(count).items() if name in names}
        kept = {name: array.copy() for name, array in arrays.items()}
        whole = np.asarray(function(**arrays))
        _require(whole.shape == (count,), f"{who}: expected a score for each of {count} boxes, found {whole.shape}")
        _require(bool(np.isfinite(whole).all()), f"{who}: expected finite scores, found {whole.tolist()}")
        for name, array in arrays.items():
            _require(np.array_equal(array, kept[name]), f"{who}: expected {name} to stay as it is, but it was changed")
        order = np.random.default_rng(1).permutation(count)
        turned = {n: a[:, order] if n == "samples" else a[order] for n, a in arrays.items()}
        same = np.allclose(np.asarray(function(**turned)), whole[order], atol=1e-5)
        _require(same, f"{who}: the scores depend on the order of the boxes")


def check_reduce(function: Callable[..., Any], **options: Any) -> None:
    """A reduction gives one finite number for the elements of a unit, whatever their order; also for none or one."""
    who = name_of(function)
    _require(_accepted(lambda: needs(function, ("values",)), who) == {"values"}, f"{who}: expected values alone")
    for shape in ((0,), (0, 3), (1,), (7,), (3, 4)):
        values = np.random.default_rng(0).random(shape)
        kept = values.copy()
        result = np.asarray(function(values, **options))
        _require(result.shape == (), f"{who}: expected one number for elements {shape}, found shape {result.shape}")
        _require(bool(np.isfinite(result)), f"{who}: expected a finite number for elements {shape}, found {result}")
        _require(np.array_equal(values, kept), f"{who}: expected values to stay as they are, but they were changed")
        turned = np.random.default_rng(1).permutation(values.reshape(-1)).reshape(shape)
        same = np.allclose(np.asarray(function(turned, **options)), result, atol=1e-6)
        _require(same, f"{who}: the result depends on the order of the elements")


def check_select(function: Callable[..., Any], **options: Any) -> None:
    """A selection gives exactly min(n, candidates) different candidates, the same from the same random numbers.

    Fewer only if its picks say why they ended.
    """
    selector = _accepted(lambda: bind(function, options), name_of(function))
    _check_selector(selector, name_of(function), exact=True)


def check_strategy(strategy: str | Recipe) -> Strategy:
    """A preset or recipe can be assembled, scores what it asks for, and picks as a selection must; returns it ready."""
    recipe = preset(strategy) if isinstance(strategy, str) else strategy
    ready: Strategy = _accepted(lambda: assemble(recipe), str(strategy))
    hard = recipe.per_group is not None or recipe.near_duplicates is not None or bool(recipe.threshold)
    _check_selector(ready.select, str(strategy), exact=not hard)
    probs = np.random.default_rng(0).dirichlet(np.ones(3), (5, 8))
    if ready.recipe.reduce is not None:
        _check_images(ready, str(strategy))
        return ready
    arrays = {"samples": probs, "probs": probs.mean(axis=0), "embeddings": probs[0].astype(np.float32)}
    scores = ready.score({name: arrays[name] for name in ready.needs & arrays.keys()})
    _require(scores is None or np.shape(scores) == (8,), f"{strategy}: expected 8 scores, found {np.shape(scores)}")
    return ready


def _check_images(ready: Strategy, who: str) -> None:
    """A strategy for boxes scores images with several, one and no objects."""
    names = {"box_labels": "labels"}
    records = []
    for count in (0, 1, 4, 6):
        fields: dict[str, Any] = {names.get(n, n): a for n, a in make_objects(count, seed=count).items()}
        records.append(Prediction(str(count), **fields))
    found = _accepted(lambda: ready.score_stream(records, ["a", "b", "c", "d"]), who)
    _require(found.ids == ("0", "1", "4", "6"), f"{who}: expected scores in the order of the images, found {found.ids}")
    _require(bool(np.isfinite(found.values).all()), f"{who}: expected finite scores, found {found.values.tolist()}")
    _require(found.empty.tolist() == [True, False, False, False], f"{who}: expected one empty image")


def _check_selector(select: Selector, who: str, *, exact: bool) -> None:
    for labelled in (0, 4):
        size = len(make_inputs(0, labelled=labelled).candidates)
        for n in (0, 1, 5, size, size + 3):
            inputs, again = make_inputs(n, labelled=labelled), make_inputs(n, labelled=labelled)
            picks = _accepted(lambda inputs=inputs: select(inputs), who)  # type: ignore[misc]
            rows = picks.rows
            what = f"{who}: asked for {n} of {size} candidates, "
            _require(len(rows) <= min(n, size), f"{what}found {len(rows)}")
            may_end = not exact or bool(picks.ended)
            _require(may_end or len(rows) == min(n, size), f"{what}found {len(rows)}")
            _require(len(np.unique(rows)) == len(rows), f"{what}found one more than once")
            _require(bool(np.isin(rows, inputs.candidates).all()), f"{what}found a row that is no candidate")
            same = rows.tolist() == select(again).rows.tolist()
            _require(same, f"{what}found other picks from the same random numbers; draw only from rng")
            fresh = make_inputs(n, labelled=labelled)
            for name in (
                *("candidates", "labelled", "labels", "scores", "probs", "embeddings", "groups", "empty"),
                *("objects", "owners", "object_labels", "object_scores"),
            ):
                kept = np.array_equal(getattr(inputs, name), getattr(fresh, name), equal_nan=True)
                _require(kept, f"{who}: expected {name} to stay as it is, but it was changed")


def check_head(make: Callable[[], Head]) -> None:
    """A head's state is plain arrays, its logits finite with one column per class, the same twice."""
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        labels = np.arange(24) % classes
        features = (rng.normal(size=(24, 5)) + 3 * np.eye(5)[labels]).astype(np.float32)
        head, again = make(), make()
        state, same = head.fit(features, labels, seed=1), again.fit(features, labels, seed=1)
        for name, value in state.items():
            _require(isinstance(value, np.ndarray) and value.dtype != object, f"expected state {name} to be an array")
            _require(np.array_equal(value, same[name]), f"expected the same {name} twice from one seed")
        logits = head.logits(state, features)
        _require(logits.shape == (24, classes), f"expected logits (24, {classes}), found {logits.shape}")
        _require(bool(np.isfinite(logits).all()), "expected finite logits")
        right = float((logits.argmax(axis=1) == labels).mean())
        _require(
            right > 0.9, f"expected classes far apart to be learnt, found {right:.2f} of the training images right"
        )
        if head.dropout:
            dropped = head.logits(state, features, np.zeros(5, np.float32))
            _require(np.allclose(dropped, dropped[0]), "expected equal logits where all inputs are dropped")


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
        _require(got == path and path.exists(), f"expected fit to write and return {path}, found {got}")
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


def _check_facts(model: Model) -> None:
    _require(bool(model.tasks) and model.tasks <= set(get_args(Task)), f"tasks: found {set(model.tasks)}")
    known = {*FIELDS, "boxes", "keypoints", "objects"}
    _require("probs" in model.provides and model.provides <= known, f"provides: found {set(model.provides)}")
    _require(0 <= model.validation < 1, f"validation: expected a share, found {model.validation}")
    _require(model.batch_size >= 1, f"batch_size: expected 1 or more, found {model.batch_size}")
    _require(model.start in ("scratch", "previous", "continue"), f"start: found {model.start!r}")


def _predicted(
    model: Model, checkpoint: Path | None, samples: Sequence[Sample], want: Want, classes: int
) -> list[Prediction]:
    found = list(model.predict(checkpoint, samples, want=want))
    _require([p.id for p in found] == [s.id for s in samples], "expected predictions in the order of the samples")
    for name in want:
        values = [getattr(p, FIELDS[name]) for p in found]
        _require(all(v is not None for v in values), f"{name} was wanted, but is missing")
        _require(len({v.shape for v in values}) == 1, f"expected {name} of one shape for all images")
        shape = values[0].shape
        if name == "embeddings":
            _require(len(shape) == 1, f"expected embeddings of shape (d,), found {shape}")
        else:
            axes = 1 if name == "probs" else 2
            _require(
                len(shape) == axes and shape[-1] == classes, f"expected {name} with {classes} classes, found {shape}"
            )
            good = all((v >= 0).all() and np.allclose(v.sum(axis=-1), 1, atol=1e-4) for v in values)
            _require(good, f"expected {name} that are not negative and sum to 1")
    return found


def _require_equal(one: Sequence[Prediction], two: Sequence[Prediction], want: Want, what: str, atol: float) -> None:
    for a, b in zip(one, two, strict=True):
        for name in want:
            x, y = getattr(a, FIELDS[name]), getattr(b, FIELDS[name])
            gap = float(np.abs(x - y).max())
            _require(gap <= atol * max(1.0, float(np.abs(y).max())), f"{what}: {name} of {a.id} differ by {gap:.2g}")


def _check_no_pickle(checkpoint: Path) -> None:
    for path in [checkpoint, *checkpoint.rglob("*")]:
        if path.is_file():
            packed = zipfile.is_zipfile(path) and any(n.endswith(".pkl") for n in zipfile.ZipFile(path).namelist())
            raw = path.read_bytes()[:1] == b"\x80" and path.suffix != ".safetensors"
            _require(not packed and not raw, f"{path.name} is a pickle: a checkpoint holds arrays and text only")


def check_annotator(
    make: Callable[[], Annotator], folder: Path, *, answer: Callable[[Sequence[Query], Desk], None] | None = None
) -> None:
    """An annotator may be called again at any time: nothing is asked twice, nothing answered that is not open.

    ``answer(queries, desk)`` does what a person would do, for annotators that wait for people.
    """
    samples = make_images(folder / "images", 6)
    desk = Desk({s.id: s for s in samples}, ("blue", "red"), folder / "rounds")
    queries = make_queries(samples)
    annotator = make()
    _require(isinstance(annotator.simulated, bool), f"simulated: expected True or False, found {annotator.simulated!r}")
    annotator.submit([], desk)
    _require(annotator.collect([], desk) == [], "expected no answers where nothing is open")
    annotator.submit(queries, desk)
    annotator.submit(queries, desk)
    advice = annotator.advice(queries, desk)
    _require(bool(advice) and "\n" not in advice, f"advice: expected one line, found {advice!r}")
    if not annotator.simulated:
        _require(annotator.collect(queries, desk) == [], "expected no answers before a person has given one")
    if answer is not None:
        answer(queries, desk)
    if answer is not None or annotator.simulated:
        _check_answers(annotator, queries, desk)
        later = make()  # another process, after an interruption
        later.submit(queries[2:], desk)
        _check_answers(later, queries[2:], desk)


def _check_answers(annotator: Annotator, queries: Sequence[Query], desk: Desk) -> None:
    answers: Mapping[str, Any] = {a.query_id: a for a in annotator.collect(queries, desk)}
    found = annotator.collect(queries, desk)
    ids = [a.query_id for a in found]
    _require(sorted(ids) == sorted(q.id for q in queries), f"expected one answer to each open query, found {ids}")
    for a in found:
        known = a.target is None or set(a.target.classes) <= set(desk.classes)
        _require(known, f"expected classes of {desk.classes}, found {a.target}")
        _require(answers[a.query_id].target == a.target, "expected the same answers when collected again")


def check_engine(make: Callable[[], Engine]) -> None:
    """An engine gives all rows in the order of the items, errors after the rows before them, and can be used again."""
    engine = make()
    for _ in range(2):  # the second time after it was closed
        rows = list(engine.map_batches(_made_squares, list(range(11)), batch_size=3))
        expected = [(x * x, 2 if x > 8 else 3) for x in range(11)]
        _require(rows == expected, f"expected the rows of all items in their order, found {rows}")
        _require(list(engine.map_batches(_made_squares, [], batch_size=3)) == [], "expected no rows of no items")
        rows, error = [], None
        try:
            for row in engine.map_batches(_made_failing, list(range(8)), batch_size=2):
                rows.append(row)
        except LabelwiseError as caught:
            error = caught
        _require(
            type(error) is DataError and str(error) == "five is odd", f"expected the error of the work, found {error!r}"
        )
        _require(rows == [0, 1, 2, 3], f"expected the rows before the error, found {rows}")
        _require(engine.run(_job) == "done", "expected the result of a job")
        told: list[tuple[Any, ...]] = []
        _require(
            engine.run(_job, progress=partial(_note, told)) == "done",
            "expected the result of a job",
        )
        _require(told[-1:] == [(3, 3, "steps")], f"expected to hear of the job's last step, found {told}")
        copy = pickle.loads(pickle.dumps(engine))
        _require(isinstance(copy, type(engine)), "expected an engine that can be pickled while it is in use")
        engine.close()


def _made_squares() -> Work:
    return _squares


def _squares(batch: Sequence[int]) -> list[tuple[int, int]]:
    return [(x * x, len(batch)) for x in batch]


def _made_failing() -> Work:
    return _failing


def _failing(batch: Sequence[int]) -> list[int]:
    if 5 in batch:
        raise DataError("five is odd")
    return list(batch)


def _note(told: list[tuple[Any, ...]], *message: Any) -> None:
    told.append(message)


def _job(progress: Progress = quiet) -> str:
    for step in range(3):
        progress(step + 1, 3, "steps")
    return "done"


def _accepted(call: Callable[[], Any], who: str) -> Any:
    try:
        return call()
    except LabelwiseError as error:
        raise AssertionError(f"{who}: {error}") from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
