"""The typed tree of a configuration: every key with its type, default and meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from labelwise.records import Task, Unit


def _as_mapping(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Node(BaseModel):
    """A branch of the tree: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Named(BaseModel):
    """A name of the catalogue (or an import path) and the options of what it names."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All keys beside the name."""
        return dict(self.model_extra or {})


Part = Annotated[Named, BeforeValidator(_as_mapping)]


def _amount(value: Any) -> Any:
    number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    percent = (
        isinstance(value, str)
        and re.fullmatch(r"\d+(\.\d+)?\s*%", value.strip())
        and 0 < float(value.strip(" %")) <= 100
    )
    if not (number or percent):
        raise ValueError("must be a number above 0, or a share of the pool such as '2.5%'")
    return value.replace(" ", "") if isinstance(value, str) else value


def _amounts(value: Any) -> Any:
    if isinstance(value, list) and not value:
        raise ValueError("must hold at least one amount where it is a list")
    return [_amount(v) for v in value] if isinstance(value, list) else _amount(value)


def _spec(value: Any) -> Any:
    if value is not None and not isinstance(value, str) and not (isinstance(value, Mapping) and "name" in value):
        raise ValueError("must be a name, or a mapping with 'name' and options")
    return value


def _weights(value: Any) -> Any:
    named = isinstance(value, Mapping) and all(_is_weight(v) for v in value.values())
    if not (value is None or value == "difficulty" or named):
        raise ValueError("must be numbers by class name, or 'difficulty'")
    return value


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _start(value: Any) -> Any:
    return 0 if value == 0 and not isinstance(value, bool) else _amount(value)


Start = Annotated[int | str, BeforeValidator(_start)]
Amount = Annotated[int | str, BeforeValidator(_amount)]
Amounts = Annotated[int | str | list[int | str], BeforeValidator(_amounts)]
# Looked at as a whole first: of a union each part would complain.
Weights = Annotated[dict[str, float] | Literal["difficulty"] | None, BeforeValidator(_weights)]
Spec = Annotated[str | dict[str, Any] | None, BeforeValidator(_spec)]


class Data(Node):
    """Which images, and which are kept for testing. Further keys are options of the reader, such as ``group``."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

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

    @property
    def options(self) -> dict[str, Any]:
        """The reader's own options."""
        return dict(self.model_extra or {})


class Source(Node):
    """A labelled set beside the pool that the model learns from as well: active domain adaptation. Further keys are
    options of the reader."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    format: str = Field(description="as `data.format`; all its images are learnt from, none is asked about or judged")
    path: Path = Field(description="folder or file of the labelled set")
    last_round: int | None = Field(
        default=None,
        ge=0,
        description="the last round that learns from it; 0: source-free, round 0 learns from it and later rounds from "
        "the pool alone; default: all rounds",
    )

    @property
    def options(self) -> dict[str, Any]:
        """The reader's own options."""
        return dict(self.model_extra or {})


