"""The command line: verbs, one line for every mistake, and exit codes.

Exit codes: 0 done or waiting for people, 1 the user's mistake (one line), 2 usage, 3 interrupted and resumable.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from labelwise.errors import LabelwiseError
from labelwise.verbs import exchange
from labelwise.verbs.predict import predict
from labelwise.verbs.progress import progress_of, teller
from labelwise.verbs.serve import serve, show_embedded

if TYPE_CHECKING:
    from labelwise.embedding.folder import Embedded

INTERRUPTED = 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Find what is worth labelling, get it labelled, retrain, and see what every label bought.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="a YAML file, an mmengine config (.py), or a run's folder")
]
Changes = Annotated[list[str] | None, typer.Argument(metavar="[a.b=c ...]", help="changes of the configuration")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="say nothing but errors")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]

CfgOptions = Annotated[
    list[str] | None,
    typer.Option("--cfg-options", metavar="a.b=c", help="change of an mmengine config; further ones may follow it"),
]
WorkDir = Annotated[str | None, typer.Option("--work-dir", help="run's folder of an mmengine config")]

KeyValues = list[str] | None
Channels = tuple[float, float, float] | None


def main() -> None:
    """Entry point of ``labelwise``."""
    signal.signal(signal.SIGTERM, _on_term)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not app(): it would turn an interruption and a closed pipe into exit codes of its own.
        command = typer.main.get_command(app)
        with command.make_context("labelwise", sys.argv[1:]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except LabelwiseError as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except Exception as error:
        _explain(error)
        raise
    sys.exit(0)


def _on_term(_signal: int, _frame: Any) -> None:
    # Not an Exception: a library that swallows those must not swallow the wish to stop.
    raise KeyboardInterrupt


def _interrupted() -> None:
    with suppress(OSError):
        sys.stdout.flush()
        typer.echo("interrupted: what was finished is kept; run the same command again to resume", err=True)
    # A second Ctrl-C while threads wind down must not print a traceback.
    os._exit(INTERRUPTED)


def _explain(error: Exception) -> None:
    """Exit as the command line's own errors want it; a reader that went away (``| head``) is none."""
    if callable(show := getattr(error, "show", None)):  # click's usage errors, wherever this typer keeps its click
        show()
        sys.exit(getattr(error, "exit_code", 2))
    if isinstance(error, BrokenPipeError):
        os._exit(0)
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        _fail(f"cannot use{where}: {error.strerror or error}; make room or change its permissions, then run again")
    if isinstance(error, MemoryError):
        _fail("out of memory: use a smaller batch, fewer workers or a smaller network, then run again to resume")


def _fail(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.stderr.flush()
    sys.exit(1)


def _changes(changes: list[str] | None, cfg_options: list[str] | None, work_dir: str | None) -> list[str]:
    """All changes of a configuration as ``key=value``."""
    theirs = [f"model.cfg_options.{text}" for text in cfg_options or ()]
    return [*(changes or ()), *theirs, *([f"work_dir={work_dir}"] if work_dir else [])]


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="where to put the demo")] = Path("labelwise-demo"),
    seeds: Annotated[int, typer.Option(min=1, help="runs per strategy")] = 5,
    quiet: Quiet = False,
) -> None:
    """Make data, run a strategy against random over several seeds, and write a report."""
    from labelwise.demo import run_demo

    with progress_of(quiet) as progress:
        run_demo(folder, seeds=seeds, progress=progress, tell=teller(quiet))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="a folder of images, or a CSV of path,class[,group]")],
    config: Annotated[Path, typer.Option("--out", "-o", help="the YAML file to write")] = Path("labelwise.yaml"),
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
) -> None:
    """Look at a folder and write a commented configuration."""
    from labelwise.starter import write_starter

    for line in write_starter(folder, config, force=force):
        typer.echo(line)


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder")], as_json: AsJson = False
) -> None:
    """Say where a run stands."""
    from labelwise.results import open_run
    from labelwise.tables import print_status, status_facts

    result = open_run(folder)
    typer.echo(json.dumps(status_facts(result), ensure_ascii=False)) if as_json else print_status(result)


@app.command()
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


@app.command()
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


