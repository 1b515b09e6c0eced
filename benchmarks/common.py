"""What every benchmark shares: options, the machine, the table in docs/benchmarks.md and the closing JSON line."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a look in under a minute; the figures mean little")
    options.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    return options


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"python": platform.python_version(), "cpus": os.cpu_count(), "machine": platform.machine(), "load": load}


def write_table(name: str, table: str, note: str) -> None:
    """Put a table between the marks of its name in docs/benchmarks.md."""
    text = DOCS.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    new = f"{begin}\n{table}\n\n{note}\n{end}"
    found, count = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: new, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"expected one place {begin} ... {end} in {DOCS}, found {count}")
    DOCS.write_text(found, encoding="utf-8")


def finish(name: str, figures: dict[str, Any]) -> None:
    """Print the closing line: one JSON object."""
    print(json.dumps(_plain({"benchmark": name, **machine(), **figures})))


def _plain(value: Any) -> Any:
    """Numbers that JSON knows: None for what is not finite."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, str | bool | int | None):
        return value
    return float(value) if math.isfinite(value) else None
