"""The verbs ``demo``, ``init`` and ``list``: what can be done before there is a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from labelwise.verbs.options import AsJson, Quiet
from labelwise.verbs.progress import progress_of, teller


def demo(
    folder: Annotated[Path, typer.Argument(help="where to put the demo")] = Path("labelwise-demo"),
    seeds: Annotated[int, typer.Option(min=1, help="runs per strategy")] = 5,
    quiet: Quiet = False,
) -> None:
    """Make data, run a strategy against random over several seeds, and write a report."""
    from labelwise.demo import run_demo

    with progress_of(quiet) as progress:
        run_demo(folder, seeds=seeds, progress=progress, tell=teller(quiet))


def init(
    folder: Annotated[Path, typer.Argument(help="a folder of images, or a CSV of path,class[,group]")],
    config: Annotated[Path, typer.Option("--out", "-o", help="the YAML file to write")] = Path("labelwise.yaml"),
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
) -> None:
    """Look at a folder and write a commented configuration."""
    from labelwise.starter import write_starter

    for line in write_starter(folder, config, force=force):
        typer.echo(line)


def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            help="strategies, scores, reduces, selects, models, heads, annotators, engines, data or predictions; all "
            "without it"
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the names that a configuration can use."""
    from labelwise.tables import catalogue, print_catalogue

    found = catalogue(kind)
    typer.echo(json.dumps(found)) if as_json else print_catalogue(found)
