"""Runs that ask for boxes: budgets in images and boxes, nothing predicted twice, and what is kept of predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from labelwise import api
from labelwise.data import coco
from labelwise.data.images import open_image
from labelwise.errors import LabelwiseError
from labelwise.loop import detecting
from labelwise.loop.difficulty import class_quality
from labelwise.models import Plan
from labelwise.presets import PRESETS
from labelwise.records import Labelled, Prediction, Sample, Target
from labelwise.results import RunResult, open_run
from labelwise.testing import make_boxes

SEEN: Counter[tuple[str, str]] = Counter()  # checkpoint and image of every prediction in this process
STOP_AFTER: list[int] = []  # predictions until a kill


@dataclass
class Squares:
    """Finds the coloured squares of made pictures by their colour; what it never learnt it does not name."""

    start: Literal["scratch"] = "scratch"
    tasks = frozenset({"detect"})
    provides = frozenset({"boxes", "probs", "objects", "embeddings"})
    validation: float = 0.25
    batch_size: int = 4
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def prepare(self, pool: Sequence[Sample], others: Sequence[Sample], **_: Any) -> None:
        """Nothing to do."""

    def fit(self, train: Sequence[Labelled], val: Sequence[Labelled], *, out: Path, plan: Plan, **_: Any) -> Path:
        """Remember the classes."""
        out.mkdir(parents=True, exist_ok=True)
        (out / "classes.txt").write_text("\n".join(plan.classes))
        return out

    def predict(
        self, checkpoint: Path | None, samples: Sequence[Sample], *, want: frozenset[str]
    ) -> Iterator[Prediction]:
        """One box around all of each colour."""
        for sample in samples:
            if want <= {"embeddings"}:
                yield Prediction(sample.id, embedding=np.asarray(open_image(sample.path)[0]).mean(axis=(0, 1)))
                continue
            SEEN[(checkpoint.parent.name if checkpoint else "", sample.id)] += 1
            if STOP_AFTER and SEEN.total() >= STOP_AFTER[0]:
                raise KeyboardInterrupt
            yield self._found(sample, want)

    def _found(self, sample: Sample, want: frozenset[str]) -> Prediction:
        pixels = np.asarray(open_image(sample.path)[0]).astype(int)
        boxes, rows = [], []
        for label, channel in enumerate((0, 1)):
            mask = (pixels[..., channel] > 130) & (pixels[..., 2] < 130)
            if mask.sum() > 20:
                y, x = np.nonzero(mask)
                boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
                sure = 0.5 + 0.4 * mask.mean()
                rows.append([sure, 0.1] if label == 0 else [0.1, sure])
        found, probs = np.array(boxes, float).reshape(-1, 4), np.array(rows, float).reshape(-1, 2)
        return Prediction(
            sample.id,
            boxes=found,
            labels=probs.argmax(axis=1),
            confidences=probs.max(axis=1, initial=0.0),
            probs=probs if "probs" in want else None,
            embedding=np.hstack([found, probs])[:, :4] if "objects" in want else None,
            independent=True,
        )


@dataclass
class Odd(Squares):
    """Finds nothing, one box, or a thousand, all of one class and quite sure."""

    def _found(self, sample: Sample, want: frozenset[str]) -> Prediction:
        count = (0, 1, 1000)[int(Path(sample.id).stem) % 3]
        corners = np.random.default_rng(count).uniform(0, 24, (count, 2, 2))
        boxes = np.concatenate([corners[:, 0], corners[:, 0] + 1 + corners[:, 1]], axis=1)
        return Prediction(
            sample.id,
            boxes=boxes,
            labels=np.zeros(count, int),
            confidences=np.ones(count),
            probs=np.ones((count, 1)) if "probs" in want else None,
            embedding=boxes if "objects" in want else None,
            independent=True,
        )


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    SEEN.clear()
    STOP_AFTER.clear()
    yield
    STOP_AFTER.clear()


def configuration(folder: Path, **changes: Any) -> dict[str, Any]:
    data = folder / "data"
    if not data.exists():
        make_boxes(data, 40)
    budget = {"initial": 5, "per_round": 4, "rounds": 3} | changes.pop("budget", {})
    base = {
        "name": "run", "task": "detect", "data": {"format": "coco", "path": str(data), "test": 0.25},
        "model": f"{__name__}:Squares", "strategy": "random", "budget": budget, "out": str(folder / "runs"),
    }  # fmt: skip
    return base | changes


def true_boxes(result: RunResult, rounds: Sequence[int]) -> int:
    picks = [id for r in rounds for id in result.picks(r)]
    targets = [result.samples[id].target for id in picks]
    return sum(len(t.classes) for t in targets if t is not None)


OBJECT_STRATEGIES = [
    "box_balanced", "ppal", "class_balanced", "object_k_center", "object_coverage", "box_entropy_sum", "box_margin",
    "missed_objects", "object_frequency", "objectness_least_confidence", "k_center",
]  # fmt: skip


@pytest.mark.parametrize("strategy", OBJECT_STRATEGIES)
def test_strategies_of_objects_spend_the_budget_to_the_image(strategy: str, tmp_path: Path) -> None:
    result = api.run(configuration(tmp_path, strategy=strategy), report=False)
    assert [result.labels(r) for r in result.rounds] == [5, 9, 13]
    assert [result.boxes(r) for r in result.rounds] == [true_boxes(result, range(r + 1)) for r in result.rounds]
    assert len({id for r in result.rounds for id in result.picks(r)}) == 13
    assert all(n == 1 for n in SEEN.values()), "an image was predicted twice with one network"


def test_cald_compares_unsteady_images_with_the_true_classes_of_the_labelled_ones(tmp_path: Path) -> None:
    result = api.run(configuration(tmp_path, strategy="cald"), report=False)
    assert [result.labels(r) for r in result.rounds] == [5, 9, 13]
    assert max(SEEN.values()) == 2, "images of the pool are looked at twice, as they are and mirrored"
    for r in (1, 2):
        told = [q.reason["class_divergence"] for q in result.queries[r] if "class_divergence" in q.reason]
        assert told == sorted(told, reverse=True)
        assert all(0 <= value <= np.log(2) for value in told)
        assert told


@pytest.mark.parametrize("strategy", OBJECT_STRATEGIES)
def test_one_class_nothing_found_a_thousand_boxes_and_certainty(strategy: str, tmp_path: Path) -> None:
    listing = coco.read(make_boxes(tmp_path / "two", 30))
    samples = [
        replace(s, target=Target(("red",) * len(s.target.classes), s.target.geometry))
        for s in listing.samples
        if s.target
    ]
    coco.write(tmp_path / "data", samples, ["red"])
    plan = configuration(tmp_path, strategy=strategy, model=f"{__name__}:Odd")
    result = api.run(plan)
    assert result.classes == ("red",)
    assert [result.labels(r) for r in result.rounds] == [5, 9, 13]
    assert len({id for r in result.rounds for id in result.picks(r)}) == 13
    assert (result.folder / "report.html").stat().st_size > 10_000


def test_boxes_are_counted_when_they_are_answered_and_the_last_image_counts_whole(tmp_path: Path) -> None:
    budget = {"unit": "box", "initial": 7, "per_round": 6}
    result = api.run(configuration(tmp_path, strategy="class_balanced", budget=budget), report=False)
    assert result.unit == "boxes"
    for r, goal in zip(result.rounds, (7, 13, 19), strict=True):
        assert result.labels(r) == result.boxes(r) == true_boxes(result, range(r + 1))
        *_, last = result.picks(r)
        target = result.samples[last].target
        assert target is not None
        assert goal <= result.labels(r) < goal + len(target.classes), "the last image reached the goal"
    assert all(q.id in result.annotations for queries in result.queries.values() for q in queries)
    lines = result.metrics_csv().splitlines()
    assert lines[0].startswith("round,labels,boxes,images,split,n,map,map50,map75,accepted,moved,renamed,added,deleted")
    assert [float(v) for v in lines[1].split(",")[1:4]] == [result.boxes(0), result.boxes(0), result.images(0)]


def test_a_pool_that_is_used_up_ends_a_run_that_counts_boxes(tmp_path: Path) -> None:
    budget = {"unit": "box", "initial": 20, "per_round": 1000}
    result = api.run(configuration(tmp_path, budget=budget), report=False)
    assert result.labels(result.rounds[-1]) == true_boxes(result, result.rounds)
    assert sum(len(result.picks(r)) for r in result.rounds) <= result.split_sizes["pool"]
    shares = api.run(configuration(tmp_path, name="shares", budget=budget | {"initial": "10%", "rounds": 1}))
    pool = sum(len(s.target.classes) for s in shares.samples.values() if s.id not in shares.test_ids and s.target)
    assert shares.labels(0) >= 0.1 * pool - 1


def test_a_killed_prediction_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = api.run(configuration(tmp_path, name="whole", strategy="ppal"), report=False)
    total = SEEN.total()
    SEEN.clear()
    plan = configuration(tmp_path, strategy="ppal")
    again = Counter[tuple[str, str]]()
    for stop in (13, 25, 31, 45, 60):  # in the test split, in the pool, and of later rounds
        STOP_AFTER[:] = [stop]
        with pytest.raises(KeyboardInterrupt):
            api.run(plan, report=False)
        again.update(SEEN)
    STOP_AFTER.clear()
    result = api.run(plan, report=False)
    for r in whole.rounds:
        assert result.picks(r) == whole.picks(r)
        assert result.evaluations["test"][r] == whole.evaluations["test"][r]
    # Of each kill only the batch under way is lost.
    assert SEEN.total() <= total + 5 * Squares.batch_size


def test_nothing_is_left_of_predictions_but_the_proposals_of_what_was_asked(tmp_path: Path) -> None:
    for unit in ("image", "box"):
        result = api.run(configuration(tmp_path, name=unit, strategy="ppal", budget={"unit": unit}), report=False)
        assert list(result.folder.rglob("predictions")) == []
        assert list(result.folder.rglob("judged*")) == []
        assert all(q.proposal is None for q in result.queries[0])
        later = [q for r in (1, 2) for q in result.queries[r]]
        assert all(q.proposal is not None and q.proposal.geometry is not None for q in later)
        assert all(result.effort(r).answers for r in (1, 2))


def test_the_shown_threshold_decides_what_is_proposed_but_not_what_is_scored(tmp_path: Path) -> None:
    few = api.run(configuration(tmp_path, name="few", strategy="box_entropy_sum", shown=0.99), report=False)
    many = api.run(configuration(tmp_path, name="many", strategy="box_entropy_sum", shown=0.0), report=False)
    assert few.picks(1) == many.picks(1)
    proposed = [q.proposal for q in few.queries[1]]
    assert all(p is not None and p.classes == () for p in proposed)
    assert any(q.proposal is not None and q.proposal.classes for q in many.queries[1])


def test_random_predicts_only_what_it_asks(tmp_path: Path) -> None:
    result = api.run(configuration(tmp_path), report=False)
    asked = {id for r in (1, 2) for id in result.picks(r)}
    assert {id for _, id in SEEN} - set(result.test_ids) == asked


def test_difficulty_comes_from_labelled_images_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    looked: list[str] = []
    real = detecting.calibrated

    def spy(context: Any, *rest: Any) -> Any:
        before = Counter(SEEN)
        found = real(context, *rest)
        looked.extend(id for _, id in (SEEN - before))
        assert not {id for _, id in (SEEN - before)} - {s for s, _ in context.store.answered()}
        return found

    monkeypatch.setattr(detecting, "calibrated", spy)
    api.run(configuration(tmp_path, strategy="ppal"), report=False, tell=lines.append)
    assert looked
    assert sum("difficulty of classes" in line for line in lines) == 2


def test_class_quality_is_the_mean_over_true_boxes() -> None:
    truth = Labelled(Sample("a", Path("a")), Target(("cat", "cat"), np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])))
    found = Prediction(
        "a", boxes=np.array([[0.0, 0, 10, 5]]), labels=np.array([0]), confidences=np.array([0.8]),
        probs=np.array([[0.8, 0.1]]), independent=True,
    )  # fmt: skip
    quality = class_quality([found], [truth], ["cat", "dog"])
    assert quality[0] == pytest.approx((0.8**0.6 * 0.5**0.4 + 0) / 2)
    assert np.isnan(quality[1]), "no true dog"
    nothing = Prediction("a", boxes=np.empty((0, 4)), labels=np.empty(0, int), confidences=np.empty(0))
    assert class_quality([nothing], [truth], ["cat"])[0] == 0
    plain = Prediction("a", boxes=found.boxes, labels=found.labels, confidences=found.confidences)
    assert class_quality([plain], [truth], ["cat"])[0] == pytest.approx(quality[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "badge"}, "needs a class for each image"),
        ({"strategy": "balanced_margin"}, "needs"),
        ({"strategy": "bald"}, "needs"),
        ({"model": "frozen"}, "cannot detect"),
        ({"budget": {"unit": "pixel"}}, "needs task=segment"),
        ({"task": "classify", "model": "frozen", "strategy": "random", "budget": {"unit": "box"}}, "needs task=detect"),
    ],
)
def test_what_cannot_work_is_refused_before_it_runs(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(LabelwiseError, match=message):
        api.check(configuration(tmp_path, **changes))


def test_check_says_what_will_run(tmp_path: Path) -> None:
    facts = api.check(configuration(tmp_path, budget={"unit": "box"}))
    assert any("boxes" in fact for fact in facts)
    assert PRESETS["box_balanced"].select == "class_balanced"


def test_noise_of_the_oracle_changes_classes_of_boxes(tmp_path: Path) -> None:
    result = api.run(configuration(tmp_path, annotator={"name": "oracle", "noise": 1.0}), report=False)
    for id in result.picks(0):
        query = next(q for q in result.queries[0] if q.sample_id == id)
        told, truth = result.annotations[query.id].target, result.samples[id].target
        assert told is not None
        assert truth is not None
        assert len(told.classes) == len(truth.classes)
        assert all(a != b for a, b in zip(told.classes, truth.classes, strict=True))


def test_runs_are_compared_over_images_and_over_boxes(tmp_path: Path) -> None:
    plan = configuration(tmp_path, name="arms", budget={"initial": 4, "per_round": 3})
    comparison = api.simulate(plan, ["random", "class_balanced"], seeds=2)
    assert comparison.units == ("images", "boxes")
    assert comparison.saved("class_balanced", "map", "boxes") is not None
    page = (tmp_path / "runs" / "arms" / "report.html").read_text(encoding="utf-8")
    assert "mAP over boxes" in page
    assert "mAP over images" in page
    assert open_run(tmp_path / "runs" / "arms" / "random-00").units == ("images", "boxes")
