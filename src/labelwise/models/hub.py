"""Networks of transformers by name or from a folder: loading them, or saying what to download; and their pictures."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.data.ahead import read_ahead
from labelwise.data.images import open_image
from labelwise.embedding.backbone import hub_answers
from labelwise.errors import ConfigError, DataError, ModelError
from labelwise.records import Sample

T = TypeVar("T")
INSTALL = "pip install 'labelwise[transformers]'"


def require() -> None:
    """Raise ConfigError with the line that installs transformers if it is missing."""
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(f"this model needs transformers, found it not installed: {INSTALL}")


def load_pretrained(kind: str, source: str, key: str = "model.weights", **options: Any) -> Any:
    """What the class ``kind`` of transformers loads from ``source``: a folder, or a name of the hub.

    Earlier downloads are looked at first, so that a run does not depend on the network. ``options`` go to
    ``from_pretrained``. Raises ModelError, saying how to get the files, if there are none; ConfigError without
    transformers.
    """
    require()
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _loaded(kind, str(folder), key, local_files_only=True, **options)
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ModelError(f"{key}: expected a folder of weights, found none at {source!r}; check the path")
    try:
        return _from_pretrained(kind, source, local_files_only=True, **options)
    except OSError:
        if not hub_answers():
            raise ModelError(how_to_get(source, key)) from None
    except Exception as error:
        raise _unfit(kind, source, key, error) from error
    return _loaded(kind, source, key, **options)


def load_network(kind: str, source: str, key: str = "model.weights", **options: Any) -> Any:
    """A network as ``load_pretrained`` gives it. Raises ModelError also if most of it lacks weights there."""
    network, told = load_pretrained(kind, source, key, output_loading_info=True, **options)
    lacking = sorted(told["missing_keys"])
    if 2 * len(lacking) > len(network.state_dict()):
        raise ModelError(
            f"{key}: {source!r} holds no weights for {lacking[0]} ({len(lacking)} missing): these are of another "
            "network; give those of this one"
        )
    return network


def how_to_get(source: str, key: str) -> str:
    """One line: the weights are not here, the network is not either, and what to do."""
    place = source.rpartition("/")[2]
    return (
        f"{key}: {source!r} is neither a folder nor among earlier downloads, and the hub cannot be reached: where "
        f"there is a network, run `hf download {source} --local-dir {place}`, copy the folder {place} here and set "
        f"{key}=./{place}"
    )


def _loaded(kind: str, source: str, key: str, **options: Any) -> Any:
    try:
        return _from_pretrained(kind, source, **options)
    except Exception as error:  # it raises what it likes: missing files, wrong kinds, sizes that do not fit
        raise _unfit(kind, source, key, error) from error


def _unfit(kind: str, source: str, key: str, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return ModelError(f"{key}: {source!r} cannot be loaded as {kind}: {reason}")


def _from_pretrained(kind: str, source: str, **options: Any) -> Any:
    with quiet_transformers():
        import transformers

        return getattr(transformers, kind).from_pretrained(source, **options)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings of transformers inside; what lacks is checked here."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def prepared(
    samples: Sequence[Sample], processor: Any, *, square: bool, threads: int
) -> Iterator[tuple[NDArray[np.float32], tuple[int, int]]]:
    """Each sample's picture as the processor makes it, ``(3, h, w)``, and its size (width, height) as shown.

    ``square``: filled up to a square with grey at the right and at the bottom first, so that boxes are shares of the
    longer side, whatever a version of the processor does itself.
    """

    def load(sample: Sample) -> tuple[NDArray[np.float32], tuple[int, int]]:
        try:
            image = open_image(sample.path, name=sample.id)[0]
        except DataError as error:
            raise DataError(f"{sample.id} could be read before, but not now: {error}") from error
        return as_input(image, processor, square=square), image.size

    return iter(read_ahead(samples, load, threads=threads, window=2 * threads))


def as_input(image: Image.Image, processor: Any, *, square: bool = False) -> NDArray[np.float32]:
    """A picture as the network's input ``(3, h, w)``."""
    if square and image.width != image.height:
        side = max(image.size)
        filled = Image.new("RGB", (side, side), (128, 128, 128))
        filled.paste(image)
        image = filled
    made = processor(images=[image], return_tensors="pt")
    return np.asarray(made["pixel_values"][0], np.float32)


def same_shapes(items: Sequence[tuple[NDArray[np.float32], T]], most: int) -> Iterator[list[int]]:
    """The places of items in batches whose pictures have one shape: nothing is filled up, so that what an image gets
    does not depend on its neighbours."""
    places: dict[tuple[int, ...], list[int]] = {}
    for i, (pixels, _) in enumerate(items):
        places.setdefault(pixels.shape, []).append(i)
    for group in places.values():
        for first in range(0, len(group), most):
            yield group[first : first + most]


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, ``size`` at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
