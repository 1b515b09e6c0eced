"""Names, import paths and files: what they mean, and one line where they mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from labelwise import catalog
from labelwise.errors import ConfigError
from labelwise.models.heads import Neighbours


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in catalog.TABLES.items() for name in table])
def test_every_entry_resolves_and_says_what_it_is(kind, name):
    found = catalog.resolve(kind, name)
    assert callable(found)
    assert found.__doc__
    assert catalog.option_types(found) is not None


@pytest.mark.parametrize("kind", catalog.TABLES)
def test_an_unknown_name_is_told_with_the_nearest_and_the_ways_out(kind):
    name = next(iter(catalog.TABLES[kind]))
    with pytest.raises(ConfigError, match=f"unknown {kind} '{name}x': did you mean '{name}'") as error:
        catalog.resolve(kind, f"{name}x")
    assert "./file.py:attribute" in str(error.value)


def test_an_import_path():
    assert catalog.resolve("head", "labelwise.models.heads:Neighbours") is Neighbours


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("no.such.module:f", "cannot import 'no.such.module'"),
        ("..relative:f", "cannot import"),
        (":f", "cannot import"),
        ("os.path:joni", "did you mean 'join'"),
        ("os:sep", "expected a function or class, found str"),
        ("./absent.py:f", "no file 'absent.py'"),
        ("labelwise.models.heads:_hidden", "has no '_hidden'"),
    ],
)
def test_paths_that_lead_nowhere(spec, said):
    with pytest.raises(ConfigError, match=said) as error:
        catalog.resolve("score", spec)
    assert "\n" not in str(error.value)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_relative_to_the_working_folder_or_absolute(tmp_path, monkeypatch):
    file = write(tmp_path / "mine.py", "def best(probs):\n    return probs\n")
    monkeypatch.chdir(tmp_path)
    assert catalog.resolve("score", "./mine.py:best") is catalog.resolve("score", f"{file}:best")
    assert file in catalog.loaded_files()


def test_two_files_of_one_name_stay_two(tmp_path):
    one = write(tmp_path / "a" / "mine.py", "def f(probs):\n    return 1\n")
    two = write(tmp_path / "b" / "mine.py", "def f(probs):\n    return 2\n")
    assert [catalog.resolve("score", f"{p}:f")(None) for p in (one, two, one)] == [1, 2, 1]


@pytest.mark.parametrize("text", ["def f(:\n", "import no_such_package\n", "1 / 0\n", "raise SystemError('x')\n"])
def test_a_broken_file_is_one_line_and_can_be_mended(text, tmp_path):
    file = write(tmp_path / "mine.py", text)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine\.py cannot be loaded: ") as error:
            catalog.resolve("score", f"{file}:f")
        assert "\n" not in str(error.value)
    file.unlink()
    write(file, "def f(probs):\n    return 'mended'\n")
    assert catalog.resolve("score", f"{file}:f")(None) == "mended"


def test_a_broken_module_is_one_line(tmp_path, monkeypatch):
    write(tmp_path / "broken_plugin_module.py", "1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        catalog.resolve("score", "broken_plugin_module:f")


def options(rows, *, k: int = 3, share: float = 0.5, kind: Literal["a", "b"] = "a", sizes: tuple[int, ...] = (), any=0):
    return k, share, kind, sizes, any


def test_options_become_the_types_of_their_parameters():
    given = {"k": "4", "share": 1, "kind": "b", "sizes": [1, 2], "any": Path("x")}
    found = catalog.checked_options("strategy.select", options, given)
    assert found == {"k": 4, "share": 1.0, "kind": "b", "sizes": (1, 2), "any": Path("x")}
    assert type(found["share"]) is float


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": "many"}, "select.k: "),
        ({"k": 1.5}, "select.k: "),
        ({"kind": "c"}, "select.kind: "),
        ({"sizes": 3}, "select.sizes: "),
        ({"shar": 1}, "unknown key select.shar: did you mean 'share'"),
        ({"rows": 1}, "unknown key select.rows"),
    ],
)
def test_options_that_do_not_fit_are_named(given, said):
    with pytest.raises(ConfigError, match=said):
        catalog.checked_options("select", options, given)


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        ("head", {"name": "knn", "k": 0}, "head.k"),
        ("head", {"name": "knn", "dropout": True}, "unknown key head.dropout"),
        ("head", {"name": "logistic", "C": -1}, "head.C"),
        ("head", {"name": "mlp", "hidden": [10, 0]}, "head.hidden"),
        ("head", {"k": 3}, "'name'"),
        ("head", {"name": 3}, "'name'"),
        ("model", {"name": "frozen", "dropout": 1}, "model.dropout"),
        ("model", {"name": "frozen", "passes": 0}, "model.passes"),
        ("model", {"name": "frozen", "resize": "stretch"}, "model.resize"),
        ("model", {"name": "frozen", "head": "logistc"}, "did you mean 'logistic'"),
        ("model", {"name": "finetune", "epochs": 0}, "model.epochs"),
        ("model", {"name": "finetune", "start": "warm"}, "model.start"),
        ("model", {"name": "finetune", "validation": 1}, "model.validation"),
        ("annotator", {"name": "oracle", "noise": 2}, "annotator.noise"),
        ("engine", {"name": "local", "workers": -1}, "engine.workers"),
    ],
)
def test_options_that_cannot_work_are_refused_when_the_configuration_is_read(kind, spec, said):
    with pytest.raises(ConfigError, match=said):
        catalog.make(kind, spec)


def test_an_option_without_a_default_must_be_given(tmp_path):
    file = write(
        tmp_path / "mine.py", "class Model:\n    def __init__(self, depth: int, *rest, **more):\n        pass\n"
    )
    with pytest.raises(ConfigError, match=r"the key model.depth is missing"):
        catalog.make("model", f"{file}:Model")
    assert catalog.make("model", {"name": f"{file}:Model", "depth": 3})


def test_annotations_for_type_checkers_only_do_not_stop_a_plug_in(tmp_path):
    text = "from __future__ import annotations\ndef f(probs: Tensor, *, k: int = 1):\n    return k\n"
    function = catalog.resolve("score", f"{write(tmp_path / 'mine.py', text)}:f")
    assert catalog.checked_options("score", function, {"k": 2}) == {"k": 2}


def test_the_nearest_word_is_suggested_only_if_it_is_near():
    assert catalog.suggest("margn", ["margin", "entropy"]) == "did you mean 'margin'? known: entropy, margin"
    assert catalog.suggest("zzz", ["margin", "entropy"]) == "known: entropy, margin"
