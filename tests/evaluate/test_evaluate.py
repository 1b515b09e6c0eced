"""Metrics against scikit-learn and by hand, curves, areas, intervals, and labels saved."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.curves import Curve, area_under, band, labels_needed, labels_saved, mean_curve, paired_difference
from labelwise.errors import DataError, ModelError
from labelwise.evaluate import classification, interval, macro_f1_interval


def curve(*points: tuple[float, float]) -> Curve:
    labels, values = zip(*points, strict=True)
    return Curve(np.array(labels), np.array(values))


def straight(slope: float, noise: float = 0.0) -> Curve:
    labels = np.arange(100.0, 1001.0, 100.0)
    return Curve(labels, slope * labels + noise)


def random_case(seed: int, n: int = 300, count: int = 7) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(count) * 0.4, n), rng.integers(count - 1, size=n), [f"c{i}" for i in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_same_as_sklearn(seed: int) -> None:
    from sklearn import metrics

    probs, truth, names = random_case(seed)
    scores, called, labels = classification(probs, truth, names), probs.argmax(1), np.arange(len(names))
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(truth, called))
    present = np.unique(truth)
    assert scores.macro_f1 == pytest.approx(
        metrics.f1_score(truth, called, labels=present, average="macro", zero_division=0)
    )
    assert scores.nll == pytest.approx(metrics.log_loss(truth, probs, labels=labels))
    np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(truth, called, labels=labels))
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        truth, called, labels=labels, zero_division=np.nan
    )
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_array_equal(scores.support, support)


def test_calibration_error_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.25, 0.75]])
    scores = classification(probs, np.array([0, 1, 0, 1]), ["a", "b"])
    # bins: {0.9, 0.9} half right: gap .4 x 2; {0.6} right: gap .4; {0.75} right: gap .25
    assert scores.ece == pytest.approx((2 * 0.4 + 0.4 + 0.25) / 4)


def test_calibrated_certainty_has_no_error() -> None:
    scores = classification(np.eye(3), np.arange(3), "abc")
    assert (scores.accuracy, scores.macro_f1, scores.ece, scores.nll) == (1, 1, 0, 0)


def test_classes_the_model_never_saw_are_errors() -> None:
    probs = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]])
    scores = classification(probs, np.array([0, 1, 2, -1]), ["a", "b", "new"])
    assert scores.accuracy == 0.5
    assert scores.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert scores.unknown == 1
    assert scores.recall.tolist() == [1, 1, 0]
    assert scores.macro_f1 == pytest.approx((0.5 + 1 + 0 + 0) / 4)  # a: 1 hit, called 3 times; new and unknown: 0
    assert scores.nll == pytest.approx((-math.log(0.8) - math.log(0.7) + 2 * 36.04365) / 4, abs=1e-4)


def test_no_samples() -> None:
    scores = classification(np.empty((0, 3)), np.empty(0, dtype=int), "abc")
    assert scores.n == 0
    assert math.isnan(scores.accuracy)
    assert math.isnan(scores.macro_f1)
    assert scores.support.tolist() == [0, 0, 0]
    assert scores.confusion.shape == (3, 3)


def test_one_class() -> None:
    scores = classification(np.ones((4, 1)), np.zeros(4, dtype=int), ["only"])
    assert (scores.accuracy, scores.macro_f1, scores.nll, scores.ece) == (1, 1, 0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5, 0.9])
def test_impossible_probabilities_are_refused(bad: float) -> None:
    with pytest.raises(ModelError, match="sum to 1"):
        classification(np.array([[bad, 0.5]]), np.array([0]), "ab")


@pytest.mark.parametrize("truth", [[-2], [2], [0.5], [0, 1]])
def test_impossible_truth_is_refused(truth: list[float]) -> None:
    with pytest.raises(DataError):
        classification(np.array([[0.5, 0.5]]), np.array(truth), "ab")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 9))
def test_metrics_do_not_depend_on_order(seed: int, n: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    probs, truth = rng.dirichlet(np.ones(count), n), rng.integers(-1, count, size=n)
    order, names = rng.permutation(n), [str(i) for i in range(count)]
    first, second = classification(probs, truth, names), classification(probs[order], truth[order], names)
    for name in ("accuracy", "macro_f1", "ece", "nll"):
        assert getattr(first, name) == pytest.approx(getattr(second, name))
    assert 0 <= first.macro_f1 <= 1
    assert 0 <= first.ece <= 1
    assert first.confusion.sum() + first.unknown == n


def test_wilson_by_hand() -> None:
    got = interval(8, 10)
    assert (got.value, got.low, got.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert (interval(0, 10).low, interval(10, 10).high) == (0, 1)
    empty = interval(0, 0)
    assert math.isnan(empty.value)
    assert (empty.low, empty.high) == (0, 1)
    with pytest.raises(DataError):
        interval(11, 10)
    with pytest.raises(DataError, match="level"):
        interval(1, 10, level=95)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share(case: tuple[int, int]) -> None:
    got = interval(*case)
    assert 0 <= got.low <= got.value <= got.high <= 1


def test_macro_f1_interval_agrees_with_the_metric() -> None:
    probs, truth, names = random_case(3, n=400)
    got = macro_f1_interval(truth, probs.argmax(1), rng=np.random.default_rng(0))
    assert got.value == pytest.approx(classification(probs, truth, names).macro_f1)
    assert got.low < got.value < got.high
    assert got == macro_f1_interval(truth, probs.argmax(1), rng=np.random.default_rng(0))


def test_macro_f1_interval_edges() -> None:
    rng = np.random.default_rng(0)
    none = macro_f1_interval(np.array([], dtype=int), np.array([], dtype=int), rng=rng)
    assert (none.low, none.high) == (0, 1)
    sure = macro_f1_interval(np.array([1, 1]), np.array([1, 1]), rng=rng)
    assert (sure.value, sure.low, sure.high) == (1, 1, 1)
    strange = macro_f1_interval(np.array([1, -1]), np.array([1, 1]), rng=rng)
    assert strange.value == pytest.approx(1 / 3)
    with pytest.raises(DataError):
        macro_f1_interval(np.array([1]), np.array([1, 2]), rng=rng)


def test_macro_f1_interval_covers() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(100):
        truth = rng.integers(3, size=200)
        called = np.where(rng.random(200) < 0.7, truth, (truth + rng.integers(1, 3, size=200)) % 3)
        got = macro_f1_interval(truth, called, rng=rng, draws=200)
        inside += got.low <= 0.7 <= got.high
    assert inside >= 88


@pytest.mark.parametrize(
    ("labels", "values"),
    [([], []), ([1, 1], [0, 0]), ([2, 1], [0, 0]), ([1], [np.nan]), ([np.inf], [0]), ([1, 2], [0]), ([-1], [0])],
)
def test_broken_curves_are_refused(labels: list[float], values: list[float]) -> None:
    with pytest.raises(DataError, match="curve"):
        Curve(np.array(labels), np.array(values))


def test_area_by_hand() -> None:
    bent = curve((0, 0), (10, 1), (30, 1))
    assert area_under(bent) == pytest.approx((5 + 20) / 30)
    assert area_under(bent, up_to=10) == pytest.approx(0.5)
    assert area_under(bent, up_to=5) == pytest.approx(0.25)
    assert area_under(bent, up_to=0) == 0
    assert area_under(curve((7, 0.4))) == pytest.approx(0.4)
    for beyond in (-1, 31):
        with pytest.raises(DataError, match="30 labels"):
            area_under(bent, up_to=beyond)


def test_labels_needed_by_hand() -> None:
    bumpy = curve((100, 0.2), (200, 0.6), (300, 0.5), (400, 0.9))
    assert labels_needed(bumpy, 0.4) == pytest.approx(150)
    assert labels_needed(bumpy, 0.6) == pytest.approx(200)
    assert labels_needed(bumpy, 0.7) == pytest.approx(350)
    assert labels_needed(bumpy, 0.1) == 100
    assert labels_needed(bumpy, 0.95) == math.inf
    assert labels_needed(curve((10, 0.5), (20, 0.5)), 0.5) == 10
    assert labels_needed(curve((10, 0.5), (20, 0.5)), 0.6) == math.inf


increasing = st.lists(st.floats(0.001, 1), min_size=2, max_size=12).map(np.cumsum)


@settings(max_examples=100, deadline=None)
@given(increasing, st.floats(0, 1))
def test_labels_needed_inverts_a_rising_curve(values: np.ndarray, share: float) -> None:
    rising = Curve(np.arange(1.0, len(values) + 1), values)
    level = values[0] + share * (values[-1] - values[0])
    found = labels_needed(rising, min(level, values[-1]))
    assert np.interp(found, rising.labels, rising.values) == pytest.approx(level)
    assert values.min() <= area_under(rising) <= values.max()


def test_mean_on_different_labels() -> None:
    mean = mean_curve([curve((0, 0), (10, 10)), curve((2, 0), (6, 4), (12, 10))])
    assert mean.labels.tolist() == [2, 6, 10]
    assert mean.values.tolist() == pytest.approx([1, 5, 9])
    with pytest.raises(DataError, match="in common"):
        mean_curve([curve((0, 0)), curve((1, 0))])
    with pytest.raises(DataError, match="none"):
        mean_curve([])


def test_band_is_the_t_interval() -> None:
    got = band([curve((1, 0.1), (2, 0.5)), curve((1, 0.3), (2, 0.5)), curve((1, 0.5), (2, 0.5))])
    half = 4.302653 * 0.2 / math.sqrt(3)
    np.testing.assert_allclose(got.mean, [0.3, 0.5])
    np.testing.assert_allclose(got.low, [0.3 - half, 0.5], rtol=1e-5)
    np.testing.assert_allclose(got.high, [0.3 + half, 0.5], rtol=1e-5)
    single = band([curve((1, 0.1))])
    assert single.seeds == 1
    assert np.isnan(single.low).all()


def arms(slope: float, seeds: int = 10, spread: float = 0.01) -> tuple[dict[int, Curve], dict[int, Curve]]:
    noise = np.random.default_rng(0).normal(0, spread, seeds)
    return {s: straight(slope, noise[s]) for s in range(seeds)}, {s: straight(1e-3, noise[s]) for s in range(seeds)}


def test_labels_saved_by_hand() -> None:
    arm, random = arms(2e-3)
    saved = labels_saved(arm, random, rng=np.random.default_rng(0))
    assert (saved.needed, saved.of, saved.ratio) == pytest.approx((500, 1000, 0.5), abs=1e-9)
    assert saved.paired
    assert saved.seeds == 10
    assert (saved.low, saved.high) == pytest.approx((0.5, 0.5))  # the noise is common to both arms and cancels
    assert labels_saved(arm, random, rng=np.random.default_rng(0), at=600).ratio == pytest.approx(0.5)


def test_pairing_narrows_the_interval() -> None:
    arm, random = arms(2e-3)
    apart = labels_saved({s + 50: c for s, c in arm.items()}, random, rng=np.random.default_rng(0))
    assert not apart.paired
    assert apart.low < 0.4999 < 0.5001 < apart.high


def test_never_reached() -> None:
    saved = labels_saved(*arms(0.5e-3), rng=np.random.default_rng(0))
    assert saved.needed == saved.ratio == saved.low == saved.high == math.inf
    assert saved.missed == 1


def test_sometimes_not_reached() -> None:
    labels = np.array([100.0, 1000.0])
    arm = {s: Curve(labels, np.array([0.2, v])) for s, v in enumerate([0.4, 0.75, 0.5, 0.8])}
    random = {s: Curve(labels, np.array([0.2, 0.6])) for s in range(4)}
    saved = labels_saved(arm, random, rng=np.random.default_rng(0))
    assert saved.ratio < 1
    assert saved.low < 1
    assert saved.high == math.inf
    assert 0 < saved.missed < 1


def test_single_seed_has_no_interval() -> None:
    saved = labels_saved(*arms(2e-3, seeds=1), rng=np.random.default_rng(0))
    assert saved.ratio == pytest.approx(0.5)
    assert math.isnan(saved.low)
    assert math.isnan(paired_difference(*arms(2e-3, seeds=1), at=500).standard_error)


def test_an_arm_good_from_the_start_is_an_upper_bound() -> None:
    good, poor = {0: curve((100, 0.9), (200, 0.9))}, {0: curve((100, 0.1), (200, 0.5))}
    saved = labels_saved(good, poor, rng=np.random.default_rng(0))
    assert saved.at_start
    assert saved.needed == 100


def test_labels_saved_refusals() -> None:
    arm, random = arms(2e-3, seeds=2)
    for at in (50, 2000, 0):
        with pytest.raises(DataError):
            labels_saved(arm, random, rng=np.random.default_rng(0), at=at)
    with pytest.raises(DataError, match="none"):
        labels_saved({}, random, rng=np.random.default_rng(0))


def test_an_arm_equal_to_random_saves_nothing() -> None:
    rng = np.random.default_rng(5)
    noisy = [{s: straight(1e-3, rng.normal(0, 0.02)) for s in range(10)} for _ in range(2)]
    saved = labels_saved(*noisy, rng=rng)
    assert saved.low < 1 < saved.high


def test_paired_difference_by_hand() -> None:
    arm = {s: straight(1e-3, 0.1 + d) for s, d in enumerate([0.01, 0.02, 0.03])}
    random = {s: straight(1e-3, 0.0) for s in range(5)}
    got = paired_difference(arm, random, at=450)
    assert got.mean == pytest.approx(0.12)
    assert got.standard_error == pytest.approx(0.01 / math.sqrt(3))
    assert (got.seeds, got.paired) == (3, True)
    assert got.high - got.mean == pytest.approx(4.302653 * got.standard_error, rel=1e-5)


def test_difference_without_common_seeds_is_welch() -> None:
    from scipy.stats import ttest_ind

    first, second = [0.1, 0.2, 0.4], [0.0, 0.1, 0.05, 0.2]
    arm = {s: straight(0, v) for s, v in enumerate(first)}
    random = {s + 10: straight(0, v) for s, v in enumerate(second)}
    got, want = paired_difference(arm, random, at=500), ttest_ind(first, second, equal_var=False)
    limits = want.confidence_interval()
    assert not got.paired
    assert (got.low, got.high) == pytest.approx((limits.low, limits.high))
    with pytest.raises(DataError):
        paired_difference({}, random, at=500)
