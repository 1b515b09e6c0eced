"""Backbones: where weights come from, what is said when there are none, and that features are those of timm."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from labelwise.data.images import open_image
from labelwise.embedding.backbone import (
    NetworkSpec,
    Preprocessing,
    create_network,
    fingerprint,
    preprocessing_of,
    read_pixels,
    to_input,
)
from labelwise.errors import DataError, ModelError
from labelwise.testing import make_images


def test_an_unknown_name_is_told_with_near_ones():
    with pytest.raises(ModelError, match=r"timm has no network 'resnet1': did you mean .*resnet1"):
        create_network(NetworkSpec("resnet1", "none"), num_classes=0)
    for slip, meant in (("edgs", "edges"), ("resent18", "resnet18")):
        with pytest.raises(ModelError, match=rf"did you mean .*\b{meant}\b"):
            create_network(NetworkSpec(slip, "none"), num_classes=0)
    with pytest.raises(ModelError, match=r"timm\.list_models"):
        create_network(NetworkSpec("nothing_like_it", "none"), num_classes=0)


def test_a_missing_weight_file_is_told_with_the_ways_out(tmp_path):
    with pytest.raises(ModelError, match=r"no weight file .*absent\.pth.*'hub', or 'none'"):
        create_network(NetworkSpec("test_resnet", str(tmp_path / "absent.pth")), num_classes=0)


def test_offline_without_weights_the_ways_out_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"model\.weights=FILE.*model\.weights=none") as error:
        create_network(NetworkSpec("test_resnet.r160_in1k"), num_classes=0)
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="no pretrained weights"):
        create_network(NetworkSpec("resnet33ts"), num_classes=0)


def test_an_untrained_network_is_the_same_each_time_and_leaves_random_numbers_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = create_network(NetworkSpec("test_resnet", "none"), num_classes=0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    two = create_network(NetworkSpec("test_resnet", "none"), num_classes=0)
    assert not one.training
    assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", pretrained=False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("classes", [0, 7, 1000])
def test_a_weight_file_is_loaded_whatever_the_number_of_classes(weights, classes):
    network = create_network(NetworkSpec("test_resnet", str(weights)), num_classes=classes)
    stored = load_file(weights)
    own = network.state_dict()
    assert all(torch.equal(own[k], v) for k, v in stored.items() if k in own and not k.startswith("fc."))
    if classes == 1000:
        assert torch.equal(own["fc.weight"], stored["fc.weight"])


def test_a_file_of_another_network_is_refused(weights, tmp_path):
    state = load_file(weights)
    other = {f"backbone.{k}": v for k, v in state.items()}
    some = {k: v for k, v in state.items() if not k.startswith("layer3")}
    wide = {k: torch.zeros(3, 3) if k == "conv1.0.weight" else v for k, v in state.items()}
    save_file(other, tmp_path / "other.safetensors")
    save_file(some, tmp_path / "some.safetensors")
    save_file(wide, tmp_path / "wide.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("other", "some", "wide", "text"):
        with pytest.raises(ModelError, match=name) as error:
            create_network(NetworkSpec("test_resnet", str(tmp_path / f"{name}.safetensors")), num_classes=0)
        assert "\n" not in str(error.value)


def test_arguments_that_the_network_does_not_take_are_one_line():
    with pytest.raises(ModelError, match="cannot build test_resnet") as error:
        create_network(NetworkSpec("test_resnet", "none", {"img_sise": 3}), num_classes=0)
    assert "\n" not in str(error.value)


def test_squash_takes_the_whole_picture_and_crop_its_centre():
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    image = Image.fromarray(pixels)
    squashed = Preprocessing(size=30, interpolation="nearest").pixels(image)
    cropped = Preprocessing(size=20, resize="crop").pixels(image)
    assert squashed.shape == (30, 30, 3)
    assert (squashed[:, 10:20] == 255).all()
    assert (squashed[:, :10] == 0).all()
    assert (cropped == 255).all()
    tall = Preprocessing(size=20, resize="crop").pixels(image.transpose(Image.Transpose.TRANSPOSE))
    assert (tall == 255).all()


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_interpolations_are_pillows(name):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    expected = image.resize((16, 16), Image.Resampling[name.upper()])
    assert np.array_equal(Preprocessing(size=16, interpolation=name).pixels(image), np.asarray(expected))


def test_inputs_are_normalised_as_documented():
    preprocessing = Preprocessing(size=2, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.5))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 2, 3), dtype=np.uint8)
    found = to_input(list(pixels), preprocessing, "cpu")
    expected = ((pixels / 255 - preprocessing.mean) / preprocessing.std).transpose(0, 3, 1, 2)
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_the_networks_own_preprocessing_is_changed_by_what_is_given():
    network = create_network(NetworkSpec("test_resnet", "none"), num_classes=0)
    own = preprocessing_of(network, size=None, resize="squash", interpolation=None, mean=None, std=None)
    assert own.size == network.pretrained_cfg["input_size"][1]
    assert own.interpolation == network.pretrained_cfg["interpolation"]
    changed = preprocessing_of(network, size=48, resize="crop", interpolation="nearest", mean=(0, 0, 0), std=None)
    assert changed == dataclasses.replace(own, size=48, resize="crop", interpolation="nearest", mean=(0, 0, 0))


def test_fingerprints_follow_everything_that_decides_a_vector(weights, tmp_path):
    spec, how = NetworkSpec("a", str(weights)), Preprocessing()
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    base = fingerprint(spec, how)
    assert fingerprint(NetworkSpec("a", str(copy)), how) == base
    copy.write_bytes(weights.read_bytes()[:-1] + b"x")
    others = [
        fingerprint(NetworkSpec("a", str(copy)), how),
        fingerprint(NetworkSpec("b", str(weights)), how),
        fingerprint(NetworkSpec("a", str(weights), {"pad_type": "same"}), how),
        fingerprint(NetworkSpec("a", "none"), how),
        *(
            fingerprint(spec, dataclasses.replace(how, **{k: v}))
            for k, v in [("size", 9), ("mean", (0.0,)), ("resize", "crop")]
        ),
    ]
    assert len({base, *others}) == 8


def test_pictures_are_read_in_order_and_one_that_is_gone_is_named(tmp_path):
    samples = make_images(tmp_path, 20, size=8)
    found = list(read_pixels(samples, np.asarray, threads=3))
    assert all(np.array_equal(p, np.asarray(Image.open(s.path))) for p, s in zip(found, samples, strict=True))
    samples[7].path.unlink()
    with pytest.raises(DataError, match=r"007\.png could be read before, but not now"):
        list(read_pixels(samples, np.asarray, threads=3))


def test_features_are_those_of_plain_timm(shared_data, tmp_path):
    file = shared_data.parent / "weights" / "mobilenetv2_100_same.safetensors"
    pictures = (p for p in (shared_data / "plankton" / "images").rglob("*.*") if p.is_file())
    paths = list(itertools.islice(pictures, 4))
    if not file.is_file() or not paths:
        pytest.skip("shared weights or pictures absent")
    options = {"pad_type": "same"}
    network = create_network(NetworkSpec("mobilenetv2_100", str(file), options), num_classes=0)
    how = preprocessing_of(network, size=96, resize="squash", interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    with torch.inference_mode():
        pixels = [how.pixels(open_image(p)[0]) for p in paths]
        found = network(to_input(pixels, how, "cpu")).numpy()
        peer = timm.create_model("mobilenetv2_100", checkpoint_path=str(file), **options)
        peer.reset_classifier(0)
        peer.eval()
        for path, row in zip(paths, found, strict=True):
            image = Image.open(path).convert("RGB").resize((96, 96), Image.Resampling.BILINEAR)
            tensor = torch.from_numpy(np.asarray(image) / 127.5 - 1).permute(2, 0, 1)[None].float()
            assert np.allclose(peer(tensor).numpy()[0], row, atol=1e-4)


def test_a_vision_transformer_is_made_for_the_size_that_is_asked_for():
    spec = NetworkSpec("vit_tiny_patch16_224", "none")
    network = create_network(spec, num_classes=0, size=32)
    assert network.patch_embed.img_size == (32, 32)
