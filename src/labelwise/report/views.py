"""What the report shows, as plain data: filled from the store by the caller, so that no page reads a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from labelwise.advice import Outlook
from labelwise.agreement import Agreement
from labelwise.curves import Curve
from labelwise.evaluate.effort import Effort
from labelwise.records import Crop, Problem, Task


@dataclass(frozen=True, slots=True)
class BoxesView:
    """Boxes over an image of ``size`` (width, height): ``proposed`` by the model and ``answered``, each as class name,
    x, y, width, height in pixels."""

    size: tuple[int, int]
    proposed: tuple[tuple[str, float, float, float, float], ...] = ()
    answered: tuple[tuple[str, float, float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class PickView:
    """One image chosen in a round.

    ``reason`` is one line for people. ``proposal`` is the model's class before the answer, ``answer`` the annotator's,
    None where there is none (skipped, or not answered yet). ``boxes`` are drawn over the image, for the task detect.
    ``crop`` is the part that was shown, None for the whole.
    """

    sample_id: str
    path: Path
    rank: int
    reason: str = ""
    proposal: str | None = None
    answer: str | None = None
    boxes: BoxesView | None = None
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class MapView:
    """Pictures of what was chosen inside one image: the ``score`` map (None before there is a model) and the ``chosen``
    pixels or regions over the image."""

    sample_id: str
    score: Path | None
    chosen: Path | None


@dataclass(frozen=True, slots=True)
class RoundView:
    """One round: ``labels`` known at its end, and what the model trained on them reaches.

    ``metrics`` by name (accuracy, macro_f1, ece, nll, ...; ``x_low`` and ``x_high`` are the interval of ``x``); empty
    if the round is not evaluated yet. ``recall`` (0 to 1; of boxes the average precision), ``precision`` and
    ``support`` (test images or boxes) by class. ``confusion`` ``(C, C)`` holds counts, rows truth, columns
    prediction, in the order of ``RunView.classes``. ``class_counts`` are the labels so far by class; ``seconds`` by
    step. ``picks`` in rank order; ``abstention``: threshold, coverage and accuracy, of a classifier.
    ``maps`` of some images chosen in. ``effort``: what annotators did to what was proposed;
    ``amounts``: the labels in further units; ``iou`` by class, of masks.
    """

    round: int
    labels: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    recall: Mapping[str, float] = field(default_factory=dict)
    support: Mapping[str, int] = field(default_factory=dict)
    confusion: NDArray[Any] | None = None
    class_counts: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    picks: tuple[PickView, ...] = ()
    maps: tuple[MapView, ...] = ()
    effort: Effort = field(default_factory=Effort)
    amounts: Mapping[str, int] = field(default_factory=dict)
    precision: Mapping[str, float] = field(default_factory=dict)
    abstention: Sequence[Sequence[float]] = ()
    iou: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunView:
    """One run. ``state`` is a phrase for people ("waiting for 20 annotations"), ``counts`` the images by role.

    ``unit`` is what the budget counts, ``judged`` what the test figures count: images, boxes or pixels. ``figure`` is
    what is told of each class; ``pictures`` how many images of a round are drawn with their boxes;
    ``agreement`` is that of people who answered the same queries. Below
    ``threshold`` a classifier says "unknown".
    """

    name: str
    state: str
    task: Task
    unit: str
    classes: tuple[str, ...]
    strategy: str
    model: str
    config_yaml: str
    versions: Mapping[str, str]
    created: str
    rounds: tuple[RoundView, ...] = ()
    problems: tuple[Problem, ...] = ()
    duplicates: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    judged: str = "images"
    figure: str = "recall"
    pictures: int = 8
    agreement: Agreement | None = None
    threshold: float = 0.0
    outlook: Outlook | None = None


@dataclass(frozen=True, slots=True)
class CompareView:
    """Several strategies, each run with several seeds.

    ``arms`` maps strategy -> seed -> metric -> Curve; a seed may lack a metric. ``baseline`` names the arm the others
    are measured against (usually "random"), None for no such comparison. ``metrics`` are shown in their order.
    ``others`` are the same runs over labels in other units.
    """

    title: str
    unit: str
    metrics: tuple[str, ...]
    arms: Mapping[str, Mapping[int, Mapping[str, Curve]]]
    baseline: str | None
    config_yaml: str
    versions: Mapping[str, str]
    others: tuple[CompareView, ...] = ()