class Budget(Node):
    """What is asked, how much of it is labelled, and when."""

    unit: Unit | None = Field(
        default=None,
        description="what is asked and counted: image, box (whole images, counted in boxes), region (a window of "
        "pixels) or pixel; default: the strategy's",
    )
    per_image: bool = Field(
        default=False, description="amounts are for each image of the pool, not for the pool: 10 pixels of every image"
    )
    radius: int = Field(default=1, ge=1, le=1000, description="a region is a window of 2 x radius + 1 pixels a side")
    region: Literal["window", "superpixel"] = Field(
        default="window", description="what a region is: a window, or one of an image's superpixels"
    )
    superpixels: int = Field(default=200, ge=2, le=60000, description="about how many superpixels an image has")
    compactness: float = Field(default=10.0, gt=0, description="how square superpixels are: more is squarer")
    cost: Literal["region", "pixel"] = Field(
        default="region", description="what amounts of regions count: the regions, or their valid pixels"
    )
    initial: Start = Field(
        default=50,
        description="images, boxes, regions or pixels in round 0; with a `source` also 0: round 0 learns from it alone",
    )
    per_round: Amounts = Field(
        default=50, description="the same in each later round, or a list with one amount a round"
    )
    rounds: int | None = Field(
        default=None,
        ge=1,
        description="number of rounds, round 0 included; default 10, or what a list or a total gives",
    )
    total: Amount | None = Field(default=None, description="stop when this much is labelled")

    def cumulative(self, pool: int, images: int = 1) -> list[int]:
        """Labels wanted at the end of each round for a pool of that many units in so many images: rising, at most
        ``pool``.

        Shares are added up before they are rounded; a round that would get none gets one label.
        """
        times = images if self.per_image else 1
        listed = self.per_round if isinstance(self.per_round, list) else None
        rounds = self.rounds or (len(listed) + 1 if listed is not None else None if self.total is not None else 10)
        limit = min(pool, max(1, round(_units(self.total, pool, times))) if self.total is not None else pool)
        goals: list[int] = []
        wanted = _units(self.initial, pool, times)
        while rounds is None or len(goals) < rounds:
            last = goals[-1] if goals else 0
            if goals and last >= limit:
                break
            goals.append(min(limit, max(round(wanted), last + 1 if goals or wanted else 0)))
            step = listed[min(len(goals), len(listed)) - 1] if listed else self.per_round
            assert not isinstance(step, list)
            wanted += _units(step, pool, times)
        return goals


def _units(amount: Amount, pool: int, times: int) -> float:
    return float(amount.rstrip("%")) / 100 * pool if isinstance(amount, str) else float(amount * times)


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


class StrategyConfig(Node):
    """A preset by name, changed by the other keys; or a recipe of its own without a name."""

    name: str | None = Field(default=None, description="preset to begin with")
    score: Spec = Field(default=None, description="how much one element wants a label")
    reduce: Spec = Field(
        default=None, description="how the scores of an image's boxes or pixels become one (classification needs none)"
    )
    class_weights: Weights = Field(
        default=None,
        description="what the scores of a class's boxes or pixels are multiplied by, by name (others: 1); or "
        "'difficulty': more for classes that the model finds hard on labelled images",
    )
    rescale: tuple[float, float] | None = Field(
        default=None, description="map the pool's scores so that these are the lowest and the highest"
    )
    empty: Literal["lowest", "highest", "mean", "quota"] | None = Field(
        default=None,
        description="what an image without detection is worth; quota: a share of the picks are such images",
    )
    empty_share: float | None = Field(default=None, ge=0, le=1, description="that share")
    empty_by: Literal["random", "missed"] | None = Field(
        default=None, description="which of them: drawn at random, or by their missed-object score"
    )
    shown: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="an image is without detection if no box is this sure; 0: if it has no box",
    )
    select: Spec = Field(default=None, description="which candidates to take")
    shortlist: float | None = Field(
        default=None, ge=1, description="only the best-scored n x this many candidates reach the selection"
    )
    balance: bool | None = Field(
        default=None, description="share the budget over predicted classes, the least labelled first"
    )
    per_group: int | None = Field(default=None, ge=1, description="at most this many images of a group in one round")
    per: dict[str, Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        description="at most so many images of one value of their metadata in one round, by its name: "
        "`{sequence: 1, location: 10}`",
    )
    near_duplicates: float | None = Field(
        default=None, ge=0, le=2, description="no two picks closer than this cosine distance"
    )
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="of an image's pixels or regions only this best-scored share is chosen from",
    )
    apart: int | None = Field(
        default=None, ge=0, description="pixels: none within this many pixels of another one of the image"
    )
    evenly: bool | None = Field(
        default=None, description="pixels and regions: the same number in every image, or the best of the whole pool"
    )
    threshold: str | list[str] | None = Field(
        default=None, description="what every candidate must meet, such as `score >= 0.5`; one or a list"
    )


StrategyPart = Annotated[StrategyConfig, BeforeValidator(_as_mapping)]


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


def strategy_text(strategy: StrategyConfig) -> str:
    """A strategy in a few words: its name and what was changed of it."""
    changes = strategy.model_dump(exclude_none=True)
    name = str(changes.pop("name", "recipe"))
    return f"{name} ({', '.join(f'{k}={v}' for k, v in changes.items())})" if changes else name
