"""The command line: every verb, every exit code, and one line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelwise import cli
from labelwise.data.digits import make_scenes

VERBS = (
    "demo",
    "init",
    "check",
    "run",
    "step",
    "status",
    "simulate",
    "compare",
    "embed",
    "pick",
    "export",
    "import",
    "predict",
    "list",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("scenes"), count=60)


@pytest.fixture
def config(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of two quick rounds in the working folder."""
    monkeypatch.chdir(tmp_path)
    tree = {
        "name": "r",
        "data": {"format": "csv_table", "path": str(table)},
        "model": {"name": "frozen", "backbone": "pixels", "size": 4, "head": "knn"},
        "budget": {"initial": 4, "per_round": 4, "rounds": 2},
        "strategy": "margin",
        "cache": "cache",
        "threads": 1,
    }
    Path("c.yaml").write_text(yaml.safe_dump(tree))
    return Path("c.yaml")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Call ``labelwise ...`` in this process: exit code, standard output, standard error."""

    def made(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labelwise", *map(str, words)])
        monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return code, out, err

    return made


def shell(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which ``lw`` is the console script."""
    lw = Path(sys.executable).with_name("labelwise")
    command = str(lw) if lw.exists() else f"{sys.executable} -m labelwise.cli"
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["bash", "-c", text.replace("lw ", f"{command} ")], capture_output=True, text=True, check=False, env=environment
    )


def assert_one_line(code: int, err: str, *parts: str) -> None:
    assert code == 1, err
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for part in parts:
        assert part in err


def test_help_lists_the_verbs(call: Any) -> None:
    for option in ("--help", "-h"):
        code, out, err = call(option)
        assert (code, err) == (0, "")
        assert all(f"\n  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(call: Any, verb: str) -> None:
    code, out, _ = call(verb, "--help")
    assert code == 0
    assert out.startswith(f"Usage: labelwise {verb} ")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nope",),
        ("run",),
        ("run", "--nope", "c.yaml"),
        ("check", "--json=1", "c.yaml"),
        ("simulate", "c.yaml", "--seeds", "0"),
        ("simulate", "c.yaml", "--seeds", "two"),
        ("compare",),
        ("status",),
        ("embed",),
        ("embed", "empty", "--train", "-1"),
        ("embed", "empty", "--mean", "0.5"),
    ],
)
def test_wrong_usage_is_2(call: Any, words: tuple[str, ...]) -> None:
    code, out, err = call(*words)
    assert code == 2
    assert "Usage: labelwise" in out + err or err.startswith("Error: ")
    assert "Traceback" not in err


def test_a_run_from_the_first_to_the_last_word(call: Any, config: Path) -> None:
    code, out, err = call("check", config)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "ok"
    assert "60 images, 10 classes" in out
    code, out, _ = call("step", config)
    assert code == 0
    assert "run again to go on" in out
    code, out, _ = call("run", config)
    assert code == 0
    assert "the budget is spent after 2 rounds" in out
    assert out.splitlines()[-1].endswith("report.html")
    folder = Path("runs/r")
    assert (folder / "report.html").stat().st_size > 1000
    assert len((folder / "metrics.csv").read_text().splitlines()) == 3
    code, out, _ = call("status", folder)
    assert code == 0
    assert "finished" in out
    assert "annotate" in out
    # A run's folder stands for its configuration.
    code, out, _ = call("run", folder, "budget.rounds=3")
    assert code == 0
    assert "12 labels" in out
    code, out, _ = call("status", folder, "--json")
    facts = json.loads(out)
    assert [r["labels"] for r in facts["rounds"]] == [4, 8, 12]
    assert (facts["state"], facts["waiting_for"], facts["left_out"]) == ("finished", 0, 0)


def test_quiet(call: Any, config: Path) -> None:
    assert call("run", config, "-q", "budget.rounds=1") == (0, "", "")
    assert call("step", config, "--quiet") == (0, "", "")


def test_no_report(call: Any, config: Path) -> None:
    code, out, _ = call("run", config, "--no-report", "budget.rounds=1")
    assert code == 0
    assert out.splitlines()[-1].startswith("run: ")
    assert not Path("runs/r/report.html").exists()


def test_simulate_and_compare(call: Any, config: Path) -> None:
    code, out, err = call("simulate", config, "--strategies", "margin, random,margin", "--seeds", "2")
    assert code == 0, err
    assert out.count("the budget is spent") == 4
    assert "runs/r/report.html" in out
    assert sorted(p.name for p in Path("runs/r").iterdir() if p.is_dir()) == [
        "data",
        "margin-00",
        "margin-01",
        "random-00",
        "random-01",
    ]
    code, out, _ = call("simulate", config, "--strategies", "margin,random", "--seeds", "2", "--json")
    facts = json.loads(out)
    assert (code, facts["baseline"], list(facts["arms"])) == (0, "random", ["margin", "random"])
    code, out, _ = call("compare", "runs/r", "--out", "x/y.html")
    assert code == 0
    assert Path("x/y.html").is_file()
    assert "margin" in out
    code, out, _ = call("compare", "runs/r/margin-00", "runs/r/margin-01", "--json")
    assert (code, json.loads(out)["baseline"]) == (0, None)
    code, _, err = call("compare", "runs/r", "--baseline", "ramdom")
    assert_one_line(code, err, "'ramdom'", "did you mean 'random'")


