"""The documentation is true: complete, fresh, every snippet runs, every command parses, every link resolves."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelwise import catalog
from labelwise.config import FREE_KEYS, load
from labelwise.errors import LabelwiseError
from labelwise.parts import build
from labelwise.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
REGION = re.compile(r"<!-- generated:.*?<!-- /generated:[^>]*-->", re.DOTALL)


def _generate() -> Any:
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


generate = _generate()


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[tuple[int, str]]:
    """Code blocks of a language with the line they begin in."""
    text = text_of(name)
    found = [m for m in BLOCK.finditer(text) if m[2] == language]
    return [(text.count("\n", 0, m.start(3)) + 1, re.sub(rf"^{m[1]}", "", m[3], flags=re.MULTILINE)) for m in found]


def words_of(name: str) -> str:
    """A page without its links' targets, so that a name in an address does not count."""
    return re.sub(r"\]\([^)]*\)", "]", text_of(name))


# --- complete and fresh -------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(generate.regions()))
def test_generated_regions_are_fresh(page: str) -> None:
    if generate.fresh(page) != text_of(f"docs/{page}"):
        pytest.fail(f"docs/{page} is stale: run 'make docs'")


def test_every_verb_and_option_is_told() -> None:
    page = words_of("docs/cli.md")
    for name, command in generate.verbs().items():
        assert f"### {name}\n" in page
        for parameter in command.params:
            for option in (o for o in parameter.opts if o.startswith("--")):
                assert option in page, f"{name} {option}"


def test_every_verb_has_an_example() -> None:
    shown = {shlex.split(line)[1] for name in NAMES for _, line in command_lines(name)}
    assert shown == set(generate.verbs())


def test_every_key_is_told() -> None:
    page = text_of("docs/configuration.md")
    expected = [*generate.keys(), "data.path", "data.split_seed", "budget.per_round", "strategy.near_duplicates"]
    assert [key for key in expected if f"| `{key}` |" not in page] == []


def test_every_key_that_may_change_is_told() -> None:
    page = text_of("docs/concepts.md")
    assert [key for key in FREE_KEYS if f"`{key}`" not in page] == []


@pytest.mark.parametrize("kind", catalog.TABLES)
def test_every_name_and_option_is_told(kind: str) -> None:
    pages = dict.fromkeys(("score", "reduce", "select"), "docs/strategies.md") | {"predictions": "docs/predictions.md"}
    page = words_of(pages.get(kind, "docs/configuration.md"))
    for name in catalog.TABLES[kind]:
        assert re.search(rf"^### .*`{name}`$", page, re.MULTILINE), name
        for option in generate.options(kind, name):
            assert f"| `{option}` |" in page, f"{name}.{option}"


def test_every_preset_is_told() -> None:
    for page in ("docs/strategies.md", "README.md"):
        assert [name for name in PRESETS if f"`{name}`" not in text_of(page)] == []


def test_every_family_of_errors_is_told() -> None:
    from labelwise import errors

    page = text_of("docs/troubleshooting.md")
    families = [n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.LabelwiseError)]
    assert [name for name in families if name not in page] == []


def data_sources(*, cameras: bool) -> str:
    """The sources of the readers: those of camera traps, or all others."""
    own = "camtrap_dp", "coco_camera_traps", "joined_files", "megadetector", "observed", "sequences", "timelapse"
    files = (ROOT / "src/labelwise/data").glob("*.py")
    return "".join(p.read_text(encoding="utf-8") for p in files if p.stem.startswith(own) == cameras)


def test_every_problem_with_camera_traps_is_told() -> None:
    from labelwise.data import camtrap_dp, coco_camera_traps

    codes = set(re.findall(r'(?:note|Problem)\((?:[^()"]|\([^()]*\))*, "([a-z_]+)"', data_sources(cameras=True)))
    codes |= set(camtrap_dp._TOLD) | set(coco_camera_traps._TOLD)
    assert {"missing", "people", "several_classes", "one_location", "no_time"} <= codes
    page = text_of("docs/camera_traps.md")
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []


def test_every_verdict_on_an_image_is_told() -> None:
    page = text_of("docs/troubleshooting.md")
    sources = data_sources(cameras=False)
    codes = set(re.findall(r'(?:_verdict|Problem)\((?:[^()"]*, )?"([a-z_]+)"', sources))
    assert len(codes) > 8
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []


def test_every_verdict_on_predictions_is_told() -> None:
    from labelwise.data.predictions.boxes import _TOLD

    assert [code for code in _TOLD if f"`{code}`" not in text_of("docs/predictions.md")] == []


