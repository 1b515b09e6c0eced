"""The rounds: budgets, what is trained and judged on what, and how a run begins and ends."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import api
from labelwise.data.digits import make_scenes
from labelwise.errors import ConfigError, DataError
from labelwise.results import RunResult, open_run

PIXELS = {"name": "frozen", "backbone": "pixels", "size": 8}


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 scenes in bursts of 1 to 6 frames: a table of path, class, group."""
    return make_scenes(tmp_path_factory.mktemp("scenes"), count=150)


def plan(folder: Path, table: Path, **changes: Any) -> dict[str, Any]:
    """A run on scenes with three rounds of 10; keys with two underscores reach below (``data__test=0``)."""
    tree: dict[str, Any] = {
        "name": "r",
        "data": {"format": "csv_table", "path": str(table)},
        "model": PIXELS,
        "budget": {"initial": 10, "per_round": 10, "rounds": 3},
        "strategy": "margin",
        "out": str(folder / "runs"),
        "cache": str(folder / "cache"),
        "threads": 1,
    }
    for key, value in changes.items():
        branch, _, leaf = key.partition("__")
        if leaf:
            tree[branch] = {**tree.get(branch, {}), leaf: value}
        else:
            tree[branch] = value
    return tree


def run(tree: Mapping[str, Any], **options: Any) -> RunResult:
    return api.run(tree, report=False, **options)


