"""Networks of segmentation-models-pytorch: the model's seam, encoders by name and file, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise import api, catalog, testing
from labelwise.errors import ConfigError, LabelwiseError, ModelError

MODEL = {
    "name": "fpn", "backbone": "mobilenetv2_035", "weights": "none", "channels": 8, "iterations": 3, "train_batch": 4,
    "freeze_norm": False,
}  # fmt: skip
OPTIONS = {"weights": "none", "iterations": 2, "train_batch": 3, "freeze_norm": False}


def configuration(folder: Path, **changes: Any) -> dict[str, Any]:
    data = {"format": "image_masks", "path": str(testing.make_masks(folder / "data")), "test": 0.25}
    base = {"name": "run", "task": "segment", "data": data, "out": str(folder / "runs")}
    return base | changes


def smp(**options: Any) -> Any:
    return catalog.make("model", {"name": "smp", **options})


@pytest.mark.smp
@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "Unet", "backbone": "resnet18", "network": {"decoder_channels": [16, 8, 8, 8, 8]}},
        {"architecture": "deeplabv3plus", "backbone": "mobilenetv2_035", "network": {"decoder_channels": 16}},
        {"architecture": "FPN", "backbone": "tu-mobilenetv2_035"},
    ],
)
def test_the_seam(tmp_path: Path, options: dict[str, Any]) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    testing.check_segmentation_model(lambda: catalog.make("model", {"name": "smp", **OPTIONS, **options}), tmp_path)


@pytest.mark.smp
def test_a_run_with_features_and_samples(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    model = {
        "name": "smp",
        **OPTIONS,
        "backbone": "resnet18",
        "start": "continue",
        "iterations": [2, 2, 2],
        "passes": 2,
    }
    budget = {"unit": "region", "initial": 9, "per_round": 5, "rounds": 3}
    strategy = {"score": "bald", "select": "coral", "evenly": False}
    result = api.run(configuration(tmp_path, model=model, strategy=strategy, budget=budget), report=False)
    assert [result.labels(r) for r in result.rounds] == [9, 14, 19]


@pytest.mark.smp
def test_weights_from_files(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    import timm
    from safetensors.torch import save_file

    own = timm.create_model("mobilenetv2_035")
    save_file(own.state_dict(), tmp_path / "timm.safetensors")
    made = smp(backbone="mobilenetv2_035", weights=str(tmp_path / "timm.safetensors"))
    network = made._create(3)
    assert (network.backbone.model.conv_stem.weight == own.conv_stem.weight).all()
    assert made._preprocessing(network).mean == pytest.approx((0.485, 0.456, 0.406))
    encoder = smp(backbone="resnet18", weights="none")._create(2).backbone
    save_file(encoder.state_dict(), tmp_path / "resnet.safetensors")
    again = smp(backbone="resnet18", weights=str(tmp_path / "resnet.safetensors"))
    assert (again._create(2).backbone.conv1.weight == encoder.conv1.weight).all()
    wrong = smp(backbone="resnet50", weights=str(tmp_path / "resnet.safetensors"))
    with pytest.raises(ModelError, match="does not fit resnet50"):
        wrong._create(2)


@pytest.mark.smp
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "Unett"}, "did you mean 'Unet'"),
        ({"passes": 0}, "passes: Input should be greater than 0"),
        ({"backbone": "resnet_34"}, "unknown encoder 'resnet_34'"),
        ({"backbone": "resnet18", "weights": "missing.pth"}, "no weight file 'missing.pth'"),
        (
            {"backbone": "resnet18", "weights": "none", "network": {"decoder_chanels": 3}},
            "did you mean 'decoder_channels'",
        ),
        ({"backbone": "resnet18", "weights": "none", "network": {"decoder_channels": 3}}, "check model.backbone"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(options: dict[str, Any], words: str) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(LabelwiseError, match=words) as caught:
        smp(**options)._create(2)
    assert "\n" not in str(caught.value)


def test_a_missing_library_names_the_line_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(LabelwiseError, match=r"pip install 'labelwise\[smp\]'"):
        api.run(configuration(tmp_path, model={"name": "smp", **OPTIONS}))
    with pytest.raises(ConfigError, match=r"model\.channels"):
        catalog.make("model", {"name": "smp", "channels": 3})


@pytest.mark.parametrize(("sampling", "passes"), [("dropout", 4), ("flips", 2), ("both", 4)])
def test_samples_of_flips_and_dropout(tmp_path: Path, sampling: str, passes: int) -> None:
    from labelwise.data import image_masks
    from labelwise.models import Place, Plan
    from labelwise.records import Labelled, Sample

    listing = image_masks.read(testing.make_masks(tmp_path / "data", 3))
    items = [Labelled(Sample(s.id, s.path, size=(48, 32)), s.target) for s in listing.samples if s.target]
    model = catalog.make("model", {**MODEL, "sampling": sampling, "passes": 4, "dropout": 0.5})
    model.prepare([], [], place=Place(tmp_path, tmp_path, 1), progress=testing.making.quiet)
    plan = Plan(listing.classes, 0)
    quiet, out = testing.making.quiet, tmp_path / "out"
    checkpoint = model.fit(items, [], out=out, start=None, plan=plan, seed=1, progress=quiet)
    found = next(iter(model.predict(checkpoint, [items[0].sample], want=frozenset({"probs", "samples"}))))
    assert found.samples.shape == (passes, 32, 48, 3)
    same = [bool(np.allclose(found.probs, one)) for one in found.samples]
    assert same == ([True, False] if sampling == "flips" else [False] * 4)
    assert np.allclose(found.samples.sum(axis=-1), 1, atol=1e-5)
