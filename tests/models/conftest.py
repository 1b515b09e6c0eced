"""Tiny detectors of transformers with random weights, saved to folders as downloads would be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Save = Callable[[Path], str]


@pytest.fixture
def tiny_owl() -> Callable[..., str]:
    """Saves an OWLv2 or OWL-ViT of some thousand parameters and gives its folder."""
    pytest.importorskip("transformers")
    import torch
    import transformers

    def save(folder: Path, version: str = "Owlv2") -> str:
        letters = [chr(code) for code in range(33, 127)]
        names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        vocabulary = {name: number for number, name in enumerate(names)}
        tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
        small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        text = {**small, "vocab_size": len(names), "max_position_embeddings": 32, "eos_token_id": len(names) - 1}
        config = getattr(transformers, f"{version}Config")(
            text_config={**text, "bos_token_id": len(names) - 2, "pad_token_id": len(names) - 1},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = getattr(transformers, f"{version}ForObjectDetection")(config)
        size = {"height": 32, "width": 32}
        images = getattr(transformers, f"{version}ImageProcessor")(size=size)
        return _save(folder, network, getattr(transformers, f"{version}Processor")(images, tokenizer))

    return save


@pytest.fixture
def tiny_dino() -> Save:
    """Saves a Grounding DINO of some thousand parameters and gives its folder."""
    pytest.importorskip("transformers")
    import torch
    import transformers

    def save(folder: Path) -> str:
        letters = "abcdefghijklmnopqrstuvwxyz0123456789"
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, *(f"##{letter}" for letter in letters)]
        folder.mkdir(parents=True)
        tokenizer = transformers.BertTokenizerFast(vocab={name: number for number, name in enumerate(names)})
        swin = transformers.SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=2,
            out_features=["stage1", "stage2"],
        )
        bert = transformers.BertConfig(
            vocab_size=len(names), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        config = transformers.GroundingDinoConfig(
            backbone_config=swin, text_config=bert, d_model=32, num_queries=10, encoder_layers=1, decoder_layers=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
            num_feature_levels=3, encoder_n_points=2, decoder_n_points=2, disable_custom_kernels=True, max_text_len=64,
        )  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = transformers.GroundingDinoForObjectDetection(config)
        images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        return _save(folder, network, transformers.GroundingDinoProcessor(images, tokenizer))

    return save


def _save(folder: Path, network: Any, processor: Any) -> str:
    from labelwise.models.hub import quiet_transformers

    with quiet_transformers():
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    return str(folder)
