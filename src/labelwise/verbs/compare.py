"""The verbs ``simulate`` and ``compare``: strategies against each other over several seeds, and finished runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from labelwise.verbs.options import AsJson, Changes, ConfigArgument, Quiet
from labelwise.verbs.progress import progress_of, teller


def simulate(
    config: ConfigArgument,
    changes: Changes = None,
    strategies: Annotated[
        str, typer.Option(help="presets, separated by commas; margin+random begins round 0 at random")
    ] = "balanced_herding,random",
    seeds: Annotated[int, typer.Option(min=1, help="runs per strategy")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="processes side by side")] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run strategies against each other with simulated annotators, and compare them."""
    from labelwise import api
    from labelwise.tables import comparison_facts, print_comparison

    names = [s.strip() for s in strategies.split(",") if s.strip()]
    with progress_of(quiet) as progress:
        comparison = api.simulate(
            config,
            names,
            seeds=seeds,
            overrides=changes or (),
            workers=workers,
            progress=progress,
            tell=teller(quiet or as_json),
        )
    if as_json:
        typer.echo(json.dumps(comparison_facts(comparison)))
    elif not quiet:
        print_comparison(comparison)


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="runs, or folders that hold runs")],
    baseline: Annotated[str, typer.Option(help="the arm that others are measured against")] = "random",
    out: Annotated[Path, typer.Option("--out", "-o", help="the report to write")] = Path("comparison.html"),
    as_json: AsJson = False,
) -> None:
    """Compare finished runs: learning curves, areas under them, labels saved."""
    from labelwise import api
    from labelwise.tables import comparison_facts, print_comparison

    comparison = api.compare(folders, baseline=baseline, out=out, tell=teller(as_json))
    typer.echo(json.dumps(comparison_facts(comparison))) if as_json else print_comparison(comparison)
