"""The simulated annotator: answers at once with the truth that came with the data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from labelwise.annotators import Desk
from labelwise.errors import DataError
from labelwise.records import Annotation, Query, Target


@dataclass(frozen=True)
class Oracle:
    """Knows every class. ``noise`` is the share of wrong answers, ``skip`` the share of declined ones, both the same
    each time."""

    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    skip: Annotated[float, Field(ge=0, le=1)] = 0.0

    simulated = True

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Nothing to do: the answers are there."""

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """An answer to every query. Raises DataError if the truth of an image is not known."""
        return [Annotation(q.id, self._answer(q, desk), "oracle") for q in open_queries]

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """Never asked for: the oracle leaves nothing open."""
        return "run again"

    def _answer(self, query: Query, desk: Desk) -> Target | None:
        truth = desk.samples[query.sample_id].target
        if truth is None:
            raise DataError(
                f"the oracle does not know the class of {query.sample_id}: set annotator=files to ask a person, or "
                "give its class"
            )
        draw, other = _uniform(query.sample_id, "draw"), _uniform(query.sample_id, "other")
        if draw < self.skip:
            return None
        if draw < self.skip + self.noise:
            wrong = [c for c in desk.classes if c not in truth.classes] or list(truth.classes)
            return Target((wrong[int(other * len(wrong))],))
        return truth


def _uniform(text: str, purpose: str) -> float:
    return int.from_bytes(hashlib.blake2b(f"{purpose}:{text}".encode(), digest_size=8).digest()) / 2**64
