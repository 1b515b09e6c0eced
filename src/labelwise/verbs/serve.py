"""The verb ``serve``: the page of a run, or of a folder of images, until it is interrupted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from labelwise.web.served import Beside


def serve(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder, or a folder of images to explore")],
    embeddings: Annotated[
        Path | None, typer.Option(help="vectors for the map, as 'labelwise embed' writes them [default: the run's own]")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="computes vectors where there are none; edges needs no weights, or a network of timm")
    ] = "edges",
    text: Annotated[
        str | None, typer.Option(help="a CLIP or SigLIP of transformers, name or folder: search by words")
    ] = None,
    table: Annotated[
        list[Path] | None, typer.Option(help="CSV, Parquet or JSON of picks to colour and filter by; repeatable")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0: any free one [default: the first free one from 8470 on]")
    ] = None,
    host: Annotated[str, typer.Option(help="an address that others can reach gets a token")] = "127.0.0.1",
    token: Annotated[str, typer.Option(help="what every request must know", envvar="LABELWISE_TOKEN")] = "",
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """Serve the page of a run: explore, annotate, follow the rounds; Ctrl-C ends it."""
    from labelwise.web.served import Beside

    show(folder, Beside(embeddings, backbone, text, tuple(table or ())), port, host, token, open_page)


def show_embedded(images: Path, embeddings: Path) -> None:
    """Show a folder of images with these vectors until Ctrl-C."""
    from labelwise.web.served import Beside

    show(images, Beside(embeddings))


def show(
    folder: Path,
    beside: Beside,
    port: int | None = None,
    host: str = "127.0.0.1",
    token: str = "",
    open_page: bool = True,
) -> None:
    """Serve a folder until Ctrl-C. Raises LabelwiseError for files that are not there, before anything is served."""
    from labelwise.errors import DataError
    from labelwise.web.serving import open_in_browser, serving

    for file in (beside.embeddings, *beside.tables):
        if file is not None and not file.is_file():
            raise DataError(f"{file}: expected a file, found nothing there; check the path")
    with serving(folder, port=port, host=host, token=token, beside=beside) as address:
        typer.echo(f"{folder}: {address} (Ctrl-C ends)")
        if open_page:
            open_in_browser(address)
        try:
            while True:
                threading.Event().wait(3600)
        except KeyboardInterrupt:
            typer.echo("ended: what was answered is kept", err=True)
