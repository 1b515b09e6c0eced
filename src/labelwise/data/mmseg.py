"""Format: an mmsegmentation configuration. Lists images, masks and classes through the datasets it describes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise import mmlab
from labelwise.cache import default_cache
from labelwise.data.listing import Listing, group_rule, make_listing, ungrouped
from labelwise.data.masks import write_mask
from labelwise.errors import DataError
from labelwise.records import Problem, Sample, Target

VOID = 255
Info = Mapping[str, Any]


def read(
    path: Path | str,
    *,
    cfg_options: dict[str, Any] | None = None,
    group: str | None = None,
    converted: str | None = None,
    part: Literal["all", "source", "target"] = "all",
) -> Listing:
    """List the images of the training dataset (the pool) and of the validation dataset (the test images).

    ``path`` is the configuration (.py), ``cfg_options`` are merged into it. Without ``val_dataloader`` the test dataset
    is taken; without both, test images are drawn as for other formats. Ids are paths relative to ``data_root``, or to
    the folder that all images share. Where ``reduce_zero_label``, custom classes or another ``ignore_index`` change the
    values of the masks, changed copies are written once into ``converted`` (default: the user's cache folder). An image
    without a mask has no known truth. ``group`` as for class folders. ``part`` takes of several datasets in
    ``train_dataloader.dataset`` only the first (``source``, without test images) or the others (``target``). Raises
    DataError for no images or no classes.
    """
    config = mmlab.load_config(path, cfg_options)
    folder = Path(converted) if converted else default_cache() / "mmseg"
    if part != "all":
        _keep(config, part, path)
    pool = _images(config, ("train_dataloader",), path)
    if not pool:
        raise DataError(f"{path}: expected images in train_dataloader.dataset, found none; check data_root")
    test = _images(config, ("val_dataloader", "test_dataloader"), path)
    classes = pool[0][1]
    if odd := next((c for _, c in [*pool, *test] if c != classes), None):
        raise DataError(
            f"{path}: expected the same classes in all datasets, found {', '.join(classes)} and {', '.join(odd)}"
        )
    root = _root(config, [str(info["img_path"]) for info, _ in [*pool, *test]])
    rule = group_rule(group)
    samples: dict[str, Sample] = {}
    problems: list[Problem] = []
    splits: tuple[tuple[Any, Literal["pool", "test"] | None], ...] = ((test, "test"), (pool, "pool" if test else None))
    for found, split in splits:
        for info, _ in found:
            image = Path(os.path.abspath(str(info["img_path"])))  # noqa: PTH100 (links stay as they are)
            id = Path(os.path.relpath(image, root)).as_posix()
            if id in samples:
                continue
            try:
                target = _target(info, classes, folder)
            except DataError as error:
                problems.append(Problem(id, "bad_mask", str(error)))
                continue
            samples[id] = Sample(id, image, group=rule(id), target=target, split=split)
    both = list(samples.values())
    return make_listing(root, both, classes, [*problems, *ungrouped(both, group)])


def _keep(config: Any, part: str, path: Path | str) -> None:
    """Leave of the training datasets those that are meant."""
    loader = config.get("train_dataloader") or {}
    several = mmlab.several_datasets(loader.get("dataset"))
    if not several:
        raise DataError(f"{path}: expected train_dataloader.dataset to list a source and a target, found one dataset")
    loader["dataset"] = several[:1] if part == "source" else several[1:]
    if part == "source":
        config["val_dataloader"] = config["test_dataloader"] = None


def _images(config: Any, keys: tuple[str, ...], path: Path | str) -> list[tuple[Info, tuple[str, ...]]]:
    """What the first of the loaders that is there knows of each image, with the classes of its dataset."""
    loader = next((config.get(key) for key in keys if config.get(key)), None)
    if loader is None:
        return []
    found: list[tuple[Info, tuple[str, ...]]] = []
    for one in mmlab.plain_datasets(loader["dataset"]):
        dataset = _built(config, one, path)
        classes = dataset.metainfo.get("classes")
        if not classes:
            raise DataError(
                f"{path}: expected class names of {mmlab.type_name(one.get('type'))}, found none; give "
                "metainfo=dict(classes=(...))"
            )
        extra = {"ignore_index": getattr(dataset, "ignore_index", VOID)}
        found += [({**dataset.get_data_info(i), **extra}, tuple(map(str, classes))) for i in range(len(dataset))]
    return found


def _built(config: Any, dataset: Any, path: Path | str) -> Any:
    from mmengine.registry import DATASETS

    with mmlab.scope(config):
        try:
            return DATASETS.build({**dataset, "pipeline": [], "lazy_init": False})
        except Exception as error:
            line = (str(error).strip().splitlines() or [""])[0]
            kind = mmlab.type_name(dataset.get("type"))
            if "need at least one array" in line:  # it cannot pack a list of nothing
                raise DataError(
                    f"{path}: expected images in {kind}, found none; check data_root and suffixes"
                ) from error
            raise DataError(f"{path}: the dataset {kind} cannot be read: {type(error).__name__}: {line}") from error


def _root(config: Any, images: list[str]) -> Path:
    places = [os.path.abspath(image) for image in images]  # noqa: PTH100
    keys = ("train_dataloader", "val_dataloader", "test_dataloader")
    inner = [d for key in keys if config.get(key) for d in mmlab.plain_datasets(config[key]["dataset"])]
    for named in dict.fromkeys(str(d["data_root"]) for d in inner if d.get("data_root")):
        root = os.path.abspath(named)  # noqa: PTH100
        if all(os.path.commonpath([root, place]) == root for place in places):
            return Path(root)
    return Path(os.path.commonpath([str(Path(place).parent) for place in places]))


def _target(info: Info, classes: tuple[str, ...], folder: Path) -> Target | None:
    if not info.get("seg_map_path") or not Path(info["seg_map_path"]).is_file():
        return None
    mask = Path(os.path.abspath(str(info["seg_map_path"])))  # noqa: PTH100
    mapping = {k: v for k, v in (info.get("label_map") or {}).items() if k != v}
    rule = (bool(info.get("reduce_zero_label")), sorted(mapping.items()), int(info["ignore_index"]))
    return Target(classes, mask=mask if rule == (False, [], VOID) else _converted(mask, rule, folder))


def _converted(mask: Path, rule: tuple[bool, list[tuple[int, int]], int], folder: Path) -> Path:
    """The mask with the values the network learns, written once for each state of the file."""
    status = mask.stat()
    key = repr((str(mask), status.st_mtime_ns, status.st_size, rule))
    name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    place = folder / name[:2] / f"{name}.png"
    if not place.is_file():
        try:
            with Image.open(mask) as picture:
                values = np.asarray(picture)
        except Exception as error:
            raise DataError(f"{mask}: expected a mask, found a file that cannot be read ({error})") from None
        if values.ndim != 2:
            raise DataError(f"{mask}: expected one class index per pixel, found {values.ndim} axes; save the indices")
        write_mask(place, _mapped(values.astype(np.uint8), rule))
    return place


def _mapped(values: NDArray[np.uint8], rule: tuple[bool, list[tuple[int, int]], int]) -> NDArray[np.uint8]:
    reduce_zero, mapping, ignore = rule
    table = np.arange(256)
    if reduce_zero:
        table = np.where(table == 0, VOID, table - 1)
        table[table == VOID - 1] = VOID
    final = np.arange(256)
    for old, new in mapping:
        final[old] = new
    table = final[table]
    table[table == ignore] = VOID
    return table[values].astype(np.uint8)
