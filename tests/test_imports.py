"""Frameworks stay in their rooms and load late, and nothing is unpickled. For the layers see test_house.py."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import labelwise

ROOT = Path(labelwise.__file__).parent

# What only these rooms may import, wherever in the file.
KEPT_IN = {
    "timm": {"embedding", "models"},
    "torch": {"scoring", "units", "embedding", "models", "engine", "selection"},
    "torchvision": {"models"},
    "sklearn": {"selection", "models", "data", "embedding"},
    "plotly": {"report", "web"},
    "skimage": {"selection"},
    "jinja2": {"report", "web", "starter"},
    "fastapi": {"web"},
    "typer": {"cli", "verbs"},
    "yaml": {"config", "data", "starter", "loop", "models"},
    "transformers": {"models"},
    "ultralytics": {"models"},
    "cvat_sdk": {"annotators"},
    "pickle": {"engine", "testing"},
    "PIL": {"data", "embedding", "models", "report", "web", "testing"},
}


def room_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imports(path):
    """Modules that a file imports, as dotted names, with their line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module, node.lineno


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_frameworks_stay_in_their_rooms(path):
    for name, line in imports(path):
        allowed = KEPT_IN.get(name.partition(".")[0])
        assert allowed is None or room_of(path) in allowed, f"{path}:{line}: {name} belongs into {sorted(allowed)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_stored_is_unpickled(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            assert call != "torch.load", f"{path}:{node.lineno}: use safetensors"
            pickled = [k for k in node.keywords if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"]
            assert not pickled, f"{path}:{node.lineno}: arrays are stored without pickle"


HEAVY = ("torch", "timm", "torchvision", "sklearn", "scipy", "pandas", "numba", "plotly", "numpy", "PIL", "pydantic")


def loaded_by(module):
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["cli", "config", "catalog", "store", "models", "annotators", "engine.local", "records", "scoring"]
)
def test_what_the_command_line_needs_first_loads_no_framework(module):
    assert loaded_by(f"labelwise.{module}") <= {"numpy", "PIL", "pydantic"}
