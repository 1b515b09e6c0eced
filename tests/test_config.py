"""The configuration: every key, every way it can be wrong, budgets, paths and going there and back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from labelwise import catalog
from labelwise import config as configuration
from labelwise.config import FREE_KEYS, Budget, Config, changed, differing_keys, dump, load, reading
from labelwise.errors import ConfigError

BASE = {"name": "one", "data": {"format": "class_folders", "path": "/data"}}

# Another value than the default for every key.
VALUES = {
    "name": "two",
    "task": "detect",
    "data.format": "csv_table",
    "data.path": "/other",
    "data.test": 0.3,
    "data.split_seed": 4,
    "data.on_bad_image": "error",
    "data.on_duplicate": "keep",
    "data.group": "folder",
    "source": {"format": "coco", "path": "/beside", "last_round": 1},
    "model": "finetune",
    "model.head": "knn",
    "strategy.name": "entropy",
    "strategy.score": "margin",
    "strategy.reduce": "mean",
    "strategy.select": {"name": "stochastic", "beta": 2.0},
    "strategy.shortlist": 5.0,
    "strategy.balance": True,
    "strategy.per_group": 2,
    "strategy.per": {"sequence": 1, "location": 10},
    "strategy.near_duplicates": 0.1,
    "strategy.class_weights": {"cat": 2.0},
    "strategy.rescale": [0.9, 1.0],
    "strategy.empty": "quota",
    "strategy.empty_share": 0.2,
    "strategy.empty_by": "missed",
    "strategy.shown": 0.3,
    "strategy.threshold": ["score >= 0.1", "width > 3"],
    "strategy.share": 0.05,
    "strategy.apart": 8,
    "strategy.evenly": False,
    "cold_start": "random",
    "budget.unit": "pixel",
    "budget.per_image": True,
    "budget.radius": 2,
    "budget.region": "superpixel",
    "budget.superpixels": 100,
    "budget.compactness": 5.0,
    "budget.cost": "pixel",
    "budget.initial": 10,
    "budget.per_round": "2.5%",
    "budget.rounds": 3,
    "budget.total": 100,
    "audit": 20,
    "shown": 0.4,
    "threshold": 0.7,
    "proposals": "zero_shot",
    "pictures": 2,
    "pictures_style": "beside",
    "pictures_folder": "pictures",
    "annotator.noise": 0.1,
    "advice.target": 0.9,
    "advice.least_gain": 0.01,
    "engine.workers": 2,
    "seed": 7,
    "out": "/runs",
    "cache": "/cache",
    "threads": 2,
}

BAD = {
    "name": ["", "../up", "a//b", "/abs", 3],
    "task": ["sort"],
    "data": ["./folder", ["a"], None],
    "data.path": [None, 3],
    "data.test": [1, -0.1, "much", float("nan")],
    "data.split_seed": [-1, 0.5],
    "data.on_bad_image": ["ignore"],
    "data.on_duplicate": ["ignore"],
    "model": [3, ["frozen"], {"head": "knn"}],
    "strategy": [3],
    "strategy.score": [3, ["margin"], {"beta": 1}],
    "strategy.select": [3, {"beta": 1}],
    "strategy.unit": ["pixel"],
    "strategy.shortlist": [0.5, float("inf")],
    "strategy.per_group": [0],
    "strategy.per": [1, {"sequence": 0}, {"sequence": "few"}],
    "strategy.near_duplicates": [-1, 3, float("nan")],
    "strategy.class_weights": [2, {"cat": "much"}],
    "strategy.rescale": [1, [1], [0, "x"]],
    "strategy.empty": ["first"],
    "strategy.empty_share": [-0.1, 1.1],
    "strategy.empty_by": ["chance"],
    "strategy.shown": [-0.1, 2],
    "strategy.threshold": [3],
    "budget.initial": [0, -3, 1.5, "0%", "101%", "many", True, None],
    "budget.per_round": [0, [], [10, 0], [10, "x%"], "5", {"a": 1}],
    "budget.rounds": [0, 1.5, "two"],
    "budget.total": [0, "-5%"],
    "audit": [-1],
    "advice.target": [0, 1, "much"],
    "advice.least_gain": [0, -0.1, 1],
    "seed": [-1, "x"],
    "budget.unit": ["boxes"],
    "shown": [-0.1, 1.5, "much"],
    "threshold": [-0.1, 1.5, "much", float("nan")],
    "source": [3, {"format": "coco"}],
    "source.last_round": [-1, "x"],
    "budget.per_image": ["some"],
    "budget.radius": [0, 0.5, 100_000],
    "budget.region": ["box"],
    "budget.superpixels": [1, 100_000],
    "budget.compactness": [0, -1],
    "budget.cost": ["click"],
    "pictures": [-1],
    "pictures_style": ["above"],
    "pictures_folder": [3],
    "strategy.share": [0, 1.5],
    "strategy.apart": [-1],
    "strategy.evenly": ["often"],
    "threads": [0],
    "proposals": [3, ["zero_shot"], {"prompts": {}}],
}


def with_(key, value):
    return load(BASE, {key: value})


def leaf_keys(node=Config, prefix=""):
    for name, field in node.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaf_keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_the_values_above_hold_every_key():
    def tested(key):
        return any(v.startswith(key.removesuffix(".name")) or key.startswith(f"{v}.") for v in VALUES)

    assert [key for key in leaf_keys() if not tested(key)] == []


@pytest.mark.parametrize("key", VALUES)
def test_every_key_can_be_set_and_is_kept(key):
    found = with_(key, VALUES[key])
    assert differing_keys(load(BASE), found) or any(key == f or key.startswith(f + ".") for f in FREE_KEYS)
    assert load(yaml.safe_load(dump(found))) == found


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in BAD.items() for v in values])
def test_a_bad_value_is_one_line_with_its_key(key, value):
    with pytest.raises(ConfigError) as error:
        with_(key, value)
    message = str(error.value)
    assert key in message
    assert "\n" not in message
    assert "function-" not in message
    assert ";" not in message.partition(key)[2] or value in (3, ["frozen"])


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("sede", "did you mean 'seed'"),
        ("budget.per_rond", "did you mean 'per_round'"),
        ("strategy.ballance", "did you mean 'balance'"),
        ("zzz", "known: advice, annotator, audit"),
        ("budget.initial.x", "budget.initial"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(key, said):
    with pytest.raises(ConfigError, match=said) as error:
        with_(key, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["data", "name", "data.path", "data.format"])
def test_a_missing_key_is_named(key):
    tree = {"name": "one", "data": dict(BASE["data"])}
    branch, _, leaf = key.rpartition(".")
    del (tree[branch] if branch else tree)[leaf]
    with pytest.raises(ConfigError, match=f"'{key}' is missing"):
        load(tree)


def test_two_mistakes_are_told_in_one_line():
    with pytest.raises(ConfigError) as error:
        load(BASE, ["seed=-1", "audit=-1"])
    assert "seed" in str(error.value)
    assert "audit" in str(error.value)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=3", "seed", 3),
        ("budget.per_round=[10, 20]", "budget", Budget(per_round=[10, 20])),
        ("budget.total=2.5 %", "budget", Budget(total="2.5%")),
        ("name=a=b", "name", "a=b"),
    ],
)
def test_overrides_are_yaml(text, key, value):
    assert getattr(load(BASE, [text]), key) == value


@pytest.mark.parametrize("text", ["seed", "=3", "", "seed=[1", "seed={"])
def test_an_override_that_is_no_key_and_value_is_refused(text):
    with pytest.raises(ConfigError):
        load(BASE, [text])


def test_overrides_below_a_default_change_the_default():
    found = load(BASE, ["engine.workers=2", "model.head=knn", "strategy.near_duplicates=0.1", "annotator.noise=0.1"])
    plain = load(BASE)
    assert (found.engine.name, found.model.name, found.annotator.name) == ("local", "frozen", "oracle")
    assert found.strategy.name == plain.strategy.name
    assert found.engine.options == {"workers": 2}


def test_overrides_below_a_name_keep_the_name():
    found = load({**BASE, "strategy": "entropy"}, ["strategy.select.name=stochastic", "strategy.select.beta=3"])
    assert found.strategy.name == "entropy"
    assert found.strategy.select == {"name": "stochastic", "beta": 3}


def test_a_dictionary_that_is_given_stays_as_it_is():
    tree = {"name": "one", "data": {"format": "class_folders", "path": "data"}}
    load(tree, {"data.test": 0.5, "seed": 3})
    assert tree == {"name": "one", "data": {"format": "class_folders", "path": "data"}}


# --- budget --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "pool", "goals"),
    [
        ({}, 1000, [50, 100, 150, 200, 250, 300, 350, 400, 450, 500]),
        ({}, 120, [50, 100, 120]),
        ({"initial": 5, "per_round": [1, 2, 3]}, 100, [5, 6, 8, 11]),
        ({"initial": 5, "per_round": [1, 2], "rounds": 5}, 100, [5, 6, 8, 10, 12]),
        ({"initial": 5, "per_round": [1, 2], "rounds": 2}, 100, [5, 6]),
        ({"initial": 5, "per_round": 4, "total": 12}, 100, [5, 9, 12]),
        ({"initial": 5, "per_round": 4, "total": 12, "rounds": 2}, 100, [5, 9]),
        ({"initial": 50, "total": 12}, 100, [12]),
        ({"initial": "2.5%", "per_round": "2.5%", "rounds": 4}, 1000, [25, 50, 75, 100]),
        ({"initial": "1.5%", "per_round": "1.5%", "rounds": 4}, 100, [2, 3, 4, 6]),
        ({"initial": "0.1%", "rounds": 1}, 10, [1]),
        ({"initial": 10, "per_round": "0.1%", "total": 13}, 100, [10, 11, 12, 13]),
        ({"initial": 1, "total": "0.1%"}, 100, [1]),
        ({"initial": "100%"}, 7, [7]),
    ],
)
def test_goals(budget, pool, goals):
    assert Budget(**budget).cumulative(pool) == goals


counts = st.integers(1, 60)
percents = st.integers(1, 1000).map(lambda v: f"{v / 10}%")
amounts = st.one_of(counts, percents)


@given(
    initial=amounts,
    per_round=st.one_of(amounts, st.lists(amounts, min_size=1, max_size=4)),
    rounds=st.one_of(st.none(), st.integers(1, 30)),
    total=st.one_of(st.none(), amounts),
    pool=st.integers(1, 300),
)
def test_goals_rise_strictly_and_never_pass_the_pool(initial, per_round, rounds, total, pool):
    goals = Budget(initial=initial, per_round=per_round, rounds=rounds, total=total).cumulative(pool)
    assert goals
    assert all(a < b for a, b in zip([0, *goals], goals, strict=False))
    assert goals[-1] <= pool
    assert rounds is None or len(goals) <= rounds
    if isinstance(total, int):
        assert goals[-1] <= total
        assert goals[-1] == min(total, pool) or rounds is not None or isinstance(per_round, list)


@given(initial=counts, per_round=counts, rounds=st.integers(1, 9))
def test_counts_are_met_exactly(initial, per_round, rounds):
    expected = [initial + per_round * i for i in range(rounds)]
    assert Budget(initial=initial, per_round=per_round, rounds=rounds).cumulative(10_000) == expected


@given(percent=st.integers(1, 100), pool=st.integers(100, 1000))
def test_shares_do_not_drift(percent, pool):
    goals = Budget(initial=f"{percent}%", per_round=f"{percent}%", rounds=100).cumulative(pool)
    assert all(abs(g - percent / 100 * pool * (i + 1)) <= 0.5 + 1e-6 for i, g in enumerate(goals[:-1]))
    assert goals[-1] == pool or len(goals) == 100


# --- files and paths -----------------------------------------------------------------------------


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


YAML = "name: one\ndata: {format: class_folders, path: images}\nmodel: {name: frozen, weights: w.pth}\ncache: ../c\n"


def test_paths_in_a_file_are_taken_from_its_folder_and_overrides_from_the_working_folder(tmp_path, monkeypatch):
    file = write(tmp_path / "project" / "a.yaml", YAML)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    found = load(file)
    assert found.data.path == tmp_path / "project" / "images"
    assert found.out == tmp_path / "project" / "runs"
    assert found.cache.resolve() == tmp_path / "c"
    assert found.model.options["weights"] == str(tmp_path / "project" / "w.pth")
    other = load("../project/a.yaml", ["data.path=images", "out=runs", "model.weights=hub"])
    assert (other.data.path, other.out) == (here / "images", here / "runs")
    assert other.model.options["weights"] == "hub"
    assert load(file, ["model.weights=none"]).model.options["weights"] == "none"
    assert load(BASE).out == here / "runs"


def test_files_that_options_name_are_taken_from_the_folder_of_the_file_too(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    file = write(
        folder / "a.yaml",
        "name: one\ndata: {format: csv_table, path: a.csv, root: pictures}\ncache: c\n"
        "model: {name: ultralytics, weights: yolo11n.yaml, settings: mine.toml}\n"
        "proposals: {name: predictions, path: boxes.json, options: {annotations: all.json}}\n"
        "annotator: {name: timelapse, root: survey}\n",
    )
    write(folder / "mine.toml", "epochs = 3")
    monkeypatch.chdir(tmp_path)
    found = load(file)
    assert found.data.options["root"] == str(folder / "pictures")
    assert found.model.options["settings"] == str(folder / "mine.toml")
    assert found.proposals.options["path"] == str(folder / "boxes.json")
    assert found.proposals.options["options"] == {"annotations": str(folder / "all.json")}
    assert found.annotator.options["root"] == str(folder / "survey")


@pytest.mark.parametrize("name", ["google/owlv2-base-patch16-ensemble", "PekingU/rtdetr_v2_r18vd", "yolo11n.yaml"])
def test_weights_that_are_a_name_stay_it_unless_there_is_such_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key in ("model", "proposals"):
        file = write(tmp_path / "a.yaml", json.dumps(BASE | {key: {"name": "zero_shot", "weights": name}}))
        for source in (file, json.loads(file.read_text())):
            assert getattr(load(source, ["seed=1"]), key).options["weights"] == name
    (tmp_path / name).mkdir(parents=True)
    assert load(file).proposals.options["weights"] == str(tmp_path / name)


@pytest.mark.parametrize("place", ["nets/mine.pt", "./owlv2", "~/owlv2", "a.safetensors"])
def test_weights_that_say_where_are_a_place_even_if_nothing_lies_there(place, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = write(tmp_path / "a.yaml", json.dumps(BASE | {"model": {"name": "zero_shot", "weights": place}}))
    home = place.startswith("~")
    expected = tmp_path / "home" / "owlv2" if home else tmp_path / place
    assert Path(load(file).model.options["weights"]) == expected


RELATIVE_TO_THE_DATA = {"data.images", "data.labels"}


@pytest.mark.parametrize("kind", ["data", "model", "annotator"])
def test_every_option_of_the_catalogue_that_is_a_path_is_known_as_one(kind):
    for name in catalog.TABLES[kind]:
        for option, parameter in catalog.option_types(catalog.resolve(kind, name)).items():
            if "Path" in str(parameter.annotation):
                assert f"{kind}.{option}" in {*reading.PATH_KEYS, *RELATIVE_TO_THE_DATA}, f"{name} of {kind}"


def test_a_home_folder_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load(BASE, ["data.path=~/images"]).data.path == Path("/home/somebody/images")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty file"),
        ("# nothing\n", "empty file"),
        ("- a\n- b\n", "found a list"),
        ("just words", "found a str"),
        ("a: [1", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("\tname: x", "not valid YAML"),
        ("1: x\nname: y", "found 1"),
        ("data: {no: 1}", "found False"),
        ("!!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_files_that_are_no_configuration(text, said, tmp_path):
    with pytest.raises(ConfigError, match=said) as error:
        load(write(tmp_path / "a.yaml", text))
    assert "a.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_binary_file_a_folder_and_nothing_at_all(tmp_path):
    (tmp_path / "a.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "a.txt").write_text("x")
    for path, said in [
        (tmp_path / "a.yaml", "not valid YAML"),
        (tmp_path, "folder without config.yaml"),
        (tmp_path / "none.yaml", "no file"),
        (tmp_path / "a.txt", r"expected a .yaml file or an mmengine configuration \(.py\), found '.txt'"),
    ]:
        with pytest.raises(ConfigError, match=said) as error:
            load(path)
        assert "\n" not in str(error.value)


def test_a_runs_folder_means_its_configuration_wherever_it_lies_now(tmp_path):
    found = load({**BASE, "name": "sweep/one"}, {"out": str(tmp_path / "runs")})
    write(found.folder / "config.yaml", dump(found))
    assert load(found.folder) == found
    (tmp_path / "runs").rename(tmp_path / "moved")
    moved = load(tmp_path / "moved" / "sweep" / "one")
    assert moved.folder == tmp_path / "moved" / "sweep" / "one"
    assert differing_keys(found, moved) == []


# --- there and back ------------------------------------------------------------------------------


def test_dumping_and_loading_gives_the_same(tmp_path):
    options = {k: v for k, v in VALUES.items() if k not in ("model", "strategy.name")}
    found = load({**BASE, "name": "Blåbær 1"}, {**options, "name": "Blåbær 1"})
    again = load(write(tmp_path / "a.yaml", dump(found)))
    assert again == found
    assert differing_keys(found, again) == []
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("key", ["engine.workers", "budget.rounds", "budget.total", "cache", "out", "threads"])
def test_free_keys_may_change_while_a_run_goes_on(key):
    assert differing_keys(load(BASE), with_(key, VALUES[key])) == []


def test_differing_keys_are_named_with_both_values():
    assert differing_keys(load(BASE), load(BASE, ["seed=3", "budget.initial=10"])) == [
        "budget.initial: 50 -> 10",
        "seed: 0 -> 3",
    ]


def test_a_changed_configuration_is_checked():
    assert changed(load(BASE), {"strategy": "margin", "seed": 3}).strategy.name == "margin"
    with pytest.raises(ConfigError, match="name"):
        changed(load(BASE), {"name": "./mine.py:f"})


def test_a_strategy_in_a_few_words():
    found = load(BASE, {"strategy": {"name": "margin", "balance": True}}).strategy
    assert configuration.strategy_text(found) == "margin (balance=True)"
    assert configuration.strategy_text(load(BASE, {"strategy": {"select": "random"}}).strategy).startswith("recipe (")
