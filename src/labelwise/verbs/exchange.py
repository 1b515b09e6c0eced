"""The verbs ``export`` and ``import``: labels, queries and predictions to other tools, and their answers back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from labelwise.verbs.options import AsJson, Quiet
from labelwise.verbs.progress import progress_of

_SHOWN = 20  # lines told in full


def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder; or a dataset to convert")],
    format: Annotated[str, typer.Option(help="coco, voc, yolo, cvat_xml, csv, class_folders, masks, fiftyone, onnx")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the new folder or .csv to write; or FiftyOne's dataset")],
    what: Annotated[
        Literal["labels", "queries", "predictions"],
        typer.Option(help="what people labelled; the open queries with proposals; or what the model says of the rest"),
    ] = "labels",
    images: Annotated[
        Literal["copy", "link", "leave"] | None,
        typer.Option(help="pictures are copied (default), linked, or left where they are"),
    ] = None,
    from_format: Annotated[str | None, typer.Option("--from", help="format of a dataset [default: looked at]")] = None,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="predicted boxes below this are left out")] = 0.5,
    round: Annotated[int | None, typer.Option(min=0, help="onnx: whose model [default: the last]")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="onnx: below it the model says unknown [default: the run's]")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write labels, open queries or predictions for other tools; or convert a dataset."""
    from labelwise.exchange.exporting import export as write

    with progress_of(quiet or as_json) as progress:
        done = write(
            source,
            out,
            format=format,
            what=what,
            images=images,
            source_format=from_format,
            confidence=confidence,
            round=round,
            threshold=threshold,
            progress=progress,
        )
    facts = {"images": done.images, "labels": done.labels, "notes": done.notes, "written": str(done.place)}
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif not quiet:
        counted = ", ".join(f"{name} {count:,}" for name, count in sorted(done.labels.items()))
        typer.echo(f"wrote {done.place}: {done.images:,} images" + (f"; {counted}" if counted else ""))
        _list([f"note: {note}" for note in done.notes])


def import_answers(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a file, folder or ZIP with answers to open queries")],
    format: Annotated[
        str | None,
        typer.Option(help="csv, coco, voc, yolo, cvat_xml, class_folders, masks or timelapse [default: looked at]"),
    ] = None,
    root: Annotated[str, typer.Option(help="beginning of the names in the file, to be cut off")] = "",
    new_classes: Annotated[
        bool, typer.Option("--new-classes", help="names that the run does not know are classes")
    ] = False,
    blank: Annotated[
        Literal["open", "answer"], typer.Option(help="an image named with no box: stays open, or has no object")
    ] = "open",
    who: Annotated[str, typer.Option(help="the annotator's name to keep with the answers")] = "import",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Answer open queries from a file made elsewhere; answers are joined by the images' ids."""
    from labelwise.exchange.importing import import_answers as take

    done = take(run, file, format=format, root=root, new_classes=new_classes, blank=blank, who=who)
    if as_json:
        typer.echo(json.dumps({**done.counts, "lines": done.lines}, ensure_ascii=False))
    elif not quiet:
        skipped = f" ({done.skipped:,} skipped)" if done.skipped else ""
        open_queries = f"{done.left:,} {'query stays' if done.left == 1 else 'queries stay'} open"
        typer.echo(f"took {done.taken:,} answers{skipped}; {open_queries}")
        _list(list(done.lines))
        typer.echo("go on with: labelwise run " + str(run))


def _list(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        typer.echo(line)
    if len(lines) > _SHOWN:
        typer.echo(f"and {len(lines) - _SHOWN:,} more; --json names them all")
