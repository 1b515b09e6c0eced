"""The verb ``serve``: the page of a run, until it is interrupted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer


def serve(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="a run's folder")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0: any free one [default: the first free one from 8470 on]")
    ] = None,
    host: Annotated[str, typer.Option(help="an address that others can reach gets a token")] = "127.0.0.1",
    token: Annotated[str, typer.Option(help="what every request must know", envvar="LABELWISE_TOKEN")] = "",
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """Serve the page of a run: explore, annotate, follow the rounds; Ctrl-C ends it."""
    from labelwise.web.serving import open_in_browser, serving

    with serving(folder, port=port, host=host, token=token) as address:
        typer.echo(f"{folder}: {address} (Ctrl-C ends)")
        if open_page:
            open_in_browser(address)
        try:
            while True:
                threading.Event().wait(3600)
        except KeyboardInterrupt:
            typer.echo("ended: what was answered is kept", err=True)
