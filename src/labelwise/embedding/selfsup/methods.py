"""The methods of self-supervised training, each a small entry over lightly's views, heads and losses.

The only file that imports lightly: no trainer, no command line and no network of it.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from labelwise.embedding.backbone import Preprocessing, device
from labelwise.errors import ConfigError

TWO_VIEWS = {"cj_strength": 0.5, "min_scale": 0.2}
SMALL = 64  # up to this size pictures are not blurred: nothing would be left of them
LOCAL = 3 / 7  # size of a small crop, as a share of a large one


@dataclass(frozen=True)
class Room:
    """What the heads are made for: the length of a feature, the width of their hidden layers, the number of images."""

    dim: int
    width: int
    images: int


@dataclass(frozen=True)
class Method:
    """One way to train without labels.

    ``heads`` makes the modules on top of the backbone, by name; ``step`` the loss of one batch from the views of its
    images. ``views`` and ``loss`` are names of lightly, with the defaults that differ from its own. ``teacher``: a
    second network follows the first one slowly. ``compares``: images are told apart from those of the same batch.
    """

    paper: str
    views: str
    loss: str
    heads: Callable[[Room], dict[str, Any]]
    step: Callable[[Any, Sequence[Any]], Any]
    view_defaults: dict[str, Any] = field(default_factory=dict)
    loss_defaults: Callable[[Room], dict[str, Any]] = lambda room: {}
    teacher: bool = False
    compares: bool = False


# --- the loss of one batch ----------------------------------------------------------------------------


def _pair(learner: Any, views: Sequence[Any]) -> Any:
    return learner.loss(learner.student(views[0]), learner.student(views[1]))


def _predicted(learner: Any, views: Sequence[Any]) -> Any:
    z = [learner.student(view) for view in views]
    p = [learner.heads["prediction"](one) for one in z]
    return 0.5 * (learner.loss(p[0], z[1].detach()) + learner.loss(p[1], z[0].detach()))


def _bootstrapped(learner: Any, views: Sequence[Any]) -> Any:
    p = [learner.heads["prediction"](learner.student(view)) for view in views]
    z = [learner.teacher(view) for view in views]
    return 0.5 * (learner.loss(p[0], z[1]) + learner.loss(p[1], z[0]))


def _queued(learner: Any, views: Sequence[Any]) -> Any:
    return learner.loss(learner.student(views[0]), learner.teacher(views[1]))


def _distilled(learner: Any, views: Sequence[Any]) -> Any:
    return learner.loss([learner.teacher(view) for view in views[:2]], [learner.student(view) for view in views])


def _swapped(learner: Any, views: Sequence[Any]) -> Any:
    import torch

    prototypes = learner.heads["prototypes"]
    prototypes.normalize()
    out = [prototypes(torch.nn.functional.normalize(learner.student(view), dim=1)) for view in views]
    return learner.loss(out[:2], out[2:]).squeeze()


# --- heads --------------------------------------------------------------------------------------------


def _simclr(room: Room) -> dict[str, Any]:
    return {"projection": _head("SimCLRProjectionHead", room.dim, room.width, 128)}


def _barlow(room: Room) -> dict[str, Any]:
    return {"projection": _head("BarlowTwinsProjectionHead", room.dim, room.width, room.width)}


def _simsiam(room: Room) -> dict[str, Any]:
    return {
        "projection": _head("SimSiamProjectionHead", room.dim, room.width, room.width),
        "prediction": _head("SimSiamPredictionHead", room.width, max(room.width // 4, 1), room.width),
    }


def _byol(room: Room) -> dict[str, Any]:
    return {
        "projection": _head("BYOLProjectionHead", room.dim, room.width, 256),
        "prediction": _head("BYOLPredictionHead", 256, room.width, 256),
    }


def _moco(room: Room) -> dict[str, Any]:
    return {"projection": _head("MoCoProjectionHead", room.dim, room.width, 128)}


def _dino(room: Room) -> dict[str, Any]:
    return {"projection": _head("DINOProjectionHead", room.dim, room.width, 256, _classes(room), batch_norm=True)}


def _swav(room: Room) -> dict[str, Any]:
    return {
        "projection": _head("SwaVProjectionHead", room.dim, room.width, 128),
        "prototypes": _head("SwaVPrototypes", 128, _prototypes(room)),
    }


def _classes(room: Room) -> int:
    return 2 * room.width


def _prototypes(room: Room) -> int:
    return min(512, max(8, room.images // 16))


def _head(name: str, *arguments: int, **options: Any) -> Any:
    from lightly.models.modules import heads

    with (
        warnings.catch_warnings()
    ):  # the weight norm of DINO's head is deprecated in torch, and still what lightly uses
        warnings.simplefilter("ignore", FutureWarning)
        return getattr(heads, name)(*arguments, **options)


METHODS: dict[str, Method] = {
    "simclr": Method(
        "Chen 2020, arXiv:2002.05709", "SimCLRTransform", "NTXentLoss", _simclr, _pair, TWO_VIEWS, compares=True
    ),
    "dcl": Method("Yeh 2021, arXiv:2110.06848", "SimCLRTransform", "DCLLoss", _simclr, _pair, TWO_VIEWS, compares=True),
    "moco": Method(
        "Chen 2020, arXiv:2003.04297",
        "MoCoV2Transform",
        "NTXentLoss",
        _moco,
        _queued,
        TWO_VIEWS,
        lambda room: {"temperature": 0.2, "memory_bank_size": (min(4096, room.images), 128)},
        teacher=True,
    ),
    "byol": Method(
        "Grill 2020, arXiv:2006.07733",
        "BYOLTransform",
        "NegativeCosineSimilarity",
        _byol,
        _bootstrapped,
        TWO_VIEWS,
        teacher=True,
    ),
    "simsiam": Method(
        "Chen 2020, arXiv:2011.10566",
        "SimSiamTransform",
        "NegativeCosineSimilarity",
        _simsiam,
        _predicted,
        TWO_VIEWS,
    ),
    "barlow_twins": Method(
        "Zbontar 2021, arXiv:2103.03230", "BYOLTransform", "BarlowTwinsLoss", _barlow, _pair, TWO_VIEWS
    ),
    "vicreg": Method("Bardes 2021, arXiv:2105.04906", "VICRegTransform", "VICRegLoss", _barlow, _pair, TWO_VIEWS),
    "dino": Method(
        "Caron 2021, arXiv:2104.14294",
        "DINOTransform",
        "DINOLoss",
        _dino,
        _distilled,
        {"n_local_views": 4},
        lambda room: {"output_dim": _classes(room)},
        teacher=True,
    ),
    "swav": Method(
        "Caron 2020, arXiv:2006.09882", "SwaVTransform", "SwaVLoss", _swav, _swapped, {"crop_counts": (2, 4)}
    ),
}

# Given by the preprocessing or by the heads, not by the user.
_OURS = {
    "input_size",
    "normalize",
    "global_crop_size",
    "local_crop_size",
    "crop_sizes",
    "memory_bank_size",
    "gather_distributed",
    "sinkhorn_gather_distributed",
    "output_dim",
    "weight_fn",
    "dim",
    "self",
}


def need_lightly() -> None:
    """Raises ConfigError with what to install if lightly is not there."""
    # Versions before 1.6 would ask a server for the newest one when they are imported.
    os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"
    try:
        import lightly.loss
        import lightly.models.modules
        import lightly.transforms  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"training on a folder needs lightly ({error}): pip install 'labelwise[lightly]'") from None


def view_options(method: str) -> dict[str, inspect.Parameter]:
    """The options of a method's views that a user may set, by name."""
    import lightly.transforms

    name = METHODS[method].views
    # BYOL's two views differ, and take the options themselves.
    return _options(getattr(lightly.transforms, "BYOLView1Transform" if name == "BYOLTransform" else name))


