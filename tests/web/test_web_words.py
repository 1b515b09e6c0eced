"""Images found by words, with a tiny CLIP of transformers that is made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from exploring import IDS, client_of, make_run

from labelwise.web.served import Beside

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.transformers


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights, its processor, and a tokenizer that knows letters."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {token: i for i, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    text = {**small, "vocab_size": len(vocabulary), "max_position_embeddings": 12, "eos_token_id": len(vocabulary) - 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**small, "image_size": 16, "patch_size": 8}, projection_dim=6
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 12}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return folder


def test_a_model_makes_vectors_and_finds_by_words(clip: Path, tmp_path: Path) -> None:
    with client_of(make_run(tmp_path), Beside(text=str(clip))) as client:
        state = client.get("/api/explore/state").json()["vectors"]
        assert (state["state"], state["dim"], state["images"]) == ("ready", 6, len(IDS)), state["message"]
        far = [
            np.frombuffer(client.post("/api/explore/text", json={"text": text}).content, "<f4")
            for text in ("cat", "dog")
        ]
        assert np.isfinite(far).all()
        assert not np.allclose(far[0], far[1])
        similar = np.frombuffer(client.post("/api/explore/similar", json={"ids": IDS[:1]}).content, "<f4")
        assert similar[0] == 0


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with client_of(make_run(tmp_path), Beside(text="./nowhere")) as client:
        state = client.get("/api/explore/state").json()["vectors"]
        assert state["state"] == "failed"
        assert "--text" in state["message"]