def test_init_then_check(call: Any, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call("init", table.parent)
    assert (code, err) == (0, "")
    assert "next: labelwise check labelwise.yaml" in out
    code, out, _ = call("check", "labelwise.yaml", "model.backbone=pixels", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    code, _, err = call("init", table.parent)
    assert_one_line(code, err, "labelwise.yaml is there already", "--force")
    assert call("init", table.parent, "--force")[0] == 0


def test_list(call: Any) -> None:
    code, out, _ = call("list")
    assert code == 0
    for name in ("balanced_herding", "margin", "frozen", "oracle", "local", "class_folders"):
        assert name in out
    code, out, _ = call("list", "heads", "--json")
    assert list(json.loads(out)["heads"]) == ["logistic", "mlp", "knn"]
    code, _, err = call("list", "strategie")
    assert_one_line(code, err, "did you mean 'strategies'")


MISTAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no file": (("run", "nofile.yaml"), ("nofile.yaml", "labelwise init")),
    "a picture": (("run", "picture.png"), ("picture.png", ".yaml")),
    "a picture that says yaml": (("run", "picture.yaml"), ("picture.yaml", "not valid YAML")),
    "an empty file": (("check", "empty.yaml"), ("an empty file",)),
    "an empty folder": (("run", "empty"), ("without config.yaml", "labelwise init")),
    "a wrong key": (("check", "c.yaml", "stratgy=margin"), ("'stratgy'", "did you mean 'strategy'")),
    "a wrong key below": (("check", "c.yaml", "budget.round=2"), ("budget.round", "did you mean 'rounds'")),
    "a wrong value": (("check", "c.yaml", "budget.rounds=many"), ("budget.rounds", "'many'")),
    "a wrong name": (("check", "c.yaml", "strategy=marign"), ("did you mean 'margin'",)),
    "boxes in a classification": (("check", "c.yaml", "strategy=box_margin"), ("reduce (max)", "task is classify")),
    "faint boxes there": (("check", "c.yaml", "strategy=missed_objects"), ("reduce (sum)", "task is classify")),
    "empty images there": (("check", "c.yaml", "strategy.empty=quota"), ("empty (quota)", "task is classify")),
    "a wrong reduction": (("check", "c.yaml", "strategy.reduce=meen"), ("did you mean 'mean'",)),
    "no equals sign": (("run", "c.yaml", "seed"), ("key=value", "'seed'")),
    "bad yaml": (("run", "c.yaml", "seed=[1"), ("'seed'", "[1")),
    "no data": (("run", "c.yaml", "data.path=nowhere.csv"), ("nowhere.csv",)),
    "no rounds": (("run", "c.yaml", "budget.rounds=0"), ("budget.rounds",)),
    "no cuda": (("check", "c.yaml", "engine=ray_on_mars"), ("ray_on_mars", "local")),
    "status of nothing": (("status", "empty"), ("no run in empty",)),
    "status of a file": (("status", "c.yaml"), ("no run in c.yaml",)),
    "compare nothing": (("compare", "empty"), ("no run in empty",)),
    "compare what is not there": (("compare", "nowhere"), ("no run in nowhere",)),
    "init of nothing": (("init", "nowhere"), ("nowhere",)),
    "init of an empty folder": (("init", "empty"), ("empty folder",)),
    "init of a picture": (("init", "picture.png"), ("one picture",)),
    "init into nowhere": (("init", "data", "--out", "nowhere/x.yaml"), ("nowhere",)),
    "simulate without strategies": (("simulate", "c.yaml", "--strategies", ","), ("strateg",)),
    "simulate unknown": (("simulate", "c.yaml", "--strategies", "margin,rendom"), ("did you mean 'random'",)),
    "simulate with people": (("simulate", "c.yaml", "annotator=files"), ("annotator=oracle",)),
    "embed nothing": (("embed", "nowhere", "--backbone", "edges"), ("nowhere",)),
    "embed an empty folder": (("embed", "empty", "--backbone", "edges"), ("found none",)),
    "embed a picture": (("embed", "picture.png", "--backbone", "edges"), ("a file",)),
    "embed by a wrong network": (("embed", "data", "--backbone", "resnet1"), ("resnet1",)),
    "embed with a wrong option": (
        ("embed", "data", "--backbone", "test_resnet", "--weights", "none", "--option", "pad=same"),
        ("pad",),
    ),
    "embed without equals sign": (("embed", "data", "--backbone", "edges", "--option", "pad"), ("key=value",)),
    "embed without weights": (
        ("embed", "data", "--backbone", "test_resnet", "--weights", "nowhere.pth"),
        ("nowhere.pth",),
    ),
    "embed into a strange file": (("embed", "data", "--backbone", "edges", "-o", "x.xlsx"), (".parquet",)),
    "embed into a folder": (("embed", "data", "--backbone", "edges", "-o", "folder.csv"), ("a folder",)),
    "train edges": (("embed", "data", "--backbone", "edges", "--train", "1"), ("edges", "--train")),
    "train by a wrong method": (
        ("embed", "data", "--backbone", "test_resnet", "--weights", "none", "--train", "1", "--method", "simklr"),
        ("did you mean 'simclr'",),
    ),
    "train by a wrong setting": (
        ("embed", "data", "--backbone", "test_resnet", "--weights", "none", "--train", "1", "--setting", "lrr=1"),
        ("did you mean 'lr'",),
    ),
    "train on one picture": (
        ("embed", "data", "--backbone", "test_resnet", "--weights", "none", "--size", "32", "--train", "1"),
        ("two images or more", "found 1"),
    ),
    "demo in a file": (("demo", "c.yaml", "--seeds", "1"), ("c.yaml",)),
}


# Met only where lightly is there: its settings are listed from its code, and images are counted after them.
WITH_LIGHTLY = ("train by a wrong setting", "train on one picture")


@pytest.mark.parametrize("what", MISTAKES)
def test_every_mistake_is_one_line(call: Any, config: Path, table: Path, what: str) -> None:
    words, parts = MISTAKES[what]
    if what in WITH_LIGHTLY:
        pytest.importorskip("lightly", reason="lightly is optional")
    png = next((table.parent / "images").iterdir()).read_bytes()
    Path("picture.png").write_bytes(png)
    Path("picture.yaml").write_bytes(png)
    Path("empty.yaml").write_text("# nothing\n")
    Path("empty").mkdir()
    Path("folder.csv").mkdir()
    Path("data").mkdir()
    Path("data/a.png").write_bytes(png)
    code, _, err = call(*words)
    assert_one_line(code, err, *parts)


def test_embed(call: Any, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path / "cache"))
    code, out, err = call("embed", table.parent, "--backbone", "edges")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "60 images, 128 numbers each (60 computed, 0 known or copies; 0 left out)",
        "embeddings: embeddings.parquet",
    ]
    code, out, _ = call("embed", table.parent, "--backbone", "edges", "--json", "--half", "-o", "x/y.npy")
    facts = json.loads(out)
    assert (code, facts["computed"], facts["dim"], facts["dtype"]) == (0, 0, 128, "float16")
    assert Path("x/y.npy").is_file()
    assert call("embed", table.parent, "--backbone", "pixels", "-q", "-o", "z.csv") == (0, "", "")


