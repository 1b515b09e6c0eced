"""The embedding of a metric model: a network and its vectors, computed once for each of its states and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.embedding.backbone import Preprocessing, device, feature_length, read_pixels, save_tensors, to_input
from labelwise.embedding.extractor import Extractor, fill, forward
from labelwise.embedding.table import Table
from labelwise.models import Place, Progress
from labelwise.models.frozen import Frozen
from labelwise.models.training import augmented, freeze_norms
from labelwise.records import Sample

Array = NDArray[np.float32]
FOLDER = "embeddings"  # in the model's home: one table for each state of the network
KEPT = 2**29  # bytes of decoded pictures that a training keeps in memory


@dataclass
class Embedded:
    """A frozen backbone made to learn, or only a projection of its features, as ``whole`` says; to ``dim`` numbers."""

    frozen: Frozen
    dim: int
    whole: bool
    augment: bool
    freeze_norm: bool | None
    place: Place | None = field(default=None, init=False)
    _loaded: tuple[str, Any] | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}  # a network is loaded anew in each process

    def create(self, weights: Path | None) -> Any:
        """The network on the device: as a file left it, or with the backbone's weights and a drawn projection."""
        from safetensors.torch import load_file
        from torch import nn

        from labelwise.embedding.metric.objectives import Embedder

        if self.whole:
            backbone = self.frozen.create()
            network = Embedder(backbone, feature_length(backbone), self.dim)
        else:
            if weights is None:
                mean, std = self.frozen.moments
            else:  # a checkpoint says itself what it standardises by
                told = load_file(weights)
                mean, std = told["mean"].numpy(), told["std"].numpy()
            network = Embedder(nn.Identity(), len(mean), self.dim)
            network.mean.copy_(_tensor(mean))
            network.std.copy_(_tensor(std))
        if weights is not None:
            network.load_state_dict(load_file(weights))
        return network.to(device())

    def save(self, network: Any, path: Path) -> None:
        """Write what `create` reads."""
        save_tensors(network.state_dict(), path, {})

    def training_mode(self, network: Any) -> None:
        """Make a network ready for an epoch; normalisation keeps its statistics as it is told to."""
        network.train()
        if self.freeze_norm if self.freeze_norm is not None else self.frozen.weights != "none":
            freeze_norms(network)

    def inputs(self, samples: Sequence[Sample], rng: np.random.Generator) -> Callable[..., Iterator[Any]]:
        """What gives the network's input for each of an epoch's batches of rows."""
        if not self.whole:
            features = _tensor(self.frozen.raw(samples)).to(device())
            return lambda batches: (features[_tensor(rows).to(device())] for rows in batches)
        return partial(self._pictures, samples, rng, {})

    def _pictures(
        self,
        samples: Sequence[Sample],
        rng: np.random.Generator,
        kept: dict[int, NDArray[np.uint8]],
        batches: Sequence[NDArray[np.int64]],
    ) -> Iterator[Any]:
        preprocessing = self.preprocessing
        rows = [int(row) for batch in batches for row in batch]
        new = [row for row in dict.fromkeys(rows) if row not in kept]
        room = KEPT // (3 * preprocessing.size**2)
        if len(kept) + len(new) > room:  # read each as it comes
            pixels = read_pixels([samples[row] for row in rows], preprocessing.pixels, threads=self._threads)
        else:
            read = read_pixels([samples[row] for row in new], preprocessing.pixels, threads=self._threads)
            kept.update(zip(new, read, strict=True))
            pixels = iter([kept[row] for row in rows])
        for batch in batches:
            images = [next(pixels) for _ in batch]
            yield to_input([augmented(p, rng) if self.augment else p for p in images], preprocessing, device())

    def vectors(self, weights: Path, samples: Sequence[Sample], progress: Progress) -> Array:
        """The embeddings ``(n, dim)`` of a trained network, not scaled; those that are not on disk yet are computed."""
        import torch

        name = _digest(weights)
        if not self.whole:
            with torch.inference_mode():
                found = self._network(name, weights)(_tensor(self.frozen.raw(samples)).to(device()))
            return np.asarray(found.float().cpu().numpy())
        table = self._table(name)
        missing = set(table.missing([s.content for s in samples]))
        first = {s.content: s for s in samples if s.content in missing}
        if first:
            extractor = self._extractor(name, weights)
            fill(table, list(first.values()), extractor, threads=self._threads, progress=progress)
        return table.lookup([s.content for s in samples])

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture enters the network."""
        found = self.frozen.extractor.preprocessing
        assert found is not None, "plain features are not trained"
        return found

    def _network(self, name: str, weights: Path) -> Any:
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = (name, self.create(weights).eval())
        return self._loaded[1]

    def _extractor(self, name: str, weights: Path) -> Extractor:
        preprocessing = self.preprocessing
        network = partial(forward, self._network(name, weights), preprocessing)
        return Extractor(name, self.dim, {}, preprocessing.pixels, network, preprocessing)

    def _table(self, name: str) -> Table:
        assert self.place is not None, "prepare comes first"
        return Table(self.place.home / FOLDER / name, self.dim, {"backbone": self.frozen.backbone})

    @property
    def _threads(self) -> int:
        return self.place.threads if self.place else 1


def _tensor(array: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(np.array(array))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:24]
