"""The verbs ``check``, ``run``, ``step`` and ``status``: one run, from its configuration or its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from labelwise.verbs.options import AsJson, CfgOptions, Changes, ConfigArgument, Quiet, WorkDir
from labelwise.verbs.progress import progress_of, teller


def check(
    config: ConfigArgument,
    changes: Changes = None,
    cfg_options: CfgOptions = None,
    work_dir: WorkDir = None,
    as_json: AsJson = False,
) -> None:
    """Read a configuration and its data, and say what would run; nothing is started."""
    from labelwise import api

    facts = api.check(config, _changes(changes, cfg_options, work_dir))
    typer.echo(json.dumps({"ok": True, "facts": facts}) if as_json else "\n".join([*facts, "ok"]))


def run(
    config: ConfigArgument,
    changes: Changes = None,
    quiet: Quiet = False,
    report: Annotated[bool, typer.Option(help="write report.html at the end")] = True,
    wait: Annotated[
        bool | None, typer.Option("--wait/--no-wait", help="stay until people have answered", show_default=False)
    ] = None,
    poll: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="wait, and look every so many seconds", show_default=False)
    ] = None,
    cfg_options: CfgOptions = None,
    work_dir: WorkDir = None,
) -> None:
    """Begin a run, or continue it where it stopped."""
    from labelwise import api

    changes = _changes(changes, cfg_options, work_dir)
    with progress_of(quiet) as progress:
        waits = poll if poll is not None and wait is not False else wait
        result = api.run(config, changes, report=report, progress=progress, tell=teller(quiet), wait=waits)
    teller(quiet)(f"report: {result.folder / 'report.html'}" if report else f"run: {result.folder}")


def step(
    config: ConfigArgument,
    changes: Changes = None,
    quiet: Quiet = False,
    cfg_options: CfgOptions = None,
    work_dir: WorkDir = None,
) -> None:
    """Do one round of a run (query, annotate, train, evaluate) and stop."""
    from labelwise import api

    changes = _changes(changes, cfg_options, work_dir)
    with progress_of(quiet) as progress:
        api.run(config, changes, rounds=1, progress=progress, tell=teller(quiet))


def status(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder")], as_json: AsJson = False
) -> None:
    """Say where a run stands."""
    from labelwise.results import open_run
    from labelwise.tables import print_status, status_facts

    result = open_run(folder)
    typer.echo(json.dumps(status_facts(result), ensure_ascii=False)) if as_json else print_status(result)


def _changes(changes: list[str] | None, cfg_options: list[str] | None, work_dir: str | None) -> list[str]:
    """All changes of a configuration as ``key=value``."""
    theirs = [f"model.cfg_options.{text}" for text in cfg_options or ()]
    return [*(changes or ()), *theirs, *([f"work_dir={work_dir}"] if work_dir else [])]
