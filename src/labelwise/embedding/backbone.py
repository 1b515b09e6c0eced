"""Networks from timm: with weights from the hub, from a local file, or untrained when asked for; and how pictures enter
them."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import socket
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelwise.data.ahead import read_ahead
from labelwise.data.crops import open_sample
from labelwise.errors import DataError, ModelError
from labelwise.records import Sample

Pixels = NDArray[np.uint8]
INTERPOLATIONS = {"nearest": 0, "bilinear": 2, "bicubic": 3, "lanczos": 1}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes an input: RGB, resized to ``size`` x ``size`` pixels, then ``(x / 255 - mean) / std`` per
    channel.

    ``resize`` "squash" ignores the aspect, "crop" scales the short side and cuts the centre.
    """

    size: int = 224
    resize: Literal["squash", "crop"] = "squash"
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def pixels(self, image: Image.Image) -> Pixels:
        """The picture as ``(size, size, 3)`` uint8."""
        if self.resize == "crop":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        return np.asarray(image.resize((self.size, self.size), Image.Resampling(INTERPOLATIONS[self.interpolation])))


@dataclass(frozen=True)
class NetworkSpec:
    """A timm network: its name, where its weights come from and further arguments of ``timm.create_model``.

    ``weights`` is "hub" (download, or what an earlier download left), the path of a .safetensors / .pth file, or "none"
    for random numbers drawn from a fixed seed.
    """

    name: str
    weights: str = "hub"
    options: dict[str, Any] = field(default_factory=dict)


def create_network(spec: NetworkSpec, *, num_classes: int, size: int | None = None) -> Any:
    """The network, on the CPU, in eval mode; ``num_classes`` 0 gives pooled features instead of classes.

    A network made for one input size, as most vision transformers are, is made for ``size`` if that is given.
    Raises ModelError for an unknown name, a weight file that does not fit, or a hub that cannot be reached, with the
    ways out.
    """
    import timm
    import torch

    if not timm.is_model(spec.name) and not spec.name.startswith(("hf-hub:", "hf_hub:", "local-dir:")):
        near = timm.list_models(f"*{spec.name}*")[:3]
        near = near or difflib.get_close_matches(spec.name, ["edges", "pixels", *timm.list_models()], cutoff=0.7)
        raise ModelError(
            f"timm has no network {spec.name!r}: "
            + (f"did you mean {', '.join(near)}?" if near else "timm.list_models() names all")
        )
    file = None if spec.weights in ("hub", "none") else Path(spec.weights)
    if file is not None and not file.is_file():
        raise ModelError(
            f"no weight file {spec.weights!r} for {spec.name}: give model.weights a .safetensors or .pth file, "
            "'hub', or 'none' for an untrained network"
        )
    if spec.weights == "hub":
        _expect_no_hub_where_there_is_none()
    overlay = {"file": str(file)} if file is not None else None

    def build(**weights: Any) -> Any:
        # The untrained parts are drawn from a seed of their own; nobody's random state is touched.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(0)
            kind: dict[str, Any] = {} if spec.options.get("features_only") else {"num_classes": num_classes}
            with _quiet_about_heads():
                return timm.create_model(spec.name, **kind, **weights, **(fixed | spec.options))

    try:
        known = timm.get_pretrained_cfg(spec.name, allow_unregistered=True)
        fixed: dict[str, Any] = {"img_size": size} if size and known is not None and known.fixed_input_size else {}
        network = build(pretrained=spec.weights != "none", pretrained_cfg_overlay=overlay)
        left = _untouched(network, build()) if file is not None else []
    except Exception as error:
        raise ModelError(_why_no_network(spec, error)) from error
    if left:
        raise ModelError(
            f"{spec.weights} does not fit {spec.name}: it has no weights for {left[0]} ({len(left)} missing): "
            "check model.backbone, model.network and model.weights"
        )
    return network.eval()


@contextmanager
def _quiet_about_heads() -> Iterator[None]:
    """timm warns of weights of a head that levels of features do not have; what lacks weights is checked here."""
    log = logging.getLogger("timm.models._builder")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _expect_no_hub_where_there_is_none() -> None:
    """Without a network, look only at earlier downloads: the hub's own retries would take a minute to say the same."""
    if not hub_answers():
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = True