def copied(table: Path, folder: Path, *, keep: float) -> Path:
    """A copy of the data, with only the first ``keep`` of its classes known."""
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    known = round(keep * len(rows))
    for r in rows:
        place = folder / r["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((table.parent / r["path"]).read_bytes())
    lines = [f"{r['path']},{r['class'] if i < known else ''},{r['group']}" for i, r in enumerate(rows)]
    (folder / "table.csv").write_text("path,class,group\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder / "table.csv"


def truths(table: Path) -> dict[str, str]:
    return {r["path"]: r["class"] for r in csv.DictReader(table.read_text(encoding="utf-8").splitlines())}


def answer(folder: Path, round: int, truth: Mapping[str, str], *, only: int | None = None) -> int:
    """Fill the open rows of annotate.csv as a person would; returns how many were filled."""
    file = folder / "rounds" / f"{round:03d}" / "annotate.csv"
    rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
    filled = 0
    for row in rows:
        if not row["class"] and (only is None or filled < only):
            row["class"] = truth[row["path"]]
            filled += 1
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return filled


def squares(folder: Path, **counts: int) -> Path:
    """Class folders of small grey squares, each picture its own."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name / f"{i:02d}.png")
    return folder


def test_budgets_are_exact(scenes: Path, tmp_path: Path) -> None:
    result = run(plan(tmp_path, scenes))
    assert [len(result.picks(r)) for r in result.rounds] == [10, 10, 10]
    assert [result.labels(r) for r in result.rounds] == [10, 20, 30]
    asked = [i for r in result.rounds for i in result.picks(r)]
    assert len(set(asked)) == 30
    assert result.state == "finished"


def test_a_round_without_figures_says_why(scenes: Path, tmp_path: Path) -> None:
    told: list[str] = []
    run(plan(tmp_path, scenes, data__test=0.0, budget__rounds=1), tell=told.append)
    assert "round 0: 10 labels, no test images or audit sample to judge the model on" in told


def test_a_list_of_amounts_and_shares(scenes: Path, tmp_path: Path) -> None:
    result = run(
        plan(tmp_path, scenes, budget={"initial": "20%", "per_round": [3, 5], "rounds": 3}, data__test=0.0, audit=5)
    )
    assert [len(result.picks(r)) for r in result.rounds] == [29, 3, 5]  # of 145


def test_skipped_images_cost_nothing(scenes: Path, tmp_path: Path) -> None:
    result = run(plan(tmp_path, scenes, annotator={"name": "oracle", "skip": 0.4}, budget__rounds=3))
    skipped = sum(a.skipped for a in result.annotations.values())
    assert skipped > 3
    # A round asks for what is missing to its goal, so what was skipped before is asked again of other images.
    for r in result.rounds[:-1]:
        assert len(result.picks(r + 1)) == 10 * (r + 2) - result.labels(r)
    assert len({q.sample_id for qs in result.queries.values() for q in qs}) == sum(
        len(qs) for qs in result.queries.values()
    )


def test_everything_skipped_in_round_0(scenes: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path, scenes, annotator={"name": "oracle", "skip": 1.0})
    result = run(tree)
    assert result.state == "finished"
    assert [result.labels(r) for r in result.rounds] == [0, 0, 0]
    assert result.curve("accuracy") is None
    assert result.metrics_csv().count("\n") == 1
    assert not list((result.folder / "rounds").glob("*/checkpoint"))
    api.write_outputs(result)


def test_an_exhausted_pool_ends_the_run_and_stays_ended(scenes: Path, tmp_path: Path) -> None:
    tree = plan(
        tmp_path,
        scenes,
        annotator={"name": "oracle", "skip": 0.3},
        budget={"initial": 80, "per_round": 60, "rounds": 6},
    )
    first = run(tree)
    pool = first.split_sizes["pool"]
    assert first.state == "finished"
    assert "every image" in first.message
    assert sum(len(first.picks(r)) for r in first.rounds) == pool
    again = run(tree)
    assert (again.rounds, again.message) == (first.rounds, first.message)


def test_a_budget_above_the_pool(scenes: Path, tmp_path: Path) -> None:
    result = run(plan(tmp_path, scenes, budget={"initial": 1000, "per_round": 10, "rounds": 4}))
    assert (result.rounds, result.state) == ([0], "finished")
    assert result.labels(0) == result.split_sizes["pool"]


def test_stopping_after_a_round(scenes: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path, scenes, budget__rounds=2)
    assert run(tree, rounds=0).rounds == []
    assert run(tree, rounds=1).state == "stopped"
    last = run(tree, rounds=1)
    assert (last.state, last.rounds) == ("finished", [0, 1])
    assert run(tree, rounds=1).state == "finished"


def test_no_sample_is_on_two_sides(scenes: Path, tmp_path: Path) -> None:
    result = run(plan(tmp_path, scenes, budget={"initial": 40, "per_round": 40, "rounds": 3}, audit=8))
    asked = {q.sample_id for qs in result.queries.values() for q in qs if q.purpose == "train"}
    audit = {q.sample_id for qs in result.queries.values() for q in qs if q.purpose == "audit"}
    assert len(audit) == 8
    assert not asked & (audit | result.test_ids)
    assert not audit & result.test_ids
    groups = {
        side: {result.samples[i].group for i in ids}
        for side, ids in {"pool": asked | audit, "test": result.test_ids}.items()
    }
    assert not groups["pool"] & groups["test"]


def test_the_audit_sample_is_judged_with_intervals_and_never_trained_on(scenes: Path, tmp_path: Path) -> None:
    result = run(plan(tmp_path, scenes, data__test=0.0, audit=20))
    assert result.split == "audit"
    assert sum(len(result.picks(r)) for r in result.rounds) == 30
    for scores in result.evaluations["audit"].values():
        assert scores["n"] == 20
        for name in ("accuracy", "macro_f1"):
            assert 0 <= scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"] <= 1
        assert scores["accuracy_low"] < scores["accuracy_high"]
    assert sum(result.class_counts(2).values()) == 30
    # The same images whatever the seed: runs can be compared.
    other = run(plan(tmp_path, scenes, data__test=0.0, audit=20, seed=5, name="other"))
    ids = [{q.sample_id for q in r.queries[0] if q.purpose == "audit"} for r in (result, other)]
    assert ids[0] == ids[1]


def test_too_large_an_audit_is_refused(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="audit=150"):
        api.check(plan(tmp_path, scenes, data__test=0.0, audit=150))
    with pytest.raises(DataError, match="audit=150"):
        run(plan(tmp_path, scenes, data__test=0.0, audit=150))


def test_cold_start_and_strategy(scenes: Path, tmp_path: Path) -> None:
    result = run(plan(tmp_path, scenes, cold_start="random", strategy="margin", budget__rounds=2))
    assert all("score" not in q.reason for q in result.queries[0])
    assert all(q.proposal is None for q in result.queries[0])
    assert all("score" in q.reason and q.proposal is not None for q in result.queries[1])
    candidates = np.load(result.folder / "rounds" / "001" / "candidates.npz")
    assert len(candidates["ids"]) == result.split_sizes["pool"] - 10
    best = set(candidates["ids"][np.argsort(-candidates["scores"])[:10]])
    assert best == set(result.picks(1))


def test_labels_that_came_with_the_data(scenes: Path, tmp_path: Path) -> None:
    table, truth = copied(scenes, tmp_path / "data", keep=0.3), truths(scenes)
    tree = plan(
        tmp_path, table, data__test=0.0, audit=6, annotator={"name": "files", "new_classes": True}, budget__rounds=2
    )
    first = run(tree)
    assert first.state == "waiting"
    assert "16 annotations of round 0" in first.message
    given = [q for q in first.queries[0] if q.id in first.annotations]
    assert all(q.cost == 0 and first.annotations[q.id].annotator == "data" for q in given)
    assert 35 <= len(given) <= 45
    # None of them is asked again, and none of the audit sample is trained on.
    asked = [q for q in first.queries[0] if q.id not in first.annotations]
    assert sum(q.purpose == "train" for q in asked) == 10
    assert not {q.sample_id for q in given} & {q.sample_id for q in asked}
    assert answer(first.folder, 0, truth) == 16
    second = run(tree)
    assert "10 annotations of round 1" in second.message
    assert second.labels(0) == len(given) + 10
    answer(second.folder, 1, truth)
    last = run(tree)
    assert (last.state, last.labels(1)) == ("finished", len(given) + 20)
    assert all(
        a.target is not None and a.target.classes[0] == truth[q.sample_id]
        for q in last.queries[0]
        for a in [last.annotations[q.id]]
    )


def test_answers_in_parts_give_the_same_classes(scenes: Path, tmp_path: Path) -> None:
    table, truth = copied(scenes, tmp_path / "data", keep=0.0), truths(scenes)
    found = []
    for name, portions in (("at-once", [16]), ("in-parts", [1, 3, 12])):
        tree = plan(tmp_path, table, name=name, audit=6, annotator="files", budget__rounds=1)
        result = run(tree)
        for portion in portions:
            assert result.state == "waiting"
            assert answer(result.folder, 0, truth, only=portion) == portion
            result = run(tree)
        assert result.state == "finished"
        found.append((result.classes, result.picks(0), result.evaluations["audit"]))
    assert found[0] == found[1]


def test_a_class_that_nobody_labelled_yet(tmp_path: Path) -> None:
    path = squares(tmp_path / "data", a=20, b=20, rare=2)
    tree = plan(
        tmp_path,
        path,
        data={"format": "class_folders", "path": str(path), "test": 0.3},
        cold_start="random",
        budget={"initial": 2, "per_round": 2, "rounds": 4},
    )
    result = run(tree)
    assert result.state == "finished"
    assert result.classes == ("a", "b", "rare")
    assert all(len(s["classes"]) == 3 for s in result.evaluations["test"].values())


@pytest.mark.parametrize(
    "strategy", ["balanced_herding", "margin", "badge", "bald", "k_center", "typiclust", "balanced_margin"]
)
def test_one_class_only(tmp_path: Path, strategy: str) -> None:
    path = squares(tmp_path / "data", only=20)
    tree = plan(
        tmp_path,
        path,
        data={"format": "class_folders", "path": str(path)},
        strategy=strategy,
        budget={"initial": 3, "per_round": 3, "rounds": 3},
    )
    result = run(tree)
    assert [result.labels(r) for r in result.rounds] == [3, 6, 9]
    assert result.evaluations["test"][0]["accuracy"] == 1


def test_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    path = squares(tmp_path / "data", a=10, b=10)
    (path / "a" / "00.png").write_bytes(b"no picture")
    tree = plan(
        tmp_path,
        path,
        data={"format": "class_folders", "path": str(path)},
        budget={"initial": 4, "per_round": 4, "rounds": 2},
    )
    result = run(tree)
    assert [p.id for p in result.problems] == ["a/00.png"]
    assert "a/00.png" not in result.samples
    with pytest.raises(DataError, match=r"a/00\.png.*on_bad_image=skip"):
        run({**tree, "name": "strict", "data": {**tree["data"], "on_bad_image": "error"}})


@pytest.mark.parametrize(("how", "kept"), [("skip", 20), ("keep", 21)])
def test_duplicates(tmp_path: Path, how: str, kept: int) -> None:
    path = squares(tmp_path / "data", a=10, b=10)
    (path / "a" / "copy.png").write_bytes((path / "a" / "03.png").read_bytes())
    data = {"format": "class_folders", "path": str(path), "on_duplicate": how}
    result = run(plan(tmp_path, path, data=data, budget={"initial": 4, "per_round": 4, "rounds": 1}))
    assert sum(result.split_sizes.values()) == kept
    assert [p.code for p in result.problems] == ["duplicate"]


def test_a_cap_on_groups_gives_fewer_and_says_so(scenes: Path, tmp_path: Path) -> None:
    told: list[str] = []
    tree = plan(
        tmp_path,
        scenes,
        cold_start={"name": "random", "per_group": 1},
        budget={"initial": 100, "per_round": 5, "rounds": 1},
    )
    result = run(tree, tell=told.append)
    groups = [result.samples[i].group for i in result.picks(0)]
    assert len(groups) == len(set(groups)) < 100
    assert any("of 100 images chosen" in line for line in told)
    assert result.labels(0) == len(groups)


def test_metadata_that_a_rule_asks_for_is_there_before_anyone_labels(scenes: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path, scenes, strategy={"score": "margin", "per": {"gruop": 1}}, cold_start="random")
    with pytest.raises(ConfigError, match="no metadata 'gruop'; did you mean 'group'"):
        run(tree)
    result = run({**tree, "strategy": {"score": "margin", "per": {"group": 1}}}, rounds=1)
    assert len(result.picks(0)) == 10


def test_bald_needs_a_head_that_drops(scenes: Path, tmp_path: Path) -> None:
    assert len(run(plan(tmp_path, scenes, strategy="bald", budget__rounds=2)).picks(1)) == 10
    tree = plan(tmp_path, scenes, strategy="bald", model={**PIXELS, "head": "knn"}, name="knn")
    with pytest.raises(ConfigError, match="strategy needs samples"):
        run(tree)
    assert not (tmp_path / "runs" / "knn").exists()


def test_an_oracle_without_truth_is_refused_before_anything_is_computed(scenes: Path, tmp_path: Path) -> None:
    table = copied(scenes, tmp_path / "data", keep=0.5)
    tree = plan(tmp_path, table)
    for call in (api.check, run):
        with pytest.raises(DataError, match=r"oracle.*75 of 150 .*annotator=files"):
            call(tree)
    assert not (tmp_path / "cache").exists()


def test_a_mistake_before_the_first_query_can_be_mended(scenes: Path, tmp_path: Path) -> None:
    tree = plan(tmp_path, scenes, data__path=str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError):
        run(tree)
    tree["data"]["path"] = str(scenes)
    run(tree, rounds=0)
    # What was read and computed for other settings is not used.
    result = run(plan(tmp_path, scenes, model={**PIXELS, "size": 4}, data__test=0.4))
    assert result.state == "finished"
    assert result.split_sizes["test"] >= 50
    assert np.load(result.folder / "model" / "standard.npz")["mean"].shape == (16,)


def test_the_test_split_has_no_say(scenes: Path, tmp_path: Path) -> None:
    """Other classes on the test images change the figures only, neither picks nor models."""
    first = run(plan(tmp_path, scenes))
    lines = scenes.read_text().splitlines()
    swap = {f"{i}": f"{(i + 1) % 10}" for i in range(10)}
    changed = [lines[0]]
    for line in lines[1:]:
        path, name, group = line.split(",")
        place = tmp_path / "data" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((scenes.parent / path).read_bytes())
        changed.append(f"{path},{swap[name] if path in first.test_ids else name},{group}")
    table = tmp_path / "data" / "table.csv"
    table.write_text("\n".join(changed) + "\n")
    # The split is stratified by class: put the first run's in its place.
    import labelwise.loop.intake as intake

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "choose_test", lambda samples, share, seed: set(first.test_ids))
        second = run(plan(tmp_path, table, name="swapped"))
    assert second.test_ids == first.test_ids
    assert [second.picks(r) for r in second.rounds] == [first.picks(r) for r in first.rounds]
    assert second.evaluations["test"][2]["confusion"] != first.evaluations["test"][2]["confusion"]


def test_open_run_tells_a_run_in_its_first_call(scenes: Path, tmp_path: Path) -> None:
    states: list[str] = []
    tree = plan(tmp_path, scenes, budget__rounds=2)
    run(tree, tell=lambda line: states.append(open_run(tmp_path / "runs" / "r").state))
    assert states[0] == "unfinished"


def test_scores_are_rescaled_over_the_whole_pool(scenes: Path, tmp_path: Path) -> None:
    result = run(plan(tmp_path, scenes, strategy={"name": "margin", "rescale": [0.5, 0.75]}, budget__rounds=2))
    with np.load(result.folder / "rounds/001/candidates.npz") as kept:
        assert (kept["scores"].min(), kept["scores"].max()) == (0.5, 0.75)
