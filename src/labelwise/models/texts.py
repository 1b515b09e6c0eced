"""Words that find images: a model of transformers that puts pictures and texts into one space (CLIP, SigLIP)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.embedding.backbone import device, fingerprint
from labelwise.embedding.extractor import Extractor
from labelwise.errors import DataError, ModelError
from labelwise.models.hub import as_input, load_network, load_pretrained

Floats = NDArray[np.float32]
LONGEST = 500  # characters of a text
_KEY = "--text"


class TextModel:
    """A model by its name on the hub or its folder; loaded when it is first needed."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._parts: tuple[Any, Any, Any] | None = None

    def extractor(self) -> Extractor:
        """How it makes vectors of pictures. Raises ModelError, ConfigError if it cannot be loaded."""
        network, processor, _ = self._loaded()
        digest = hashlib.blake2b(digest_size=8)
        for _name, values in sorted(network.state_dict().items()):
            digest.update(values.cpu().contiguous().numpy().tobytes())
        about = {"text_model": self.source.rstrip("/").rpartition("/")[2], "weights": digest.hexdigest()}
        name = f"{about['text_model']}-{fingerprint(about)}"
        prepare: Any = partial(as_input, processor=processor)
        return Extractor(name, len(self.vector("a photo")), about, prepare, self._pictures)

    def vector(self, text: str) -> Floats:
        """The vector of a text, of length 1."""
        import torch

        network, _, tokenizer = self._loaded()
        made = tokenizer([text], padding="max_length", truncation=True, return_tensors="pt").to(device())
        with self._lock, torch.inference_mode():
            units = _units(network.get_text_features(**made))
        first: Floats = units[0]
        return first

    def _pictures(self, batch: Sequence[Any]) -> Floats:
        import torch

        network, _, _ = self._loaded()
        pixels = torch.from_numpy(np.stack(batch)).to(device())
        with self._lock, torch.inference_mode():
            return _units(network.get_image_features(pixel_values=pixels))

    def _loaded(self) -> tuple[Any, Any, Any]:
        with self._lock:
            if self._parts is None:
                network = load_network("AutoModel", self.source, _KEY)
                if not (hasattr(network, "get_text_features") and hasattr(network, "get_image_features")):
                    raise ModelError(
                        f"{_KEY}: {self.source!r} knows no pictures and texts together; give a CLIP or SigLIP"
                    )
                kinds = ("AutoImageProcessor", "AutoTokenizer")
                processor, tokenizer = (load_pretrained(kind, self.source, _KEY) for kind in kinds)
                self._parts = network.eval().to(device()), processor, tokenizer
            return self._parts


def distances(matrix: NDArray[Any], vector: Floats) -> Floats:
    """1 - cosine of each row ``(m, d)`` to a vector ``(d,)``. Raises DataError if their lengths differ."""
    if matrix.shape[1] != len(vector):
        raise DataError(
            f"the images have vectors of {matrix.shape[1]} numbers, the text one of {len(vector)}: they are not of one "
            "model; leave out --embeddings, or give those that the text's model made"
        )
    lengths = np.linalg.norm(matrix.astype(np.float32, copy=False), axis=1) * float(np.linalg.norm(vector))
    found = 1 - (matrix @ vector.astype(matrix.dtype)) / np.maximum(lengths, 1e-12)
    return np.asarray(found, np.float32)


def _units(features: Any) -> Floats:
    """Features of length 1; some versions give them bare, some inside of an output."""
    values = np.asarray(getattr(features, "pooler_output", features).float().cpu().numpy(), np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), np.float32)
