"""combined equals a plain float64 greedy of its formula, coral where it is coral, and Lightly's engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import ConfigError, SelectionError
from labelwise.selection import Inputs, bind, coral
from labelwise.selection.combining import combined
from labelwise.selection.terms import Part
from labelwise.strategies import Recipe, assemble

rng = np.random.default_rng
KINDS = ["score", "similarity", "typicality", "metadata", "balance", "places"]


def problem(seed, size, known, width=3):
    """Vectors with duplicates, scores with zeros, words with gaps, some rows labelled and some neither."""
    r = rng(seed)
    total = size + known + 2
    x = r.normal(size=(total, width)).astype(np.float32)
    if seed % 3 == 0:
        x = x[r.integers(0, total // 3 + 1, total)]
    rows = r.permutation(total)
    return Inputs(
        n=size,
        candidates=np.sort(rows[known : known + size]),
        rng=rng(0),
        labelled=rows[:known],
        labels=r.integers(0, 3, known),
        scores=r.beta(1, 4, total) * (r.random(total) < 0.6 if seed % 4 == 0 else 1),
        probs=r.dirichlet([0.5, 0.3, 0.2], total),
        embeddings=x,
        metadata={
            "light": r.random(total) * 100,
            "place": np.array([["wood", "lake", "", "road"][i] for i in r.integers(0, 4, total)]),
        },
    )


def part_of(kind, strength, target="uniform"):
    if kind == "metadata":
        return Part("metadata", strength, column="light")
    if kind == "places":
        return Part("balance", strength, column="place", target=target)
    return Part(kind, strength, target=target if kind == "balance" else "uniform")


def weights(kind, inputs):
    """Weights of all rows in play, by the formulas of the engine."""
    rows = np.concatenate([inputs.candidates, inputs.labelled])
    found = np.full(len(inputs.embeddings), np.nan)
    x = inputs.embeddings.astype(np.float64)
    apart = np.sqrt(((x[rows][:, None] - x[rows][None]) ** 2).sum(-1))
    if kind == "score":
        return inputs.scores
    if kind == "metadata":
        return inputs.metadata["light"]
    if kind == "similarity":
        queries = inputs.labelled
        if not len(queries):
            mean = x[inputs.candidates].mean(0)
            queries = inputs.candidates[[((x[inputs.candidates] - mean) ** 2).sum(1).argmin()]]
        d = np.sqrt(((x[rows][:, None] - x[queries][None]) ** 2).sum(-1)).min(1)
    else:
        np.fill_diagonal(apart, np.inf)
        d = np.sort(apart, axis=1)[:, : min(20, len(rows) - 1)]
    values = np.exp(-d / d.mean()) if d.size and d.any() else np.ones(len(rows))
    found[rows] = values if kind == "similarity" else values.reshape(len(rows), -1).mean(1)
    return found


def counts(part, inputs):
    if part.column is None:
        table = inputs.probs.copy()
        table[inputs.labelled] = np.eye(3)[inputs.labels]
        names = ["0", "1", "2"]
    else:
        rows = np.concatenate([inputs.candidates, inputs.labelled])
        names = sorted(set(inputs.metadata["place"][rows]) - {""})
        table = np.array([[float(word == name) for name in names] for word in inputs.metadata["place"]])
    rows = np.concatenate([inputs.candidates, inputs.labelled])
    if part.target == "uniform":
        return table, np.full(len(names), 1 / max(len(names), 1))
    if part.target == "input":
        return table, table[rows].sum(0) / table[rows].sum()
    other = [i for i, name in enumerate(names) if name not in part.target]
    mine = [names.index(name) for name in part.target]
    rest = 1 - sum(part.target.values())
    target = [*part.target.values()]
    if not other:
        return table[:, mine], np.array(target)
    return np.column_stack([table[:, mine], table[:, other].sum(1)]), np.array([*target, rest])


def plain(inputs, parts):
    """One pick after the other, every potential computed anew."""
    x = inputs.embeddings.astype(np.float64)
    apart = ((x[:, None] - x[None]) ** 2).sum(-1)
    others = [p for p in parts if p.by != "diversity"]
    tables = {id(p): counts(p, inputs) if p.by == "balance" else weights(p.by, inputs) for p in others}
    floor = 1e-300

    def gain(part, taken, row):
        if part.by == "diversity":
            if not taken:
                return 0.0
            among = sum(apart[j, [k for k in taken if k != j]].min() for j in taken) if len(taken) > 1 else 0.0
            return part.strength * np.log(max(among + apart[row, taken].min(), floor))
        if part.by == "balance":
            table, target = tables[id(part)]
            total = table[[*taken, row]].sum(0) * (table[row].sum() > 0)  # a row without a word comes last
            share = np.clip(total / max(total.sum(), floor), 1e-10, None)
            used = target > 0
            return -part.strength * np.log(max(-(target[used] * np.log(share[used])).sum(), 1e-10))
        values = tables[id(part)]
        used = values[np.concatenate([inputs.candidates, inputs.labelled])]
        return part.strength * np.log(max(values[[*taken, row]].sum(), floor)) if used.any() else 0.0

    taken, picks = list(inputs.labelled), []
    for _ in range(min(inputs.n, len(inputs.candidates))):
        left = [row for row in inputs.candidates if row not in picks]
        gains = [round(sum(gain(part, taken, row) for part in parts) * 2**32) for row in left]
        picks.append(int(left[int(np.argmax(gains))]))
        taken.append(picks[-1])
    return picks


def strengths():
    return st.sampled_from([1.0, 2.0, 0.5, -1.0])


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 25),
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from(KINDS), strengths()), min_size=1, max_size=3, unique_by=lambda x: x[0]),
    st.sampled_from([None, 1.0, 2.0, -1.0]),
    st.sampled_from(["uniform", "input"]),
)
def test_equals_the_formula(seed, size, known, kinds, diversity, target):
    inputs = problem(seed, size, known)
    parts = [part_of(kind, strength, target) for kind, strength in kinds]
    if diversity is not None:
        parts.insert(seed % (len(parts) + 1), Part("diversity", diversity))
    picks = combined(inputs, parts=tuple(parts))
    assert picks.rows.tolist() == plain(inputs, parts)
    shares = np.stack([values for name, values in picks.facts.items() if name.startswith("gain_")], axis=1)
    assert shares.shape == (size, len(parts))
    sums = shares.sum(axis=1)
    assert np.allclose(sums[~np.isnan(sums)], 1)


def test_more_candidates_than_are_looked_at_first():
    inputs = problem(1, 900, 20, width=6).replace(n=25)
    parts = (Part("diversity"), Part("score", 0.5), Part("balance", 2.0))
    assert combined(inputs, parts=parts).rows.tolist() == plain(inputs, parts)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 10), st.sampled_from([(1, 1), (2, 1), (0, 1), (1, 0)]))
def test_with_diversity_and_weights_it_is_coral(seed, size, known, both):
    inputs = problem(seed, size, known)
    picks = combined(inputs, parts=(Part("score", both[1]), Part("diversity", both[0])))
    arrays = (inputs.candidates, inputs.labelled, inputs.scores, inputs.embeddings)
    expected = coral(size, *arrays, diversity=both[0], weight=both[1])
    assert picks.rows.tolist() == expected.rows.tolist()
    for name, values in expected.facts.items():
        np.testing.assert_array_equal(picks.facts[name], values)


def test_a_target_by_name_and_what_is_left():
    inputs = problem(2, 30, 0).replace(n=10)
    part = Part("balance", column="place", target={"lake": 0.7})
    picks = combined(inputs, parts=(part,))
    assert picks.rows.tolist() == plain(inputs, [part])
    assert np.mean(inputs.metadata["place"][picks.rows] == "lake") == 0.7
    some = Part("balance", target={"2": 1.0})
    assert combined(inputs, parts=(some,)).rows.tolist() == plain(inputs, [some])


def test_similar_to_a_class():
    inputs = problem(5, 40, 6).replace(labels=np.array([0, 1, 1, 0, 2, 0]), n=3)
    picks = combined(inputs, parts=(Part("similarity", like=(2,)),))
    x = inputs.embeddings.astype(float)
    distances = np.linalg.norm(x[inputs.candidates] - x[inputs.labelled[4]], axis=1)
    assert picks.rows.tolist() == inputs.candidates[np.argsort(distances, kind="stable")[:3]].tolist()
    with pytest.raises(SelectionError, match="labelled rows of class 7"):
        combined(inputs, parts=(Part("similarity", like=(7,)),))


def test_it_ends_by_distance():
    inputs = problem(4, 60, 3).replace(n=60)
    parts = (Part("diversity"), Part("score"), Part("balance"))
    whole, picks = combined(inputs, parts=parts), combined(inputs, parts=parts, least_distance=0.8)
    short = whole.facts["distance"] < 0.8
    assert picks.rows.tolist() == whole.rows[: int(np.argmax(short))].tolist()
    assert "nearer than 0.8" in picks.ended
    assert whole.ended == ""
    exact = float(whole.facts["distance"][5])  # a distance that equals the threshold is kept
    assert (
        len(combined(inputs, parts=parts, least_distance=exact).rows) >= 6
        or (whole.facts["distance"][:6] < exact).any()
    )


def test_each_part_asks_for_what_it_needs():
    words = assemble(Recipe(select={"name": "combined", "parts": [{"by": "diversity"}, {"by": "balance"}]})).uses
    assert words == {"embeddings", "probs"}
    parts = [{"by": "balance", "column": "place"}, {"by": "metadata", "column": "light"}]
    assert assemble(Recipe(select={"name": "combined", "parts": parts})).uses == {"metadata"}
    assert assemble(Recipe(select="combined", score="margin")).needs == {"embeddings", "probs"}
    with pytest.raises(ConfigError, match="needs scores"):
        assemble(Recipe(select="combined"))
    with pytest.raises(ConfigError, match=r"strategy\.select\.parts"):
        assemble(Recipe(select={"name": "combined", "parts": [{"by": "diversty"}]}))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((), "one part or more"),
        ((Part("diversity"), Part("diversity")), "diversity once"),
        ((Part("metadata"),), "a column with metadata"),
        ((Part("score", column="light"),), "a column with metadata"),
        ((Part("score", float("nan")),), "finite strength of score"),
        ((Part("metadata", column="lihgt"),), "no column 'lihgt': it has light, place"),
        ((Part("metadata", column="place"),), "numbers in place, but found words"),
        ((Part("balance", target={"9": 0.5}),), "knows no class '9': it has 0, 1, 2"),
        ((Part("balance", target={"0": 0.8, "1": 0.8}),), "sum to 1.6"),
        ((Part("balance", target={"0": -0.8}),), "from 0 to 1"),
    ],
)
def test_refusals(parts, said):
    with pytest.raises(SelectionError, match=said):
        combined(problem(1, 10, 2), parts=parts)


def test_refusals_of_numbers():
    inputs = problem(1, 10, 2)
    with pytest.raises(SelectionError, match=r"needs a part .by: diversity"):
        combined(inputs, parts=(Part("score"),), least_distance=1)
    light = {"light": np.where(np.arange(14) == inputs.candidates[3], -2.0, 1.0)}
    with pytest.raises(SelectionError, match=f"light of 0 or more, but row {inputs.candidates[3]} has -2.0"):
        combined(inputs.replace(metadata=light), parts=(Part("metadata", column="light"),))
    with pytest.raises(SelectionError, match="combined needs metadata"):
        bind(combined, {"parts": (Part("metadata", column="light"),)})(inputs.replace(metadata=None))


@pytest.mark.parametrize("seed", range(8))
def test_equals_lightlys_engine(seed):
    engine = pytest.importorskip("lightly_mundig")
    inputs = problem(seed, 120, 6 * (seed % 2), 5)
    rows = np.sort(np.concatenate([inputs.candidates, inputs.labelled]))
    target = [[1 / 3] * 3, [0.2, 0.3, 0.5]][seed % 2]
    table = inputs.probs.copy()
    table[inputs.labelled] = np.eye(3)[inputs.labels]
    selection = engine.Selection()
    selection.add_diversifying_strategy(inputs.embeddings[rows].tolist(), 1.0)
    selection.add_weighting_strategy((inputs.scores + 0.01)[rows].tolist(), 0.5)
    selection.add_balancing_strategy(table[rows].tolist(), target, 2.0)
    found = selection.run_selection(
        np.searchsorted(rows, inputs.labelled).tolist(), len(rows), len(inputs.labelled) + 30
    )
    expected = [int(row) for row in rows[found] if row not in inputs.labelled]
    share = {str(i): t for i, t in enumerate(target)}
    parts = (Part("diversity"), Part("score", 0.5), Part("balance", 2.0, target=share))
    picks = combined(inputs.replace(n=30, scores=inputs.scores + 0.01), parts=parts)
    assert picks.rows.tolist() == expected
