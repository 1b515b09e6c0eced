"""The verb ``predict``: what a trained classifier says of pictures, or of the rest of its run, for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from labelwise.verbs.options import AsJson, Quiet
from labelwise.verbs.progress import progress_of

_SHOWN = 20  # lines told in full


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="an .onnx file of export, or a run's folder")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the new file to write; for camtrap_dp a new folder")],
    images: Annotated[
        Path | None, typer.Argument(metavar="[IMAGES]", help="a folder of images [default: those of the run]")
    ] = None,
    format: Annotated[
        Literal["megadetector", "csv", "camtrap_dp"],
        typer.Option(help="megadetector: the JSON that Timelapse and others read"),
    ] = "megadetector",
    detections: Annotated[
        Path | None, typer.Option(help="MegaDetector's JSON, or Timelapse's .ddb: crops are classified, all boxes kept")
    ] = None,
    least: Annotated[
        float | None, typer.Option(min=0, max=1, help="detections from this on are classified [default: the JSON's]")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="below it a class is told as unknown [default: the model's]")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="that read images [default: all cores]")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Classify a folder of images, MegaDetector's crops, or all that is left of a run."""
    from labelwise.exchange.finishing import predict as write

    if images is None and (detections is not None or least is not None):
        raise typer.BadParameter("--detections and --least need IMAGES, the folder of the pictures")
    with progress_of(quiet or as_json) as progress:
        done = write(
            model,
            images,
            out,
            format=format,
            detections=detections,
            least=least,
            threshold=threshold,
            threads=threads,
            progress=progress,
        )
    if as_json:
        facts = {"images": done.images, "failures": done.failures, "classes": done.classes, "notes": done.notes}
        typer.echo(json.dumps({**facts, "written": str(done.place)}, ensure_ascii=False))
    elif not quiet:
        failed = f", {done.failures:,} could not be read" if done.failures else ""
        counted = ", ".join(f"{name} {count:,}" for name, count in done.classes.items())
        typer.echo(f"wrote {done.place}: {done.images:,} images{failed}" + (f"; {counted}" if counted else ""))
        for note in done.notes[:_SHOWN]:
            typer.echo(f"note: {note}")
