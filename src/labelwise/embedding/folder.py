"""The vectors of a folder of images: scanned, perhaps trained on, computed where the cache lacks them, and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.cache import default_cache
from labelwise.data.images_folder import read
from labelwise.data.listing import Listing
from labelwise.data.scan import scan
from labelwise.embedding import plain
from labelwise.embedding.backbone import NetworkSpec, Preprocessing, create_network, device, preprocessing_of
from labelwise.embedding.extractor import Extractor, fill, network_extractor, plain_extractor
from labelwise.embedding.files import check_writable, write_vectors
from labelwise.embedding.selfsup.settings import Settings, make_settings
from labelwise.embedding.selfsup.training import train_backbone
from labelwise.embedding.table import Table
from labelwise.errors import ConfigError, DataError
from labelwise.records import Problem, Sample

BACKBONE = "convnext_nano.in12k_ft_in1k"


@dataclass(frozen=True, eq=False)
class Embedded:
    """The vectors ``(n, d)`` of a folder's readable images, in the order of ``ids`` (paths below the folder, with /).

    ``problems`` are the files without a vector, ``computed`` how many vectors were not in the cache; after a training
    ``weights`` is the file of the trained backbone, and ``losses`` the mean loss of each epoch.
    """

    ids: list[str]
    vectors: NDArray[np.float32] | NDArray[np.float16]
    problems: tuple[Problem, ...]
    computed: int
    weights: Path | None = None
    losses: tuple[float, ...] = field(default=())


def _quiet(*_: Any) -> None:
    """Say nothing."""


def embed(
    folder: Path | str,
    *,
    backbone: str = BACKBONE,
    weights: str | Path = "hub",
    options: Mapping[str, Any] | None = None,
    size: int | None = None,
    resize: Literal["squash", "crop"] = "squash",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    out: Path | str | None = None,
    half: bool = False,
    train: int = 0,
    method: str = "simclr",
    settings: Mapping[str, Any] | None = None,
    trained: Path | str | None = None,
    cache: Path | str | None = None,
    threads: int | None = None,
    workers: int | None = 0,
    progress: Callable[[int, int, str], None] = _quiet,
    tell: Callable[[str], None] = _quiet,
) -> Embedded:
    """Compute a vector for every image under a folder that can be read, and write them to ``out``.

    ``backbone`` is a name of timm, or "edges" or "pixels", which need no weights; ``weights`` is "hub", a file, or
    "none" (untrained); ``options`` are further arguments of timm.create_model; ``size``, ``resize``, ``mean`` and
    ``std`` replace the network's own preprocessing. Vectors are kept in ``cache`` by the content of the files: a second
    call computes nothing. ``half`` gives float16. ``out`` ends in .parquet, .csv (lightly's) or .npy.

    ``train`` epochs of self-supervised training on the same images come first, with lightly's ``method`` and
    ``settings`` (of ``selfsup.settings.Settings``, lightly's views and its loss), in the folder ``trained`` (default:
    the name of ``out``, with -trained), where an interrupted one goes on. ``threads`` read images, ``workers``
    processes make views (0: this one; None: as many as threads where there is a GPU).

    Raises LabelwiseError with one line for anything that cannot work; a file that cannot be read is no such thing.
    """
    threads = threads or os.cpu_count() or 1
    spec = NetworkSpec(backbone, str(weights), dict(options or {}))
    if out is not None:
        check_writable(out)
    listing = read(folder)
    # Met before the long work: an unknown name, a missing file or hub, a wrong setting.
    shape: dict[str, Any] = {"size": size, "resize": resize, "mean": mean, "std": std}
    plan = _training_plan(spec, shape, method, train, settings or {}) if train else None
    extractor = None if train else _extractor(spec, shape)
    samples, problems = _scanned(listing, threads, progress)
    run = None
    if plan is not None:
        place = Path(trained) if trained is not None else _trained_folder(out)
        views = _workers(workers, threads)
        run = train_backbone(samples, spec, *plan, place, workers=views, progress=progress, tell=tell)
        extractor = _extractor(NetworkSpec(backbone, str(run.weights), spec.options), shape)
    assert extractor is not None
    table = extractor.table(Path(cache) if cache is not None else default_cache())
    computed = _fill(table, samples, extractor, threads, progress)
    vectors = _halved(table.lookup([s.content for s in samples]), half)
    if out is not None:
        write_vectors(out, [s.id for s in samples], vectors)
    more = (run.weights, run.losses) if run else ()
    return Embedded([s.id for s in samples], vectors, tuple(problems), computed, *more)


def _extractor(spec: NetworkSpec, shape: Mapping[str, Any]) -> Extractor:
    if spec.name in plain.FEATURES:
        return plain_extractor(spec.name, size=shape["size"], interpolation=None)
    return network_extractor(spec, interpolation=None, **shape)


def _training_plan(
    spec: NetworkSpec, shape: Mapping[str, Any], method: str, epochs: int, given: Mapping[str, Any]
) -> tuple[Preprocessing, Settings]:
    if spec.name in plain.FEATURES:
        raise ConfigError(
            f"expected a network to train, found {spec.name!r}: give a --backbone of timm, or leave out --train"
        )
    settings = make_settings(method, epochs, given)
    network = create_network(spec, num_classes=0, size=shape["size"])
    return preprocessing_of(network, interpolation=None, **shape), settings


def _scanned(
    listing: Listing, threads: int, progress: Callable[[int, int, str], None]
) -> tuple[list[Sample], list[Problem]]:
    total = len(listing.samples)
    good: list[Sample] = []
    problems = list(listing.problems)
    for verdict in scan(listing.samples, threads=threads, progress=lambda done: progress(done, total, "images")):
        if isinstance(verdict, Problem):
            problems.append(verdict)
        else:
            good.append(verdict)
    if not good:
        first = f"; the first: {problems[0].message}" if problems else ""
        raise DataError(f"{listing.root}: expected images, found none that can be read ({len(problems)} cannot{first})")
    return good, sorted(problems, key=lambda p: p.id)


def _fill(
    table: Table,
    samples: Sequence[Sample],
    extractor: Extractor,
    threads: int,
    progress: Callable[[int, int, str], None],
) -> int:
    """Compute what the table lacks; returns how many vectors that were."""
    missing = set(table.missing([s.content for s in samples]))
    first = {s.content: s for s in samples if s.content in missing}
    if first:
        fill(table, list(first.values()), extractor, threads=threads, progress=progress)
    return len(first)


def _halved(vectors: NDArray[np.float32], half: bool) -> NDArray[np.float32] | NDArray[np.float16]:
    with np.errstate(over="ignore"):  # what is too large is refused by name when it is written
        return vectors.astype(np.float16) if half else vectors


def _workers(workers: int | None, threads: int) -> int:
    # On the CPU the network itself keeps all cores busy.
    return workers if workers is not None else threads if device() == "cuda" else 0


def _trained_folder(out: Path | str | None) -> Path:
    path = Path(out) if out is not None else Path("embeddings")
    return path.with_name(f"{path.stem}-trained")
