"""The verb ``embed``: a vector for every image of a folder, from a network as it is or trained on them first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelwise.verbs.options import AsJson, Channels, KeyValues, Quiet
from labelwise.verbs.progress import progress_of, teller
from labelwise.verbs.serve import show_embedded

if TYPE_CHECKING:
    from labelwise.embedding.folder import Embedded


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
    _tell(found, out, quiet, as_json)
    if show:
        show_embedded(images, out)


def _tell(found: Embedded, out: Path, quiet: bool, as_json: bool) -> None:
    from labelwise.tables import embedding_facts, print_embedding

    if as_json:
        typer.echo(json.dumps(embedding_facts(found, out), ensure_ascii=False))
    elif not quiet:
        print_embedding(found, out)
