"""The Python interface: check, run, simulate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from labelwise import api, loop
from labelwise.data.digits import make_scenes
from labelwise.errors import ConfigError, LabelwiseError, RunChanged, RunError
from labelwise.results import open_run


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("scenes"), count=60)


@pytest.fixture
def tree(table: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "name": "s",
        "data": {"format": "csv_table", "path": str(table)},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"},
        "budget": {"initial": 4, "per_round": 4, "rounds": 2},
        "strategy": "margin",
        "out": str(tmp_path / "runs"),
        "cache": str(tmp_path / "cache"),
        "threads": 1,
    }


def test_check_says_what_would_run(tree: dict[str, Any], tmp_path: Path) -> None:
    facts = api.check(tree, {"budget.rounds": 3})
    assert facts[0].startswith("data: 60 images, 10 classes, 60 images with a known class, ")
    assert facts[1] == "model: frozen, gives embeddings, probs"
    assert facts[2] == "strategy: margin; round 0 by typiclust"
    assert facts[3] == "budget: 3 rounds, 4 to 12 labels of about 48 images"
    assert not (tmp_path / "runs").exists()


def test_check_lists_what_the_data_lacks(tree: dict[str, Any], table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    file = tmp_path / "t.csv"
    file.write_text("\n".join([*lines, "images/none.png,1,g"]) + "\n")
    tree["data"] |= {"path": str(file), "root": str(table.parent)}
    assert any(f.startswith("note: ") and "none.png" in f for f in api.check(tree))
    file.write_text("\n".join([*lines, *(f"images/none{i}.png,1,g" for i in range(1005))]) + "\n")
    notes = [f for f in api.check(tree) if f.startswith("note: ")]
    assert len(notes) == 4
    assert "1,002 more" in notes[-1]


def test_run_writes_outputs_and_tells(tree: dict[str, Any], tmp_path: Path) -> None:
    told: list[str] = []
    seen: list[tuple[int, int, str]] = []
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    result = api.run(tmp_path / "c.yaml", tell=told.append, progress=lambda *step: seen.append(step))
    assert [line.split(":")[0] for line in told] == [
        "images",
        "round 0",
        "round 1",
        "the budget is spent after 2 rounds",
    ]
    assert {what for _, _, what in seen} == {"images", "features"}
    assert all(done <= total for done, total, _ in seen)
    assert sorted(p.name for p in result.folder.iterdir() if not p.name.startswith((".", "run.db"))) == [
        "config.yaml",
        "metrics.csv",
        "model",
        "report.html",
        "rounds",
    ]
    assert "r/000" not in result.metrics_csv()


def test_simulate(tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    comparison = api.simulate(tree, ["margin", "random", "margin+random"], seeds=2, tell=told.append)
    assert list(comparison.arms) == ["margin+typiclust", "random", "margin+random"]
    assert comparison.baseline == "random"
    assert all(sorted(arm) == [0, 1] for arm in comparison.arms.values())
    runs = [r for arm in comparison.arms.values() for r in arm.values()]
    assert len({r.test_ids for r in runs}) == 1
    # The same seed begins with the same images wherever the cold start is the same.
    assert comparison.arms["random"][0].picks(0) == comparison.arms["margin+random"][0].picks(0)
    assert comparison.arms["random"][0].picks(0) != comparison.arms["random"][1].picks(0)
    assert told[-1].endswith("report.html")
    assert Path(told[-1].removeprefix("report: ")).is_file()

    # Again: only what is missing runs.
    begun: list[str] = []
    genuine = loop.DO["train"]
    monkeypatch.setattr(
        loop,
        "DO",
        {**loop.DO, "train": lambda context, *rest: begun.append(context.config.name) or genuine(context, *rest)},
    )
    again = api.simulate(tree, ["margin", "random"], seeds=3)
    assert set(begun) == {"s/margin-02", "s/random-02"}
    assert again.arms["margin"][1].picks(1) == comparison.arms["margin+typiclust"][1].picks(1)


def test_an_arm_is_the_run_it_would_be_alone(tree: dict[str, Any]) -> None:
    comparison = api.simulate(tree, ["margin"], seeds=1)
    alone = api.run({**tree, "name": "alone"}, report=False)
    arm = comparison.arms["margin"][0]
    assert (arm.queries, arm.evaluations) == (alone.queries, alone.evaluations)


def test_another_strategy_in_the_file_does_not_matter(tree: dict[str, Any]) -> None:
    api.simulate(tree, ["random"], seeds=1)
    tree |= {"strategy": "entropy", "seed": 1}
    assert sorted(api.simulate(tree, ["random"], seeds=1).arms["random"]) == [1]


@pytest.mark.parametrize(
    ("strategies", "overrides", "message"),
    [
        ([], {}, "found none"),
        (["margni"], {}, "did you mean 'margin'"),
        (["margin+margin"], {}, "cold_start needs probs"),
        (["bald"], {}, "strategy needs samples"),
        (["object_k_center"], {}, "strategy needs boxes, objects, but model 'frozen' gives embeddings, probs"),
        (["margin"], {"annotator": "files"}, "annotator=oracle"),
    ],
)
def test_what_cannot_be_simulated_is_refused_at_once(
    tree: dict[str, Any], tmp_path: Path, strategies: list[str], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        api.simulate(tree, strategies, overrides=overrides)
    assert message in str(refused.value)
    assert not (tmp_path / "runs").exists()


def test_another_budget_is_refused_for_arms_that_began(tree: dict[str, Any]) -> None:
    api.simulate(tree, ["random"], seeds=1)
    with pytest.raises(RunChanged, match=r"budget\.per_round: 4 -> 5"):
        api.simulate(tree, ["random"], seeds=1, overrides={"budget.per_round": 5})


@pytest.mark.slow
def test_simulating_side_by_side_gives_the_same(tree: dict[str, Any]) -> None:
    one = api.simulate(tree, ["margin", "random"], seeds=1)
    two = api.simulate({**tree, "name": "t"}, ["margin", "random"], seeds=1, workers=2)
    for arm in ("margin", "random"):
        assert one.arms[arm][0].queries == two.arms[arm][0].queries
        assert one.arms[arm][0].evaluations == two.arms[arm][0].evaluations


def test_compare(tree: dict[str, Any], tmp_path: Path) -> None:
    api.simulate(tree, ["margin", "random"], seeds=2)
    comparison = api.compare([tmp_path / "runs" / "s"], out=tmp_path / "new" / "c.html")
    assert list(comparison.arms) == ["margin", "random"]
    assert (tmp_path / "new" / "c.html").is_file()
    saved = comparison.saved("margin")
    assert saved is not None
    assert comparison.saved("random") is None
    one = api.compare([tmp_path / "runs" / "s" / "margin-00"])
    assert (list(one.arms), one.baseline, one.saved("margin")) == (["margin"], None, None)
    turned = api.compare([tmp_path / "runs" / "s"], baseline="margin")
    assert turned.baseline == "margin"
    with pytest.raises(RunError, match=r"'mragin'.*did you mean 'margin'"):
        api.compare([tmp_path / "runs" / "s"], baseline="mragin")


def test_compare_models(tree: dict[str, Any]) -> None:
    heads = ("knn", "logistic")
    folders = [api.run({**tree, "name": head}, {"model.head": head}, report=False).folder for head in heads]
    named = list(api.compare(folders).arms)
    assert len(named) == 2
    assert "head=knn" in named[0]
    assert "head=logistic" in named[1]


def test_runs_that_cannot_be_compared(tree: dict[str, Any], tmp_path: Path) -> None:
    one = api.run({**tree, "name": "one"}, report=False).folder
    other = api.run({**tree, "name": "other"}, {"data.split_seed": 3}, report=False).folder
    with pytest.raises(RunError, match="judged on different images"):
        api.compare([one, other])
    twin = api.run({**tree, "name": "twin"}, report=False).folder
    with pytest.raises(RunError, match="same strategy with the same seed"):
        api.compare([one, twin])
    assert list(api.compare([one, one]).arms) == ["margin"]
    young = api.run({**tree, "name": "young"}, rounds=0, report=False).folder
    with pytest.raises(RunError, match="no figures yet"):
        api.compare([young])
    with pytest.raises(RunError, match="no run in"):
        api.compare([tmp_path / "nothing"])


def test_a_text_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.replace_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises((OSError, LabelwiseError)):
        api.replace_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_open_run_on_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run in .*labelwise run CONFIG"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="no run in"):
        open_run(tmp_path / "none")