def test_running_out_of_memory_is_one_line(call: Any, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labelwise import api

    def hungry(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(api, "run", hungry)
    code, _, err = call("run", config)
    assert_one_line(code, err, "out of memory")


def test_values_with_spaces_and_colons(call: Any, config: Path) -> None:
    code, out, _ = call("run", config, "name=a run, with: words", "budget.rounds=1")
    assert code == 1  # a comma and a colon name no folder
    code, out, err = call("run", config, "name=a run", "strategy={name: margin, per_group: 2}", "budget.rounds=1")
    assert (code, err) == (0, "")
    assert Path("runs/a run/run.db").is_file()
    code, out, _ = call("status", "runs/a run")
    assert "per_group=2" in out


def test_waiting_for_people_is_0(call: Any, config: Path, table: Path) -> None:
    code, out, _ = call(
        "run", config, "annotator=files", "data.format=images_folder", f"data.path={table.parent / 'images'}"
    )
    assert code == 0
    assert "waiting for 4 annotations of round 0" in out
    assert "annotate.csv" in out
    code, out, _ = call("status", "runs/r")
    assert "waiting" in out


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from labelwise import tables

    monkeypatch.setattr(tables, "catalogue", lambda kind: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["labelwise", "list"])
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        cli.main()


# --- through the real console script ---------------------------------------------------------------


def test_the_console_script(tmp_path: Path) -> None:
    assert shell("lw --help").returncode == 0
    assert shell("lw nope").returncode == 2
    found = shell(f"lw run {tmp_path}/none.yaml")
    assert_one_line(found.returncode, found.stderr, "none.yaml")


def test_a_reader_that_goes_away(config: Path) -> None:
    found = shell("set -o pipefail; lw list | head -1")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count("\n") == 1
    found = shell("set -o pipefail; lw run c.yaml budget.rounds=1 | true")
    assert "Traceback" not in found.stderr
    assert "Exception" not in found.stderr


def test_a_full_standard_output() -> None:
    found = shell("lw list > /dev/full")
    assert_one_line(found.returncode, found.stderr, "No space left")


def test_a_narrow_or_plain_terminal(config: Path) -> None:
    found = shell("lw check c.yaml name=größe strategy=nö", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert_one_line(found.returncode, found.stderr, "unknown strategy 'n")


def test_it_is_also_a_module() -> None:
    told = subprocess.run([sys.executable, "-m", "labelwise", "lst"], capture_output=True, text=True, timeout=120)
    assert (told.returncode, told.stdout) == (2, "")
    assert "Did you mean 'list'" in told.stderr