@app.command()
def embed(
    images: Annotated[Path, typer.Argument(help="a folder of images, at any depth")],
    out: Annotated[Path, typer.Option("--out", "-o", help="a .parquet, .csv (lightly's) or .npy file")] = Path(
        "embeddings.parquet"
    ),
    backbone: Annotated[
        str, typer.Option(help="a network of timm; or edges or pixels, which need no weights")
    ] = "convnext_nano.in12k_ft_in1k",
    weights: Annotated[str, typer.Option(help="hub, a .safetensors or .pth file, or none (untrained)")] = "hub",
    option: Annotated[KeyValues, typer.Option(metavar="KEY=VALUE", help="for timm.create_model; repeatable")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="side of the input in pixels [default: the network's]")
    ] = None,
    resize: Annotated[Literal["squash", "crop"], typer.Option(help="squash ignores the aspect")] = "squash",
    mean: Annotated[Channels, typer.Option(help="of each channel, 0 to 1 [default: the network's]")] = None,
    std: Annotated[Channels, typer.Option(help="of each channel, 0 to 1 [default: the network's]")] = None,
    half: Annotated[bool, typer.Option("--half", help="write float16")] = False,
    train: Annotated[int, typer.Option(min=0, help="epochs of self-supervised training on the images first")] = 0,
    method: Annotated[str, typer.Option(help="how to train: simclr, moco, byol, dino, ...")] = "simclr",
    setting: Annotated[KeyValues, typer.Option(metavar="KEY=VALUE", help="of the training; repeatable")] = None,
    trained: Annotated[Path | None, typer.Option(help="its folder [default: the name of --out, with -trained]")] = None,
    cache: Annotated[Path | None, typer.Option(help="folder that keeps vectors by content")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="that read images [default: all cores]")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="processes that make views [default: --threads with a GPU, else 0]")
    ] = None,
    show: Annotated[bool, typer.Option("--serve", help="then show the images on their map in the browser")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a vector for every image of a folder; with --train learn from the images first."""
    from labelwise.config.reading import parse_override
    from labelwise.embedding import folder

    with progress_of(quiet) as progress:
        found = folder.embed(
            images,
            out=out,
            backbone=backbone,
            weights=weights,
            options=dict(map(parse_override, option or ())),
            size=size,
            resize=resize,
            mean=mean,
            std=std,
            half=half,
            train=train,
            method=method,
            settings=dict(map(parse_override, setting or ())),
            trained=trained,
            cache=cache,
            threads=threads,
            workers=workers,
            progress=progress,
            tell=teller(quiet or as_json),
        )
    _tell_embedding(found, out, quiet, as_json)
    if show:
        show_embedded(images, out)


def _tell_embedding(found: Embedded, out: Path, quiet: bool, as_json: bool) -> None:
    from labelwise.tables import embedding_facts, print_embedding

    if as_json:
        typer.echo(json.dumps(embedding_facts(found, out), ensure_ascii=False))
    elif not quiet:
        print_embedding(found, out)


@app.command()
def pick(
    context: typer.Context,
    images: Annotated[Path | None, typer.Argument(metavar="IMAGES", help="a folder of images")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[key=value ...]", help="rules and options of the strategy; predictions.key=value: of their format"
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="images to pick")] = None,
    total: Annotated[int | None, typer.Option(min=1, help="instead of -n: images with the earlier picks")] = None,
    least_distance: Annotated[
        float | None, typer.Option(help="end before a pick nearer than this to another (k_center, coral)")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="a preset; default: coral with predictions, else typiclust")
    ] = None,
    predictions: Annotated[Path | None, typer.Option(help="a model's predictions, such as COCO results")] = None,
    classes: Annotated[Path | None, typer.Option(help="class names, one a line, where predictions have none")] = None,
    already: Annotated[Path | None, typer.Option(help="a list of earlier picks (txt, csv, json)")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="a file of vectors; IMAGES may then be left out")] = None,
    backbone: Annotated[str | None, typer.Option(help="a network of timm, or pixels, or edges")] = None,
    weights: Annotated[str | None, typer.Option(help="hub, a file, or none")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="side of the network's input in pixels")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="further argument of timm.create_model; repeatable")
    ] = None,
    resize: Annotated[
        Literal["squash", "crop"] | None, typer.Option(help="squash (default) ignores the aspect")
    ] = None,
    mean: Annotated[tuple[float, float, float] | None, typer.Option(help="of each channel, 0 to 1")] = None,
    std: Annotated[tuple[float, float, float] | None, typer.Option(help="of each channel, 0 to 1")] = None,
    group: Annotated[str | None, typer.Option(help="folder, or a regular expression, for per_group")] = None,
    cache: Annotated[Path | None, typer.Option(help="folder of the features; default: the user's cache")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="threads that read images; default: one a core")] = None,
    seed: Annotated[int, typer.Option(min=0, help="random number seed")] = 0,
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", help="the list to write: .txt, .csv or .json; several allowed")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="a page with a picture of every pick to write: .html")] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite files")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Choose the images of a folder that are worth a label; no run, no labels needed."""
    from labelwise.verbs.pick import lacking, pick_by_words

    if lack := lacking(context.params):
        raise typer.BadParameter(lack)
    with progress_of(quiet) as progress:
        done = pick_by_words(context.params, progress=progress)
    if as_json:
        typer.echo(json.dumps(done.facts, ensure_ascii=False))
    elif not quiet:
        # Without a list to write the picks are the result; what is said about them then goes beside it.
        typer.echo("\n".join(done.said), err=not out)
        typer.echo("\n".join(done.result))


app.command()(serve)
app.command("export")(exchange.export)
app.command("import")(exchange.import_answers)
app.command()(predict)


@app.command("list")
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


if __name__ == "__main__":
    main()
