"""coral equals a plain float64 greedy of its formula, and Lightly's engine where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import SelectionError
from labelwise.selection import coral, halves

rng = np.random.default_rng
NOTHING = np.array([], int)


def plain(n, candidates, labelled, scores, embeddings, a=1.0, b=1.0):
    """The formula, all distances in float64."""
    x = embeddings.astype(np.float64)
    apart = ((x[:, None] - x[None]) ** 2).sum(-1)
    b = b if scores[[*candidates, *labelled]].any() else 0
    taken, picks = list(labelled), []
    for _ in range(min(n, len(candidates))):
        left = np.array([c for c in candidates if c not in picks])
        if not taken:
            pick = left[np.argmax(scores[left])] if b else left[0]
        else:
            distances = sum(apart[j, [k for k in taken if k != j]].min() for j in taken) if len(taken) > 1 else 0.0
            spread, weights = distances + apart[left][:, taken].min(1), scores[taken].sum() + scores[left]
            with np.errstate(divide="ignore"):
                logs = (a * np.log(spread) if a else 0) + (b * np.log(weights) if b else 0)
            pick = left[np.argmax(spread * weights if a == b else logs)]
        picks.append(int(pick))
        taken.append(int(pick))
    return picks


def problem(seed, size, known, width):
    """Vectors with duplicates, scores with zeros, some rows labelled and some neither."""
    r = rng(seed)
    total = size + known + 2
    x = r.normal(size=(total, width)).astype(np.float32)
    if seed % 3 == 0:
        x = x[r.integers(0, total // 3 + 1, total)]
    scores = r.beta(1, 4, total) * (r.random(total) < 0.6 if seed % 4 == 0 else 1)
    rows = r.permutation(total)
    return np.sort(rows[known : known + size]), rows[:known], scores, x


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 80),
    st.integers(0, 15),
    st.integers(1, 20),
    st.sampled_from([(1.0, 1.0), (2.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)]),
)
def test_equals_the_formula(seed, size, known, width, strengths):
    given = problem(seed, size, known, width)
    picks = coral(size, *given, diversity=strengths[0], weight=strengths[1])
    assert picks.rows.tolist() == plain(size, *given, *strengths)


def test_more_rows_than_are_kept_up_to_date():
    given = problem(1, 2400, 20, 8)
    picks = coral(50, *given)
    assert picks.rows.tolist() == plain(50, *given)
    before = np.concatenate([given[1], picks.rows])
    for i, row in enumerate(picks.rows):
        distances = np.linalg.norm(given[3][before[: 20 + i]].astype(float) - given[3][row], axis=1)
        assert picks.facts["distance"][i] == pytest.approx(distances.min())
        assert picks.facts["nearest"][i] == before[distances.argmin()]


def test_products_of_halves_change_no_pick(monkeypatch):
    candidates, labelled, scores, x = problem(2, 5000, 700, 32)
    picks, used = {}, []
    refresh = halves.Halves.refresh
    monkeypatch.setattr(halves.Halves, "refresh", lambda self, *given: (used.append(1), refresh(self, *given)))
    for device in (None, "cpu"):
        monkeypatch.setattr(halves, "device", lambda work, device=device: device)
        picks[device] = coral(300, candidates, labelled, scores, x).rows.tolist()
    assert used
    assert picks["cpu"] == picks[None]


def test_first_pick_is_the_highest_score_and_ties_go_to_the_lowest_row():
    x = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    assert coral(4, np.arange(4), NOTHING, np.array([0.1, 0.5, 0.5, 0.1]), x).rows.tolist() == [1, 2, 0, 3]
    assert coral(4, np.arange(4), NOTHING, np.zeros(4), x).rows.tolist() == [0, 3, 1, 2]
    assert coral(3, np.arange(3), NOTHING, np.ones(3), np.ones((3, 2), np.float32)).rows.tolist() == [0, 1, 2]


def test_a_labelled_row_without_a_score_counts_as_the_mean():
    candidates, labelled, scores, x = problem(5, 60, 8, 6)
    filled, unknown = scores.copy(), scores.copy()
    filled[labelled], unknown[labelled] = scores[candidates].mean(), np.nan
    expected = coral(20, candidates, labelled, filled, x).rows.tolist()
    assert coral(20, candidates, labelled, unknown, x).rows.tolist() == expected


def test_shares_of_the_gain_are_those_of_the_logarithms():
    candidates, labelled, scores, x = problem(7, 30, 5, 4)
    picks = coral(10, candidates, labelled, scores, x, diversity=2.0, weight=0.5)
    taken = list(labelled)
    for i, row in enumerate(picks.rows):
        apart = ((x[taken].astype(float)[:, None] - x[taken].astype(float)) ** 2).sum(-1)
        np.fill_diagonal(apart, np.inf)
        spread, weights = apart.min(1).sum(), scores[taken].sum()
        far = ((x[taken].astype(float) - x[row].astype(float)) ** 2).sum(1).min()
        gains = 2.0 * np.log((spread + far) / spread), 0.5 * np.log((weights + scores[row]) / weights)
        assert picks.facts["gain_diversity"][i] == pytest.approx(gains[0] / sum(gains))
        assert picks.facts["gain_score"][i] == pytest.approx(gains[1] / sum(gains))
        taken.append(row)


def test_the_first_gains_by_its_score_and_the_second_by_its_distance():
    x = np.array([[0, 0], [1, 0], [0, 3]], np.float32)
    picks = coral(3, np.arange(3), NOTHING, np.array([0.5, 1, 0.5]), x)
    assert picks.facts["gain_score"][:2].tolist() == [1, 0]
    assert picks.facts["gain_diversity"][:2].tolist() == [0, 1]


@pytest.mark.parametrize("least", [0.0, 0.7, 1.3, 50.0])
def test_it_ends_before_a_pick_that_is_too_near(least):
    given = problem(8, 60, 4, 3)
    whole, picks = coral(60, *given), coral(60, *given, least_distance=least)
    near = whole.facts["distance"] < least
    end = int(np.argmax(near)) if near.any() else 60
    assert picks.rows.tolist() == whole.rows[:end].tolist()
    assert bool(picks.ended) == (end < 60)


def test_refusals():
    x = np.eye(3, dtype=np.float32)
    with pytest.raises(SelectionError, match=r"row 1 has -0\.5"):
        coral(1, np.arange(3), NOTHING, np.array([1, -0.5, 1]), x)
    with pytest.raises(SelectionError, match="row 2 has nan"):
        coral(1, np.arange(3), NOTHING, np.array([1, 1, np.nan]), x)
    with pytest.raises(SelectionError, match="expected a diversity of 0 or more"):
        coral(1, np.arange(3), NOTHING, np.ones(3), x, diversity=-1)
    with pytest.raises(SelectionError, match="least_distance of 0 or more, but found -1"):
        coral(1, np.arange(3), NOTHING, np.ones(3), x, least_distance=-1)


ALIKE = [(seed, (1.0, 1.0)) for seed in range(12)]
# of 300 problems (these seeds up to 99, three pairs of strengths) the engine parts from float64 in two
APART = [(20, (2.0, 1.0)), (67, (1.0, 1.0))]


@pytest.mark.parametrize(("seed", "strengths"), ALIKE + APART)
def test_equals_lightlys_engine_but_for_its_rounding(seed, strengths):
    engine = pytest.importorskip("lightly_mundig")
    candidates, labelled, scores, x = problem(seed, 200, 6 * (seed % 2), 8)
    rows = np.sort(np.concatenate([candidates, labelled]))
    selection = engine.Selection()
    selection.add_diversifying_strategy(x[rows].tolist(), strengths[0])
    selection.add_weighting_strategy(scores[rows].tolist(), strengths[1])
    found = selection.run_selection(np.searchsorted(rows, labelled).tolist(), len(rows), len(labelled) + 40)
    theirs = [int(row) for row in rows[found] if row not in labelled]
    ours = coral(40, candidates, labelled, scores, x, diversity=strengths[0], weight=strengths[1]).rows.tolist()
    if (seed, strengths) in ALIKE:
        assert ours == theirs
        return
    at = next(i for i in range(40) if ours[i] != theirs[i])
    gains = [gain([*labelled, *ours[:at]], row, scores, x, *strengths) for row in (ours[at], theirs[at])]
    assert 0 < gains[0] - gains[1] < np.spacing(np.float32(gains[0]))  # ours is better by less than float32 can hold


def gain(taken, row, scores, x, a, b):
    """What a candidate gains, in float64."""
    points = x[taken].astype(np.float64)
    apart = ((points[:, None] - points) ** 2).sum(-1)
    np.fill_diagonal(apart, np.inf)
    spread = apart.min(1).sum() + ((points - x[row]) ** 2).sum(1).min()
    return a * np.log(spread) + b * np.log(scores[taken].sum() + scores[row])
