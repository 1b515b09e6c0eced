"""The simulated annotator: answers at once with the truth that came with the data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from labelwise.annotators import Desk
from labelwise.data.masks import points_of, read_mask
from labelwise.errors import DataError
from labelwise.records import Annotation, Query, Sample, Target


@dataclass(frozen=True)
class Oracle:
    """Knows every class. ``noise`` is the share of wrong answers (of pixels or boxes, where these are asked), ``skip``
    that of declined ones, both the same each time."""

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
        sample = desk.samples[query.sample_id]
        truth = sample.target
        if truth is None:
            raise DataError(
                f"the oracle does not know the class of {query.sample_id}: set annotator=files to ask a person, or "
                "give its class"
            )
        draw, other = _uniform(query.sample_id, "draw"), _uniform(query.sample_id, "other")
        if draw < self.skip:
            return None
        if truth.mask is not None:
            return self._pixels(query, sample, truth)
        if truth.geometry is not None:
            return self._boxes(query, truth, desk)
        if draw < self.skip + self.noise:
            wrong = [c for c in desk.classes if c not in truth.classes] or list(truth.classes)
            return Target((wrong[int(other * len(wrong))],))
        return truth

    def _boxes(self, query: Query, truth: Target, desk: Desk) -> Target:
        """The true boxes; the wrong ones under another class, or forgotten where there is no other."""
        if not self.noise or truth.geometry is None:
            return truth
        rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(query.id.encode(), digest_size=8).digest()))
        wrong, other = rng.random(len(truth.classes)) < self.noise, rng.random(len(truth.classes))
        names: list[str] = []
        kept = np.ones(len(truth.classes), dtype=bool)
        for i, name in enumerate(truth.classes):
            others = [c for c in desk.classes if c != name]
            kept[i] = bool(others) or not wrong[i]
            names.append(others[int(other[i] * len(others))] if wrong[i] and others else name)
        return Target(tuple(n for n, keep in zip(names, kept, strict=True) if keep), truth.geometry[kept])

    def _pixels(self, query: Query, sample: Sample, truth: Target) -> Target:
        """The truth of the pixels that are asked for; the whole mask file for a whole image."""
        assert truth.mask is not None
        if query.geometry is None:
            return truth
        mask = read_mask(truth.mask, len(truth.classes), size=sample.size, name=sample.id)
        asked = np.zeros(mask.shape, dtype=bool)
        if query.geometry.shape[1] in (2, 3):
            asked[query.geometry[:, 1], query.geometry[:, 0]] = True
        for x0, y0, x1, y1 in query.geometry if query.geometry.shape[1] == 4 else ():
            asked[y0:y1, x0:x1] = True
        answer = points_of(mask, asked, truth.classes)
        if not self.noise or answer.codes is None:
            return answer
        rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(query.id.encode(), digest_size=8).digest()))
        wrong = rng.random(len(answer.codes)) < self.noise
        shift = rng.integers(1, max(2, len(truth.classes)), len(answer.codes))
        codes = np.where(wrong, (answer.codes + shift) % len(truth.classes), answer.codes)
        return Target(answer.classes, answer.geometry, codes.astype(np.int32))


def _uniform(text: str, purpose: str) -> float:
    return int.from_bytes(hashlib.blake2b(f"{purpose}:{text}".encode(), digest_size=8).digest()) / 2**64