def loss_options(method: str) -> dict[str, inspect.Parameter]:
    """The options of a method's loss that a user may set, by name."""
    import lightly.loss

    return _options(getattr(lightly.loss, METHODS[method].loss))


def _options(function: Any) -> dict[str, inspect.Parameter]:
    try:
        found = inspect.signature(function, eval_str=True).parameters
    except NameError:
        found = inspect.signature(function).parameters
    return {name: p for name, p in found.items() if name not in _OURS}


def make_views(method: str, preprocessing: Preprocessing, given: Mapping[str, Any], *, crops: bool) -> Any:
    """The function from a picture to its views, a list of tensors ``(3, h, w)``; two large ones come first.

    ``crops``: whether the network also takes pictures smaller than ``preprocessing.size``.
    """
    transforms = importlib.import_module("lightly.transforms")
    entry, size = METHODS[method], preprocessing.size
    local = max(32, round(size * LOCAL))
    crops = crops and local < size
    options: dict[str, Any] = {"normalize": {"mean": list(preprocessing.mean), "std": list(preprocessing.std)}}
    options |= entry.view_defaults | dict(given)
    if entry.views == "DINOTransform":
        options |= {"global_crop_size": size, "local_crop_size": local} | ({} if crops else {"n_local_views": 0})
    elif entry.views == "SwaVTransform":
        options |= {"crop_sizes": (size, local)} | ({} if crops else {"crop_counts": (2, 0)})
    else:
        options |= {"input_size": size}
        if size <= SMALL:
            options.setdefault("gaussian_blur", 0.0)
    if entry.views == "BYOLTransform":
        return transforms.BYOLTransform(
            transforms.BYOLView1Transform(**options), transforms.BYOLView2Transform(**options)
        )
    return getattr(transforms, entry.views)(**options)


def make_learner(method: str, backbone: Any, room: Room, given: Mapping[str, Any]) -> Any:
    """The backbone with what the method puts on it: one torch module with ``student``, ``teacher`` and ``loss``."""
    import lightly.loss
    import torch

    entry = METHODS[method]

    class Learner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone
            self.heads = torch.nn.ModuleDict(entry.heads(room))
            self.loss = getattr(lightly.loss, entry.loss)(**(entry.loss_defaults(room) | dict(given)))
            self.followers = torch.nn.ModuleDict()
            if entry.teacher:
                # Made anew and loaded, not copied: heads with weight norm cannot be copied.
                projection = entry.heads(room)["projection"]
                projection.load_state_dict(self.heads["projection"].state_dict())
                self.followers.update({"backbone": copy.deepcopy(backbone), "projection": projection})
                self.followers.requires_grad_(False)

        def student(self, pictures: Any) -> Any:
            return self.heads["projection"](_features(self.backbone, pictures))

        @torch.no_grad()
        def teacher(self, pictures: Any) -> Any:
            return self.followers["projection"](_features(self.followers["backbone"], pictures))

        @torch.no_grad()
        def follow(self, momentum: float) -> None:
            """Move the teacher towards the student: ``momentum`` is the share that stays."""
            leaders = [*self.backbone.parameters(), *self.heads["projection"].parameters()]
            followers = [*self.followers["backbone"].parameters(), *self.followers["projection"].parameters()]
            for follower, leader in zip(followers, leaders, strict=True):
                follower.lerp_(leader.detach(), 1 - momentum)

    return Learner()


def _features(network: Any, pictures: Any) -> Any:
    """Pooled features, in float32; computed in bfloat16 where the GPU can."""
    import torch

    half = device() == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast("cuda", dtype=torch.bfloat16) if half else nullcontext():
        return network(pictures).flatten(1).float()
