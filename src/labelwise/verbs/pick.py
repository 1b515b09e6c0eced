"""The verb ``pick``: the images of a folder that are worth a label, without a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from labelwise.verbs.options import AsJson, Channels, KeyValues, Quiet
from labelwise.verbs.progress import progress_of


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
        KeyValues, typer.Option(metavar="KEY=VALUE", help="further argument of timm.create_model; repeatable")
    ] = None,
    resize: Annotated[
        Literal["squash", "crop"] | None, typer.Option(help="squash (default) ignores the aspect")
    ] = None,
    mean: Annotated[Channels, typer.Option(help="of each channel, 0 to 1")] = None,
    std: Annotated[Channels, typer.Option(help="of each channel, 0 to 1")] = None,
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
    from labelwise.verbs.pick_words import lacking, pick_by_words

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