def test_every_problem_with_boxes_is_told() -> None:
    from labelwise.data.true_boxes import _TOLD

    sources = data_sources(cameras=False)
    codes = set(re.findall(r'tell\([^()"]*(?:\([^()]*\))?, "([a-z_]+)"', sources)) | set(_TOLD)
    assert {"missing", "repeated", "bad_annotation", "outside_root"} <= codes
    assert [code for code in sorted(codes) if f"`{code}`" not in text_of("docs/detection.md")] == []


# --- snippets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in NAMES if blocks(n, "python")])
def test_python_snippets_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The snippets of a page run one after the other, in one name space and an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELWISE_CACHE", str(tmp_path / "cache"))
    page = types.ModuleType("page")  # a module of its own, so that its classes can be looked up and pickled
    monkeypatch.setitem(sys.modules, "page", page)
    for line, code in blocks(name, "python"):
        # Empty lines before it, so that a traceback shows the line of the page.
        exec(compile("\n" * (line - 1) + code, str(ROOT / name), "exec"), vars(page))


@pytest.mark.parametrize("name", [n for n in NAMES if blocks(n, "yaml")])
def test_yaml_snippets_load(name: str) -> None:
    """Every snippet is a configuration, or becomes one with the keys that are required; its parts can be built."""
    for line, text in blocks(name, "yaml"):
        tree = yaml.safe_load(text)
        assert isinstance(tree, dict), f"{name}:{line}"
        given = {"name": "page", **tree, "data": {"format": "images_folder", "path": "photos", **tree.get("data", {})}}
        config = load(given)
        if "mypackage" in text:
            continue
        try:
            build(config)
        except LabelwiseError as error:
            if "pip install 'labelwise[" not in str(error):  # else an optional package is not installed here
                pytest.fail(f"{name}:{line}: {error}")


def command_lines(name: str) -> list[tuple[int, str]]:
    lines = []
    for first, text in blocks(name, "sh"):
        for number, line in enumerate(text.splitlines()):
            words = shlex.split(line, comments=True)
            if words and words[0] == "labelwise":
                lines.append((first + number, shlex.join(words)))
    return lines


@pytest.mark.parametrize("name", [n for n in NAMES if command_lines(n)])
def test_command_lines_parse(name: str) -> None:
    for line, command in command_lines(name):
        _, verb, *rest = shlex.split(command)
        assert verb in generate.verbs(), f"{name}:{line}: {command}"
        parsed = generate.verbs()[verb].make_context(verb, rest)
        changes = parsed.params.get("changes") or []
        config = parsed.params.get("config")
        if verb in ("check", "run", "step", "simulate"):
            assert config, f"{name}:{line}: {command}"
            load({"name": "page", "data": {"format": "class_folders", "path": "photos"}}, changes)


def test_targets_of_make_that_are_named_exist() -> None:
    targets = set(re.findall(r"^(\w+):", text_of("Makefile"), re.MULTILINE))
    told = {target for name in NAMES for target in re.findall(r"`make (\w+)", text_of(name))}
    assert told - targets == set()


# --- links and words ----------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", NAMES)
def test_links_resolve(name: str) -> None:
    text = BLOCK.sub("", text_of(name))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), f"{name}: {target}"
        assert not anchor or anchor in anchors(found), f"{name}: {target}"


def files_of_the_project() -> list[Path]:
    folders = ("src", "tests", "docs", "examples", "benchmarks", ".ci")
    inside = [p for folder in folders for p in (ROOT / folder).rglob("*")]
    found = [p for p in [*ROOT.glob("*"), *inside] if p.is_file() and "__pycache__" not in p.parts]
    return [p for p in found if p.suffix in (".md", ".py", ".toml", ".txt", ".html", ".css", ".js", ".yaml", "")]


def test_no_place_or_registry_is_named() -> None:
    # Put together here, so that this file does not hold them.
    needles = [
        "/wo" + "rk/",
        "/ro" + "ot/",
        "/tm" + "p/v",
        "py" + "pi.org",
        "pythonhos" + "ted",
        "conda" + ".io",
        "--index" + "-url",
    ]
    for path in files_of_the_project():
        text = path.read_text(encoding="utf-8", errors="replace").lower()
        assert [n for n in needles if n in text] == [], path.relative_to(ROOT)


@pytest.mark.parametrize("name", NAMES)
def test_words_are_those_of_the_house(name: str) -> None:
    text = BLOCK.sub("", text_of(name)).lower()
    foreign = ["labeler", "labeller", "acquisition function", "query strategy", "pre-annotation", "seed set", "utility"]
    assert [word for word in foreign if word in text] == []


def test_constraints_name_versions_only() -> None:
    lines = text_of("constraints.txt").split()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
