"""Every key of an active-learning configuration of mmsegmentation has its effect, and every bad value its line."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labelwise import config as configuration
from labelwise import mmlab
from labelwise.config.mmsegmentation import MODEL_KEYS
from labelwise.errors import ConfigError
from labelwise.models.mmseg import MMSeg
from labelwise.parts import build

pytestmark = [pytest.mark.mmseg, pytest.mark.filterwarnings("ignore")]

Write = Callable[..., Path]


def loaded(path: Path, *changes: str) -> Any:
    config = configuration.load(path, list(changes))
    build(config)
    return config


def test_pixel_mode(mmseg_config: Write, tmp_path: Path) -> None:
    config = loaded(mmseg_config())
    assert config.folder == tmp_path / "work"
    assert (config.budget.unit, config.budget.initial, config.budget.per_round) == ("pixel", 36, 48)
    assert config.budget.rounds == 2
    assert (config.strategy.score, config.strategy.select) == ("margin", "random")
    assert config.strategy.share == 0.05
    assert config.strategy.evenly is True
    assert config.model.options["start"] == "scratch"
    assert config.model.options["length"] == [2, 2]
    assert config.pictures == 1
    assert config.pictures_style == "over"
    assert config.pictures_folder == tmp_path / "pictures"


def test_image_mode(mmseg_config: Write) -> None:
    config = loaded(mmseg_config('runner["sample_mode"] = "image"'))
    assert (config.budget.unit, config.budget.initial, config.budget.per_round) == ("image", 2, 2)
    assert (config.strategy.score, config.strategy.reduce, config.strategy.select) == ("margin", "mean", "top")


def test_region_mode_counts_windows(mmseg_config: Write) -> None:
    config = loaded(mmseg_config('runner["sample_mode"] = "region"'))
    assert (config.budget.unit, config.budget.initial, config.budget.per_round) == ("region", 12, 18)
    wide = loaded(
        mmseg_config('runner["sample_mode"] = "region"', 'active_learning["settings"]["region"]["radius"] = 2')
    )
    assert (wide.budget.radius, wide.budget.initial, wide.budget.per_round) == (2, 4, 6)


def test_heuristics(mmseg_config: Write) -> None:
    assert loaded(mmseg_config('active_learning["heuristic"] = "entropy"')).strategy.score == "entropy"
    random = loaded(mmseg_config('active_learning["heuristic"] = "random"')).strategy
    assert (random.score, random.select) == (None, "random")
    ripu = 'active_learning.update(heuristic="ripu", heuristic_cfg=dict(k=3, use_entropy=True, categories=3))'
    assert loaded(mmseg_config(ripu)).strategy.score == {"name": "ripu", "radius": 3}
    impurity = loaded(mmseg_config(ripu.replace("use_entropy=True", "use_entropy=False"))).strategy.score
    assert impurity["name"].endswith("region_impurity")
    assert loaded(mmseg_config('active_learning["heuristic"] = "bald"')).strategy.score == "bald"


def test_a_threshold_of_false_takes_exactly_the_top(mmseg_config: Write) -> None:
    for line in ('["sample_threshold"] = False', '.pop("sample_threshold")'):
        strategy = loaded(mmseg_config(f'active_learning["settings"]["pixel"]{line}')).strategy
        assert (strategy.select, strategy.share) == ("top", None)
    half = loaded(mmseg_config('active_learning["settings"]["pixel"]["sample_threshold"] = 0.5')).strategy
    assert half.share == 0.005


def test_sample_evenly(mmseg_config: Write) -> None:
    config = loaded(mmseg_config('active_learning["settings"]["pixel"]["sample_evenly"] = False'))
    assert config.strategy.evenly is False
    assert config.cold_start.evenly is False


def test_reset_each_round(mmseg_config: Write) -> None:
    kept = loaded(mmseg_config('active_learning["reset_each_round"] = False'))
    assert kept.model.options["start"] == "continue"
    assert loaded(mmseg_config('active_learning.pop("reset_each_round")')).model.options["start"] == "scratch"


def test_visualize(mmseg_config: Write) -> None:
    config = loaded(mmseg_config('active_learning["visualize"] = dict(size=7, overlay=False)'))
    assert (config.pictures, config.pictures_style, config.pictures_folder) == (7, "beside", None)


def test_workflow_irregular_and_absent(mmseg_config: Write) -> None:
    config = loaded(
        mmseg_config('workflow = [(("train", 3), ("query", 1)), (("train", 1), ("query", 1)), (("train", 4),)]')
    )
    assert config.budget.rounds == 3
    assert config.model.options["length"] == [3, 1, 4]
    whole = loaded(mmseg_config("del workflow"))
    assert whole.budget.rounds == 2
    assert "length" not in whole.model.options


def test_keys_that_are_not_needed_give_a_note(mmseg_config: Write) -> None:
    path = mmseg_config('mask_dir = "a"', 'mae_viz_dir = "b"')
    assert [n.split()[0] for n in configuration.notes(path)] == ["mask_dir", "mae_viz_dir"]


def test_the_old_wandb_hook_is_the_visualizers_backend(mmseg_config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    present = ModuleType("wandb")
    present.__spec__ = ModuleSpec("wandb", None)
    monkeypatch.setitem(sys.modules, "wandb", present)
    path = mmseg_config(
        "log_config = dict(interval=20, hooks=[dict(type='TextLoggerHook'),",
        "    dict(type='WandbLoggerHookWithVal', init_kwargs=dict(project='p'))])",
    )
    options = loaded(path).model.options["cfg_options"]
    assert options["default_hooks.logger"]["interval"] == 20
    assert options["visualizer"]["vis_backends"][-1] == {"type": "WandbVisBackend", "init_kwargs": {"project": "p"}}
    assert "WandbVisBackend" in configuration.notes(path)[0]


def test_custom_imports_are_found_from_the_working_folder(
    mmseg_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_dataset.py").write_text("SEEN = []\n", encoding="utf-8")
    path = mmseg_config("custom_imports = dict(imports=['own_dataset'], allow_failed_imports=False)")
    monkeypatch.chdir(tmp_path)
    loaded(path)
    assert "own_dataset" in sys.modules
    assert str(tmp_path) not in sys.path


def test_changes_reach_whom_they_are_for(mmseg_config: Write, tmp_path: Path) -> None:
    config = loaded(
        mmseg_config(),
        "budget.initial=9",
        "model.decode_head.dropout_ratio=0.5",
        "runner.sample_rounds=4",
        "model.passes=2",
        "model.cfg_options.train_cfg.max_iters=8",
        f"work_dir={tmp_path / 'other' / 'place'}",
    )
    assert config.budget.initial == 9
    assert config.budget.rounds == 4
    assert config.model.options["passes"] == 2
    expected = {"model.decode_head.dropout_ratio": 0.5, "runner.sample_rounds": 4, "train_cfg.max_iters": 8}
    assert config.model.options["cfg_options"] == config.data.options["cfg_options"] == expected
    assert config.folder == tmp_path / "other" / "place"


def test_configurations_of_mmsegmentation_itself_can_be_the_base(mmseg_config: Write, tmp_path: Path) -> None:
    """They name their optimizer at the top, and are named by the package; options are read as mmengine reads them."""
    data = mmseg_config().parent / "data"
    dataset = {"type": "BaseSegDataset", "data_root": str(data), "img_suffix": ".png", "_delete_": True}
    dataset |= {"metainfo": {"classes": ("blue", "red", "green")}, "pipeline": []}
    dataset |= {"data_prefix": {"img_path": "images", "seg_map_path": "masks"}}
    lines = (
        "_base_ = ['mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py']",
        f"train_dataloader = dict(dataset={dataset!r})",
        "val_dataloader = test_dataloader = None",
        "model = dict(decode_head=dict(num_classes=3))",
        "amounts = dict(budget_per_round=9, initial_label_pixels=9)",
        "active_learning = dict(heuristic='random', settings=dict(pixel=amounts))",
        "runner = dict(type='ActiveLearningRunner', sample_mode='pixel', sample_rounds=2)",
    )
    path = tmp_path / "mine.py"
    path.write_text("\n".join(lines), encoding="utf-8")
    options = "model.pretrained=None", "optim_wrapper.optimizer.lr=1e-3", "model.decode_head.in_channels=(8,8,8,8)"
    config = loaded(path, *options)
    found = mmlab.load_config(path, config.model.options["cfg_options"])
    assert found.optimizer.type == "SGD"
    assert found.model.pretrained is None
    assert found.optim_wrapper.optimizer.lr == 1e-3
    assert found.model.decode_head.in_channels == (8, 8, 8, 8)


def test_every_option_of_the_model_can_be_given_beside_the_configuration(mmseg_config: Write) -> None:
    own = {field.name for field in dataclasses.fields(MMSeg)} - {"config", "cfg_options"}
    assert set(MODEL_KEYS) == own
    config = loaded(mmseg_config(), "model.flip=true", "model.keep_points=false", "model.negative=0.5")
    assert config.model.options | {"flip": True, "keep_points": False, "negative": 0.5} == config.model.options
    assert "cfg_options" not in config.model.options


@pytest.mark.parametrize("mark", ["", "'", '"'])
def test_options_hold_tuples_and_spaces(mmseg_config: Write, tmp_path: Path, mark: str) -> None:
    steps = "[(('train',3),('query',1)),(('train',2),)]".replace("'", mark)
    classes = "('traffic light', 'red', 'green')"
    options = {
        "workflow": steps,
        "train_dataloader.dataset.metainfo.classes": classes,
        "model.pretrained": "my weights, old.pth",
        "train_pipeline": "[(a,1)]",
    }
    config = loaded(mmseg_config(), *(f"model.cfg_options.{key}={value}" for key, value in options.items()))
    assert config.model.options["length"] == [3, 2]
    file = tmp_path / "written.yaml"
    file.write_text(configuration.dump(config), encoding="utf-8")
    found = mmlab.load_config(tmp_path / "tiny.py", configuration.load(file).model.options["cfg_options"])
    assert found.train_dataloader.dataset.metainfo.classes == ("traffic light", "red", "green")
    assert found.model.pretrained == "my weights, old.pth"
    assert found.train_pipeline == [("a", 1)]


def test_a_value_that_cannot_be_read_is_named_as_it_was_given(mmseg_config: Write) -> None:
    with pytest.raises(ConfigError, match=r"the value of 'model\.x' is not valid"):
        loaded(mmseg_config(), "model.cfg_options.model.x=[(1")


@pytest.mark.parametrize(
    ("change", "several"),
    [
        ("", True),
        ("model['decode_head'].pop('dropout_ratio')", True),
        ("model['decode_head']['dropout_ratio'] = 0", False),
        ("model['decode_head']['dropout_ratio'] = 0; model['auxiliary_head'] = dict(dropout_ratio=0.1)", False),
        ("model['decode_head']['dropout_ratio'] = 0; model['backbone'].update(drop_path_rate=0.1)", False),
        ("model['decode_head']['dropout_ratio'] = 0; model['backbone'].update(stem=dict(drop_rate=0.1))", True),
    ],
)
def test_samples_are_offered_where_the_network_has_dropout(mmseg_config: Write, change: str, several: bool) -> None:
    path = mmseg_config(change, "active_learning['heuristic'] = 'bald'")
    if several:
        assert "samples" in build(loaded(path)).model.provides
    else:
        with pytest.raises(ConfigError, match=r"samples.*dropout above 0"):
            build(loaded(path))


def test_a_slip_in_an_option_is_refused(mmseg_config: Write) -> None:
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        loaded(mmseg_config(), "modle.decode_head.channels=4")
    loaded(mmseg_config(), "test_dataloader.batch_size=1", "resume=True", "model.decode_head.norm_cfg.type=BN")


def test_pictures_of_whole_images_give_a_note(mmseg_config: Write) -> None:
    assert any("visualize" in n for n in configuration.notes(mmseg_config("runner['sample_mode'] = 'image'")))
    assert not any("visualize" in n for n in configuration.notes(mmseg_config()))


def test_a_written_configuration_reads_the_same(mmseg_config: Write, tmp_path: Path) -> None:
    config = loaded(mmseg_config(), "model.decode_head.dropout_ratio=0.5")
    file = tmp_path / "written.yaml"
    file.write_text(configuration.dump(config), encoding="utf-8")
    assert configuration.load(file) == config


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("del active_learning", "expected active_learning"),
        ("active_learning = 3", r"expected dict\("),
        ('active_learning["heuristics"] = "margin"', "did you mean 'heuristic'"),
        ('active_learning["heuristic"] = "margn"', "did you mean 'margin'"),
        ('active_learning["heuristic"] = "mps"', "reconstructs"),
        ('active_learning["heuristic_cfg"] = dict(k=1)', "heuristic_cfg is for 'ripu'"),
        ('active_learning.update(heuristic="ripu", heuristic_cfg=dict(k=0))', r"heuristic_cfg.k"),
        ('active_learning.update(heuristic="ripu", heuristic_cfg=dict(use_entropy=1))', "use_entropy"),
        ('active_learning.update(heuristic="ripu", heuristic_cfg=dict(categories=19))', "num_classes=3"),
        ('active_learning.update(heuristic="ripu", heuristic_cfg=dict(kk=1))', "did you mean 'k'"),
        ('active_learning["reset_each_round"] = 1', "True or False"),
        ('active_learning["settings"].pop("pixel")', r"settings.pixel: expected dict"),
        ('active_learning["settings"]["pixels"] = {}', "did you mean 'pixel'"),
        ('active_learning["settings"]["pixel"]["ignore_index"] = 0', "expected 255"),
        ('active_learning["settings"]["pixel"]["budget_per_round"] = 0', "above 0"),
        ('active_learning["settings"]["pixel"].pop("budget_per_round")', "budget_per_round is missing"),
        ('active_learning["settings"]["pixel"]["sample_threshold"] = 500', "percentage"),
        ('active_learning["settings"]["pixel"]["sample_evenly"] = "yes"', "True or False"),
        ('active_learning["settings"]["pixel"]["entropy_prop"] = 0.5', "entropy_prop is unknown"),
        ('active_learning["visualize"]["size"] = -1', "number of pictures"),
        ('active_learning["visualize"]["overlay"] = "x"', "True or False"),
        ('runner["type"] = "EpochBasedRunner"', "expected ActiveLearningRunner or MultiTaskActiveRunner"),
        ('runner["type"] = "MultiTaskActiveRunner"', "MultiTaskSegmentor"),
        ('runner["sample_mode"] = "point"', "image, pixel, region"),
        ('runner["sample_rounds"] = 0', "above 0"),
        ("del runner", "runner: expected dict"),
        ("source_free = False", "source_free"),
        ("model['decode_head']['num_classes'] = 5", "num_classes=3"),
        ("model['decode_head'].pop('num_classes')", "num_classes=3"),
        ("del optim_wrapper", "'optim_wrapper' of mmsegmentation 1.x is missing"),
        ("1 / 0", "ZeroDivisionError"),
        ("data = dict(train=1)", "train_dataloader"),
        ("del optim_wrapper; optimizer = dict(type='SGD')", "optim_wrapper"),
        ("lr_config = dict(policy='poly')", "param_scheduler"),
        ("evaluation = dict(interval=1)", "judged"),
        ("checkpoint_config = dict(interval=1)", "checkpoint"),
        ("del optim_wrapper; fp16 = dict()", "AmpOptimWrapper"),
        ("del train_cfg; total_epochs = 3", "train_cfg"),
        ("log_config = dict(hooks=[dict(type='PaviLoggerHook')])", "vis_backends"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(mmseg_config: Write, line: str, words: str) -> None:
    path = mmseg_config(line)
    with pytest.raises(ConfigError, match=words) as caught:
        loaded(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_packages_name_the_line_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmlab, "PACKAGES", ("mmengine", "no_such_package"))
    (tmp_path / "a.py").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"pip install 'labelwise\[mmseg\]'"):
        configuration.load(tmp_path / "a.py")
