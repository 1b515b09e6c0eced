"""The keys below ``budget``: what is asked, amounts of it as numbers or shares, and the goals of the rounds."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from labelwise.config.node import Node
from labelwise.records import Unit


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


def _start(value: Any) -> Any:
    return 0 if value == 0 and not isinstance(value, bool) else _amount(value)


Start = Annotated[int | str, BeforeValidator(_start)]
Amount = Annotated[int | str, BeforeValidator(_amount)]
Amounts = Annotated[int | str | list[int | str], BeforeValidator(_amounts)]


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
