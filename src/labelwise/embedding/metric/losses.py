"""What an embedding is trained for: triplets, pairs, classes; and the losses of pytorch-metric-learning by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelwise.catalog import split_spec, suggest
from labelwise.errors import ConfigError

# Those of pytorch-metric-learning that suit batches of labelled images, by the words of this house.
FROM_LIBRARY = {
    "arcface": "ArcFaceLoss",
    "circle": "CircleLoss",
    "cosface": "CosFaceLoss",
    "lifted_structure": "LiftedStructureLoss",
    "multi_similarity": "MultiSimilarityLoss",
    "n_pairs": "NPairsLoss",
    "ntxent": "NTXentLoss",
    "proxy_anchor": "ProxyAnchorLoss",
    "proxy_nca": "ProxyNCALoss",
    "soft_triple": "SoftTripleLoss",
    "supcon": "SupConLoss",
}
# Those with a vector of their own for each class.
OF_CLASSES = {"arcface", "cosface", "proxy_anchor", "proxy_nca", "soft_triple"}
MININGS = {"triplet": ("random", "hardest", "semi_hard"), "contrastive": ("random", "hard_pair", "all")}
OWN = ("triplet", "contrastive", "softmax")


def make_objective(
    spec: str | Mapping[str, Any], *, margin: float, mining: str, dim: int, classes: int, seed: int
) -> Any:
    """A torch module that gives the loss of embeddings ``(n, dim)`` and labels ``(n,)``; None where a batch has nothing
    to compare.

    ``spec`` is triplet, contrastive, softmax, or a loss of pytorch-metric-learning, perhaps with its options. Raises
    ConfigError for an unknown name, a mining that the loss does not have, or a missing package.
    """
    import torch

    from labelwise.embedding.metric import objectives

    name, options = check_loss(spec, mining)
    generator = torch.Generator().manual_seed(seed % 2**63)
    if name == "softmax":
        return objectives.Softmax(dim, classes)
    if name in MININGS:
        kind = {"triplet": objectives.Triplet, "contrastive": objectives.Contrastive}[name]
        return kind(margin, mining, generator)
    return objectives.FromLibrary(_from_library(name, options, dim, classes))


def check_loss(spec: str | Mapping[str, Any], mining: str) -> tuple[str, dict[str, Any]]:
    """A loss as name and options, if there is one of that name that can be mined so."""
    name, options = split_spec(spec)
    if name not in OWN and name not in FROM_LIBRARY:
        raise ConfigError(f"model.loss: unknown loss {name!r}: {suggest(name, [*OWN, *FROM_LIBRARY])}")
    if name in OWN and options:
        raise ConfigError(f"model.loss: {name} has no options here, found {', '.join(options)}: use margin and mining")
    if name in MININGS and mining not in MININGS[name]:
        raise ConfigError(f"model.mining: {name} has {', '.join(MININGS[name])}, but found {mining!r}")
    if name in FROM_LIBRARY:
        _from_library(name, options, 8, 2)  # options that it does not know are met here, before anything runs
    return name, options


def _from_library(name: str, options: Mapping[str, Any], dim: int, classes: int) -> Any:
    loss = _library_loss(name)
    sizes = {"num_classes": classes, "embedding_size": dim} if name in OF_CLASSES else {}
    try:
        return loss(**{**sizes, **options})
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"model.loss: {name} cannot be made with {dict(options)}: {error}") from error


def _library_loss(name: str) -> Any:
    try:
        from pytorch_metric_learning import losses
    except ImportError as error:
        raise ConfigError(
            f"model.loss={name} needs pytorch-metric-learning: pip install 'labelwise[metric]', or use one of "
            f"{', '.join(OWN)}"
        ) from error
    return getattr(losses, FROM_LIBRARY[name])
