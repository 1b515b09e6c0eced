"""Arguments and options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

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

KeyValues = list[str] | None  # key=value, repeatable
Channels = tuple[float, float, float] | None  # red, green, blue
