"""mmsegmentation beside a labelled source: pairs of pictures, losses of both halves, and the guide's source_free."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise import api
from labelwise import config as configuration
from labelwise.errors import LabelwiseError
from labelwise.testing import make_masks

pytest.importorskip("mmseg")
pytestmark = [pytest.mark.mmseg, pytest.mark.filterwarnings("ignore")]

Write = Callable[..., Path]

SPY = """
import labelwise.models.mmseg.adaptation as adaptation
from mmseg.registry import MODELS
from mmseg.models.losses import CrossEntropyLoss
SEEN = []
@MODELS.register_module(force=True)
class SpiedLoss(CrossEntropyLoss):
    def forward(self, cls_score, label, **given):
        loss = super().forward(cls_score, label, **given)
        SEEN.append((len(label), int((label != 255).sum()), float(loss.detach())))
        return loss
"""


@pytest.fixture
def both(mmseg_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Path], Any]:
    """Writes a configuration of a source and a target; and what its loss gets to see."""
    (tmp_path / "spied_loss.py").write_text(SPY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import spied_loss  # type: ignore[import-not-found]

    spied_loss.SEEN.clear()
    make_masks(tmp_path / "source", 5, seed=7)

    def write(*lines: str) -> Path:
        return mmseg_config(
            "import copy",
            "custom_imports = dict(imports=['spied_loss'], allow_failed_imports=False)",
            "source = copy.deepcopy(train_dataloader['dataset'])",
            f"source['data_root'] = {str(tmp_path / 'source')!r}",
            "train_dataloader['dataset'] = [source, train_dataloader['dataset']]",
            "model['decode_head']['loss_decode'] = dict(type='SpiedLoss', avg_non_ignore=True)",
            "source_free = False",
            "active_learning['reset_each_round'] = False",
            "active_learning['settings']['pixel'].pop('initial_label_pixels')",
            *lines,
        )

    return write, spied_loss.SEEN


def test_each_batch_has_as_many_of_the_source_as_of_the_pool(both: Any, tmp_path: Path) -> None:
    write, seen = both
    result = api.run(write(), report=False)
    assert [result.labels(r) for r in result.rounds] == [0, 48]
    assert {id.split("/")[0] for id in result.picks(1)} == {"images"}
    assert len(result.picks(1)) > 5
    assert [n for n, *_ in seen] == [4] * 2 + [4, 4] * 2, "round 0: the source alone; then two halves, each by itself"
    dense = [valid for _, valid, _ in seen]
    assert min(dense[:2] + dense[2::2]) > 4 * 600
    assert max(dense[3::2]) <= 4 * 20
    assert all(np.isfinite(loss) for *_, loss in seen)
    logs = "".join(p.read_text(encoding="utf-8") for p in result.folder.rglob("mmengine/*/*.log"))
    assert "decode.loss_consistency" in logs
    assert "decode.loss_negative" in logs


def test_both_losses_are_as_in_plain_torch() -> None:
    import torch
    from mmseg.registry import MODELS

    from labelwise.models.adaptation import local_consistency, negative_learning
    from labelwise.models.mmseg.adaptation import EachDomainLoss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 8, 9, generator=generator) * 4
    labels = torch.randint(0, 3, (4, 8, 9), generator=generator)
    labels[2:] = 255
    labels[3, 0, 0] = 1
    built = MODELS.build({"type": "LocalConsistencyLoss", "loss_weight": 0.5})
    assert torch.isclose(built(logits, labels), 0.5 * local_consistency(logits[:2], labels[:2], void=255))
    built = MODELS.build({"type": "NegativeLearningLoss", "below": 0.1})
    assert torch.isclose(built(logits, labels), negative_learning(logits[2:], below=0.1))
    cross = {"type": "CrossEntropyLoss", "avg_non_ignore": True}
    whole = EachDomainLoss(cross)(logits, labels, weight=None, ignore_index=255)
    plain = torch.nn.functional.cross_entropy
    expected = plain(logits[:2], labels[:2]) + plain(logits[2:], labels[2:], ignore_index=255)
    assert torch.isclose(whole, expected)


def test_the_losses_fit_the_round(both: Any) -> None:
    from labelwise.models.mmseg.adaptation import EachDomainLoss, adapted

    def losses(source: bool, pool: bool, *given: Any, weights: Any = (0.1, 1.0, 0.05)) -> list[Any]:
        listed = list(given) or [{"type": "CrossEntropyLoss"}]
        model = {"decode_head": {"loss_decode": listed}, "auxiliary_head": {"loss_decode": {"type": "DiceLoss"}}}
        adapted(model, source, pool, weights)
        beside = model["auxiliary_head"]["loss_decode"]
        assert [x["type"] for x in beside] == [EachDomainLoss if source and pool else "DiceLoss"]
        return [(x["type"], x.get("part")) for x in model["decode_head"]["loss_decode"]]

    local, negative = "LocalConsistencyLoss", "NegativeLearningLoss"
    assert losses(True, False) == [("CrossEntropyLoss", None), (local, "all")]
    assert losses(False, True) == [("CrossEntropyLoss", None), (negative, "all")]
    assert losses(True, True) == [(EachDomainLoss, None), (local, None), (negative, None)]
    assert losses(True, True, weights=(0.0, 0.0, 0.05)) == [(EachDomainLoss, None)]
    own = {"type": "mmseg.LocalConsistencyLoss", "loss_weight": 7}
    assert losses(True, True, {"type": "CrossEntropyLoss"}, own)[1:] == [(own["type"], None), (negative, None)]
    with pytest.raises(LabelwiseError, match="loss_decode"):
        adapted({"decode_head": {"type": "Mask2FormerHead"}}, True, True, (0.1, 1.0, 0.05))


def test_a_run_killed_between_rounds_ends_with_the_same_picks(both: Any, tmp_path: Path) -> None:
    write, _ = both
    path = write()
    whole = api.run(path, [f"work_dir={tmp_path / 'whole'}"], report=False)
    for _ in range(2):
        parts = api.run(path, [f"work_dir={tmp_path / 'parts'}"], rounds=1, report=False)
    assert [whole.picks(r) for r in whole.rounds] == [parts.picks(r) for r in parts.rounds]
    assert whole.evaluations["test"] == parts.evaluations["test"]


def test_the_guide_s_source_free(both: Any, mmseg_config: Write) -> None:
    write, _ = both
    config = configuration.load(write())
    assert config.source is not None
    assert config.source.options["part"] == "source"
    assert config.data.options["part"] == "target"
    assert config.budget.initial == 0
    assert configuration.load(mmseg_config("source_free = True")).source is None
    for line, words in (("source_free = False", r"dataset=\[source, target\]"), ("source_free = 3", "True or False")):
        with pytest.raises(LabelwiseError, match=words):
            configuration.load(mmseg_config(line))
    regions = 'active_learning["settings"]["region"]["initial_label_pixels"] = 0'
    config = configuration.load(write('runner["sample_mode"] = "region"', regions))
    assert config.budget.initial == 0
