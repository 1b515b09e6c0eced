"""The house rules that a program can check: sizes, names, docstrings, import layers, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import labelwise

SOURCE = Path(labelwise.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [path.relative_to(SOURCE).as_posix() for path in FILES]
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "pandas",
    "numpy",
    "scipy",
    "sklearn",
    "numba",
    "PIL",
    "plotly",
    "pydantic",
    "typer",
}

# From the bottom up; a name is a file or folder of the package. __init__ is lazy and stands apart.
LAYERS = (
    ("errors",),
    ("records", "boxes", "cache", "catalog", "ownership", "mmlab"),
    ("data", "scoring", "selection", "evaluate", "store", "engine", "config", "progress"),
    ("units",),
    ("embedding", "agreement", "curves", "discovery", "reasons", "strategies"),
    ("presets", "forecast"),
    ("models", "annotators", "results", "starter"),
    ("advice",),
    ("parts", "report", "testing"),
    ("loop", "picking", "tables"),
    ("exchange", "web"),
    ("api",),
    ("demo",),
    ("verbs",),
    ("cli",),
    ("__main__",),
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(name: str) -> ast.Module:
    return ast.parse((SOURCE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_file_is_short_and_says_what_it_is_for(name: str) -> None:
    lines = (SOURCE / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_FILE
    assert lines[0].startswith('"""'), "the first line is a docstring"


def test_no_file_for_everything() -> None:
    assert {path.stem for path in FILES} & {"utils", "util", "helpers", "misc", "common"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_functions_are_short(name: str) -> None:
    functions = [node for node in ast.walk(tree(name)) if isinstance(node, Function)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno is not None}
    assert {n: size for n, size in long.items() if size > LONGEST_FUNCTION} == {}


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Public classes, functions and methods. Properties of a seam's protocol are told in its docstring."""
    for node in body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        marks = {ast.unparse(mark) for mark in node.decorator_list}
        if "overload" in marks:
            continue
        yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef) and "Protocol" not in {ast.unparse(base) for base in node.bases}:
            yield from public(node.body, f"{node.name}.")


@pytest.mark.parametrize("name", NAMES)
def test_public_names_have_docstrings(name: str) -> None:
    assert [found for found, node in public(tree(name).body) if not ast.get_docstring(node)] == []


def imported(name: str) -> set[str]:
    """The files and folders of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(name)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert node.level == 0, "imports are absolute"
        found |= {n.split(".")[1] for n in names if n.startswith("labelwise.")}
    return found


def test_every_part_has_a_layer() -> None:
    parts = {Path(name).parts[0].removesuffix(".py") for name in NAMES} - {"__init__"}
    assert parts == {part for layer in LAYERS for part in layer}


@pytest.mark.parametrize("name", [n for n in NAMES if n != "__init__.py"])
def test_imports_go_down(name: str) -> None:
    level = {part: i for i, layer in enumerate(LAYERS) for part in layer}
    own = Path(name).parts[0].removesuffix(".py")
    upwards = {part for part in imported(name) - {own} if part in level and level[part] >= level[own]}
    assert upwards == set()


def test_only_the_store_speaks_sql() -> None:
    speaks = [name for name in NAMES if "import sqlite3" in (SOURCE / name).read_text(encoding="utf-8")]
    # Timelapse keeps its data in SQLite files of its own.
    assert [name for name in speaks if not Path(name).name.startswith("timelapse")] == ["store/database.py"]


def test_importing_loads_no_framework() -> None:
    program = "import sys, labelwise; print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()


def test_public_names_resolve() -> None:
    assert labelwise.__all__ == sorted(labelwise.__all__)
    for name in labelwise.__all__:
        assert getattr(labelwise, name) is not None
        assert name in dir(labelwise)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = labelwise.nothing
