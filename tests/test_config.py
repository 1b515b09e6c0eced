"""The configuration: every key, every way it can be wrong, files that are none, and going there and back."""

from __future__ import annotations

import pickle

import pytest
import yaml
from pydantic import BaseModel

from labelwise import config as configuration
from labelwise.config import FREE_KEYS, Budget, Config, changed, differing_keys, dump, load
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


# --- files ---------------------------------------------------------------------------------------


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


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
