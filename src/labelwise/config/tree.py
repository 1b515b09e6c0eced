"""The typed tree of a configuration: its top, the keys of data and advice, and what each task begins with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from labelwise.config.budget import Budget
from labelwise.config.node import Named, Node, Part
from labelwise.config.strategy import StrategyConfig, StrategyPart
from labelwise.records import Task


class ReaderNode(Node):
    """A branch that names a reader; further keys are its options."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Any]:
        """The reader's own options."""
        return dict(self.model_extra or {})


class Data(ReaderNode):
    """Which images, and which are kept for testing. Further keys are options of the reader, such as ``group``."""

    format: str = Field(
        description="class_folders, csv_table, images_folder, image_masks, coco, voc, yolo, cvat_xml, fiftyone, mmseg, "
        "megadetector, coco_camera_traps, camtrap_dp, timelapse, digits, or a reader of your own"
    )
    path: Path = Field(description="folder or file of the dataset")
    test: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="share of the images with a known class kept for testing, fixed before round 0; data that says "
        "itself which images are for testing is taken at its word",
    )
    split_seed: int = Field(
        default=0, ge=0, description="random number seed of the test split, apart from `seed` so that runs share it"
    )
    on_bad_image: Literal["skip", "error"] = Field(
        default="skip", description="an unreadable image: leave it out and list it, or stop"
    )
    on_duplicate: Literal["skip", "keep"] = Field(
        default="skip", description="a copy with the same bytes: leave it out and list it, or keep it"
    )


class Source(ReaderNode):
    """A labelled set beside the pool that the model learns from as well: active domain adaptation. Further keys are
    options of the reader."""

    format: str = Field(description="as `data.format`; all its images are learnt from, none is asked about or judged")
    path: Path = Field(description="folder or file of the labelled set")
    last_round: int | None = Field(
        default=None,
        ge=0,
        description="the last round that learns from it; 0: source-free, round 0 learns from it and later rounds from "
        "the pool alone; default: all rounds",
    )


class Advice(Node):
    """What the advice to stop goes by; it never stops a run."""

    target: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="the figure that is good enough, of the task's first metric: how many labels it needs is forecast",
    )
    least_gain: float = Field(
        default=0.005,
        gt=0,
        lt=1,
        description="a round expected to bring less than this is not worth its labels",
    )


# What is not said depends on the task.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "classify": {"model": "frozen", "strategy": "balanced_herding", "cold_start": "typiclust"},
    "detect": {"model": "detector", "strategy": "box_balanced", "cold_start": "random"},
    "segment": {"model": "fpn", "strategy": "pixelpick", "cold_start": "random"},
}


class Config(Node):
    """The configuration of a run."""

    name: str = Field(description="name of the run: its folder under `out`")
    task: Task = Field(default="classify", description="classify, detect or segment")
    data: Data
    source: Source | None = Field(default=None, description="a labelled set beside the pool: the keys below")
    model: Part = Field(default=Named(name="frozen"), description="what learns from the labels")
    strategy: StrategyPart = Field(
        default=StrategyConfig(name="balanced_herding"), description="how to choose from round 1 on"
    )
    cold_start: StrategyPart = Field(
        default=StrategyConfig(name="typiclust"), description="how round 0 is chosen, before there is a model"
    )
    budget: Budget = Budget()
    audit: int = Field(
        default=0, ge=0, description="images drawn at random and labelled in round 0 only to estimate the quality"
    )
    annotator: Part = Field(default=Named(name="oracle"), description="who answers the queries")
    advice: Advice = Advice()
    engine: Part = Field(default=Named(name="local"), description="where batches run")
    proposals: Part | None = Field(
        default=None,
        description="detection: a model that needs no labels, such as zero_shot, whose boxes are proposed in round 0",
    )
    threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="classification: a prediction less sure than this is told as `unknown`, in results and in what is "
        "written; the report shows what each value costs",
    )
    shown: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="detection: boxes this sure are proposed to annotators and drawn; scores also look at fainter ones",
    )
    pictures: int = Field(
        default=8, ge=0, description="images a round whose score map and chosen pixels, regions or boxes are drawn"
    )
    pictures_style: Literal["over", "beside"] = Field(
        default="over", description="what was chosen is drawn over the image, or beside it, white on black"
    )
    pictures_folder: Path | None = Field(
        default=None, description="folder that these pictures are also written to, in round0, round1, ..."
    )
    seed: int = Field(default=0, ge=0, description="random number seed of the run")
    out: Path = Field(default=Path("runs"), description="folder of the runs")
    cache: Path | None = Field(
        default=None, description="folder of the embedding table; default: the user's cache folder"
    )
    threads: int | None = Field(default=None, ge=1, description="threads that read images; default: one per core")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_task(cls, tree: Any) -> Any:
        if not isinstance(tree, Mapping):
            return tree
        task = tree.get("task", "classify")
        return {**(DEFAULTS.get(task, {}) if isinstance(task, str) else {}), **tree}

    @model_validator(mode="after")
    def _name_is_a_folder(self) -> Config:
        if not re.fullmatch(r"\w[\w .=+@-]*(/\w[\w .=+@-]*)*", self.name):
            raise ValueError(
                f"name: expected letters, digits, '_', '-', '.' or spaces, since it names a folder (or "
                f"'folder/folder'), but found {self.name!r}"
            )
        return self

    @model_validator(mode="after")
    def _round_0_has_labels(self) -> Config:
        if self.budget.initial == 0 and self.source is None:
            raise ValueError(
                "budget.initial: must be a number above 0 where there is no source to learn from, but found 0"
            )
        return self

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.out / self.name
