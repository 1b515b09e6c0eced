"""Forecasts hold what they say: intervals cover, targets agree with curves, and little data gives little."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.curves import Curve
from labelwise.errors import DataError
from labelwise.forecast import DRAWS, FEWEST, forecast

LABELS = np.array([20.0, 40, 60, 80, 100])


def law(labels: np.ndarray, top: float = 0.9, worth: float = 2.0, steepness: float = 0.5) -> np.ndarray:
    return top - worth * labels**-steepness


def test_a_clean_curve_is_carried_on() -> None:
    curve = Curve(LABELS, law(LABELS))
    found = forecast(curve, np.full(5, 0.002))
    assert found is not None
    assert not found.doubt
    for labels in (120, 200, 400):
        told = found.at(labels)
        truth = float(law(np.array([labels]))[0])
        assert told.low < truth < told.high
        assert abs(told.value - truth) < 0.02
    gain = found.gain(20)
    assert gain.low <= law(np.array([120.0]))[0] - law(np.array([100.0]))[0] <= gain.high


def test_the_same_points_give_the_same_forecast() -> None:
    first, second = (forecast(Curve(LABELS, law(LABELS))) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.at(150) == second.at(150)
    assert first.needed(0.8) == second.needed(0.8)


@pytest.mark.slow
def test_intervals_cover_about_what_they_say() -> None:
    rng = np.random.default_rng(7)
    figure, gained, needs = [], [], []
    for trial in range(1000):
        count, step = int(rng.integers(4, 12)), int(rng.integers(10, 100))
        labels = step * np.arange(1.0, count + 3)
        top = rng.uniform(0.6, 0.98)
        steepness, start = rng.uniform(0.2, 1.5), rng.uniform(0.2, top - 0.05)
        true = top - (top - start) * (labels / labels[0]) ** -steepness
        noise = rng.uniform(0.004, 0.03)
        measured = np.clip(true + rng.normal(0, noise, len(labels)), 0, 1)
        errors = np.full(count, noise) if trial % 2 else None
        found = forecast(Curve(labels[:count], measured[:count]), errors)
        assert found is not None
        told, gain = found.at(labels[count + 1]), found.gain(step)
        figure.append(told.low <= measured[count + 1] <= told.high)
        gained.append(gain.low <= true[count] - true[count - 1] <= gain.high)
        target = true[count + 1] + 0.01
        need = found.needed(target)
        needs.append(
            need.low
            <= (labels[0] * ((top - start) / (top - target)) ** (1 / steepness) if top > target else math.inf)
            <= need.high
        )
    # 90 % is what they say; the binomial error of 1000 trials is one point.
    for hits in (figure, gained, needs):
        assert 0.85 <= np.mean(hits) <= 0.95


def test_the_band_widens_with_distance_and_with_noise() -> None:
    sharp = forecast(Curve(LABELS, law(LABELS)), np.full(5, 0.002))
    blunt = forecast(Curve(LABELS, law(LABELS)), np.full(5, 0.05))
    assert sharp is not None
    assert blunt is not None

    def width(found, labels):  # type: ignore[no-untyped-def]
        told = found.at(labels)
        return told.high - told.low

    assert width(sharp, 1000) > width(sharp, 120)
    assert width(blunt, 120) > 2 * width(sharp, 120)


def test_too_few_points_give_none() -> None:
    for count in range(1, FEWEST):
        assert forecast(Curve(LABELS[:count], law(LABELS[:count]))) is None
    # A round without labels is no point of a power law.
    assert forecast(Curve(np.array([0.0, 10, 20]), np.array([0.1, 0.2, 0.3]))) is None


@pytest.mark.parametrize("values", [[0.5] * 5, [0.8, 0.6, 0.5, 0.4, 0.3], [1.0] * 5, [0.0] * 5])
def test_no_rise_is_said(values: list[float]) -> None:
    found = forecast(Curve(LABELS, np.array(values)))
    assert found is not None
    assert "chance" in found.doubt
    assert 0 <= found.at(200).low <= found.at(200).high <= 1


def test_a_target_that_is_reached_needs_no_more_labels() -> None:
    found = forecast(Curve(LABELS, law(LABELS)), np.full(5, 0.001))
    assert found is not None
    assert found.needed(0.3).labels == found.needed(0.3).high == 100
    assert found.needed(0.3).never == 0
    hard = found.needed(0.99)
    assert hard.never > 0.5
    assert math.isinf(hard.labels)


def test_wrong_input_is_told() -> None:
    with pytest.raises(DataError, match="share between 0 and 1"):
        forecast(Curve(LABELS, np.array([1.0, 2, 3, 4, 5])))
    found = forecast(Curve(LABELS, law(LABELS)))
    assert found is not None
    for target in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(DataError, match="target"):
            found.needed(target)
    with pytest.raises(DataError, match="above 0"):
        found.at(0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=FEWEST, max_size=12),
    st.integers(1, 100_000),
    st.one_of(st.none(), st.floats(0, 0.5)),
)
def test_whatever_the_points_the_forecast_is_a_share(values: list[float], step: int, error: float | None) -> None:
    labels = step * np.arange(1.0, len(values) + 1)
    found = forecast(Curve(labels, np.array(values)), None if error is None else np.full(len(values), error))
    assert found is not None
    assert len(found.now) == DRAWS
    for parameter in (found.now, found.left, found.steepness, found.noise):
        assert np.isfinite(parameter).all()
    assert (found.now >= 0).all()
    assert (found.now + found.left <= 1 + 1e-9).all()
    told, gain, top = found.at(labels[-1] + step), found.gain(step), found.top()
    assert 0 <= told.low <= told.high <= 1
    assert 0 <= gain.low <= gain.value <= gain.high <= 1
    assert top.low <= top.value <= top.high
    # The draws that reach a target at a number of labels are those whose curve is there.
    need = found.needed(0.7)
    assert labels[-1] <= need.low <= need.labels <= need.high
    if math.isfinite(need.labels) and need.labels < 1e12:
        assert (found.curve(need.labels * (1 + 1e-9)) >= 0.7 - 1e-9).mean() >= 0.5 - 1e-3


def test_draws_are_those_of_a_plain_sampler() -> None:
    """The median and spread agree with a Metropolis walk over the same posterior."""
    values = law(LABELS) + np.array([0.01, -0.01, 0.0, 0.01, -0.01])
    found = forecast(Curve(LABELS, values), np.full(5, 0.01))
    assert found is not None
    rng = np.random.default_rng(1)

    def log_posterior(now: float, left: float, power: float, noise: float) -> float:
        if not (0 <= left <= 1 and 0 <= now <= 1 - left and math.log(0.1) <= power <= math.log(2) and noise > 0):
            return -math.inf
        told = now + left * (1 - (LABELS / LABELS[-1]) ** -math.exp(power))
        scatter = 3 * 0.01**2 + ((values - told) ** 2).sum()
        # Inverse chi-square of three degrees before, and the normal likelihood; in the noise's own scale.
        return -(3 + len(LABELS) + 1) * math.log(noise) - scatter / (2 * noise**2)

    place, kept = np.array([values[-1], 0.1, math.log(0.5), 0.01]), []
    here = log_posterior(*place)
    for turn in range(40_000):
        there = place + rng.normal(0, [0.008, 0.08, 0.6, 0.004])
        level = log_posterior(*there)
        if math.log(rng.random()) < level - here:
            place, here = there, level
        if turn > 2000:
            kept.append(place[0] + place[1] * (1 - 3 ** -math.exp(place[2])))
    ours = found.curve(300)
    assert abs(np.median(ours) - np.median(kept)) < 0.01
    assert abs(np.quantile(ours, 0.95) - np.quantile(kept, 0.95)) < 0.015
    assert abs(np.quantile(ours, 0.05) - np.quantile(kept, 0.05)) < 0.015