def hub_answers() -> bool:
    """False if the hub is switched off or its address cannot be connected to; behind a proxy this is not tried."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True
    address = urlparse(constants.ENDPOINT)
    try:
        socket.create_connection((address.hostname or "", address.port or 443), timeout=5).close()
    except OSError:
        return False
    return True


def _untouched(network: Any, blank: Any) -> list[str]:
    """Names of weights that loading left as drawn: timm passes over what a file lacks when the classifier is new."""
    # Levels of features have no classifier, and what a file says of one is left aside.
    top = network.get_classifier() if hasattr(network, "get_classifier") else None
    classifier = {id(p) for p in top.parameters()} if top is not None else set()
    drawn = blank.state_dict()
    own = [(n, p) for n, p in network.named_parameters() if p.ndim >= 2 and id(p) not in classifier]
    return [n for n, p in own if bool((p == drawn[n]).all())]


def _why_no_network(spec: NetworkSpec, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if spec.weights == "hub":
        return (
            f"no pretrained weights for {spec.name}: the hub cannot be reached or has none ({reason}). Ways out: "
            "copy a weight file here and set "
            f"model.weights=FILE; download once on a connected machine and copy its Hugging Face cache; or ask for "
            "an untrained network with model.weights=none"
        )
    return f"cannot build {spec.name} with weights {spec.weights!r}: {reason}"


def feature_length(network: Any) -> int:
    """How many numbers the pooled features of a network have."""
    return int(getattr(network, "head_hidden_size", None) or network.num_features)


def save_tensors(tensors: Mapping[str, Any], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors to a .safetensors file, whole or not at all. Raises OSError if there is no room for it."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    beside = path.with_name(f"{path.name}.partial")
    try:
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, beside, dict(metadata))
    except SafetensorError as error:  # its own kind, even where the disk is full
        beside.unlink(missing_ok=True)
        raise OSError(str(error)) from error
    beside.replace(path)


def preprocessing_of(
    network: Any, *, size: int | None, resize: str, interpolation: str | None, mean: Any, std: Any
) -> Preprocessing:
    """The network's own preprocessing, changed by what is given."""
    own = getattr(network, "pretrained_cfg", None) or {}
    return Preprocessing(
        size=size or own.get("input_size", (3, 224, 224))[1],
        resize="crop" if resize == "crop" else "squash",
        interpolation=interpolation
        or (own["interpolation"] if own.get("interpolation") in INTERPOLATIONS else "bicubic"),
        mean=tuple(mean or own.get("mean", Preprocessing.mean)),
        std=tuple(std or own.get("std", Preprocessing.std)),
    )


def fingerprint(*parts: Any) -> str:
    """A short digest of everything that decides what a vector is; weight files count by their content."""
    digest = hashlib.blake2b(digest_size=6)
    for part in parts:
        if isinstance(part, NetworkSpec) and part.weights not in ("hub", "none"):
            with Path(part.weights).open("rb") as file:
                weights = hashlib.file_digest(file, "sha256").hexdigest()
            part = NetworkSpec(part.name, weights, part.options)
        value = asdict(part) if hasattr(part, "__dataclass_fields__") else part
        digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def read_pixels(
    samples: Sequence[Sample], prepare: Callable[[Image.Image], Pixels], *, threads: int
) -> Iterator[Pixels]:
    """The samples' pictures as prepared pixels, in their order, read ahead by ``threads`` threads."""

    def load(sample: Sample) -> Pixels:
        try:
            return prepare(open_sample(sample)[0])
        except DataError as error:
            raise DataError(f"{sample.id} could be read before, but not now: {error}") from error

    return iter(read_ahead(samples, load, threads=threads, window=4 * threads))


def to_input(pixels: Sequence[Pixels], preprocessing: Preprocessing, device: Any) -> Any:
    """Pixels as a float tensor ``(n, 3, size, size)`` on the device."""
    import torch

    batch = torch.from_numpy(np.stack(pixels)).to(device).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) * 255 for v in (preprocessing.mean, preprocessing.std))
    return (batch - mean) / std


def device() -> str:
    """The device networks run on: the first GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
