"""Taking a dataset into a run: scan every file, leave out what cannot be used, and fix the splits before round 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labelwise.config import Config
from labelwise.data.listing import Listing
from labelwise.data.scan import find_duplicates, scan
from labelwise.data.sequences import settle
from labelwise.data.splits import choose_test
from labelwise.errors import DataError
from labelwise.models import Progress
from labelwise.parts import threads_of
from labelwise.records import Problem, Sample, Task, left_out

# What an oracle must know of an image, and of several.
TRUTH: Mapping[Task, tuple[str, str]] = {
    "classify": ("class", "classes"),
    "detect": ("boxes", "boxes"),
    "segment": ("mask", "masks"),
}


@dataclass(frozen=True)
class Intake:
    """The samples with their splits ("pool", "test", "audit"), the verdicts on all other files, and the classes."""

    samples: list[tuple[Sample, str]]
    problems: list[Problem]
    classes: tuple[str, ...]


def check_truth(samples: Sequence[Sample], task: Task) -> None:
    """Raises DataError if an image has no class, boxes or mask: a simulated annotator could not answer for it."""
    unknown = [s.id for s in samples if s.target is None]
    if unknown:
        one, several = TRUTH[task]
        raise DataError(
            f"the oracle does not know the {one} of {len(unknown)} of {len(samples)} images (the first: {unknown[0]}): "
            f"set annotator=files to ask a person, or give their {several}"
        )


def take_in(config: Config, listing: Listing, *, progress: Progress) -> Intake:
    """Scan and split a listing. Raises DataError if no image can be used, or for the first bad one where the
    configuration says so."""
    good, bad = _scanned(config, listing, [s for s in listing.samples if s.split != "unused"], progress)
    if bad and config.data.on_bad_image == "error":
        raise DataError(f"{bad[0].message} ({len(bad)} such files; data.on_bad_image=skip leaves them out)")
    copies = find_duplicates(good)
    if config.data.on_duplicate == "skip":
        out = {p.id for p in copies}
        good = [s for s in good if s.id not in out]
    if not good:
        first = f"; the first: {bad[0].message}" if bad else ""
        raise DataError(f"{listing.root}: expected images, found none that can be read ({len(bad)} cannot{first})")
    settled: list[Problem] = []
    if listing.camera is not None:
        good, settled = settle(good, listing.camera)
    notes = [Problem(s.id, s.note.split(":")[0], f"{s.id}: used, {s.note}") for s in good if s.note]
    return Intake(_split(config, good), [*listing.problems, *bad, *copies, *settled, *notes], listing.classes)


def take_in_source(config: Config, listing: Listing, target: Intake, *, progress: Progress) -> Intake:
    """What was taken in, and the labelled images of a source beside it, ids below ``source/``.

    Copies of images that judge the models are left out (``source_of_test``). Raises DataError if no image is left, or
    for other classes.
    """
    classes = target.classes
    if odd := [c for c in listing.classes if c not in classes]:
        raise DataError(f"source: expected classes of the pool ({', '.join(classes)}), found {odd[0]!r}; rename it")
    known = [replace(s, id=f"source/{s.id}") for s in listing.samples if s.target is not None and s.split != "unused"]
    good, bad = _scanned(config, listing, known, progress)
    judging = {s.content: s.id for s, split in target.samples if split != "pool"}
    copies = [
        Problem(s.id, "source_of_test", f"{s.id}: the same file as {judging[s.content]}, which judges: left out")
        for s in good
        if s.content in judging
    ]
    bad, good = [*bad, *copies], [s for s in good if s.content not in judging]
    if not good:
        first = f"; the first: {problems[0].message}" if (problems := [*listing.problems, *bad]) else ""
        raise DataError(f"source: expected labelled images in {listing.root}, found none that can be used{first}")
    problems = [replace(p, id=p.id and f"source/{p.id}") for p in listing.problems]
    beside = [(s, "source") for s in good]
    return Intake(target.samples + beside, [*target.problems, *problems, *bad], classes)


def summary(intake: Intake) -> str:
    """What became of the files, in one line."""
    splits = Counter(split for _, split in intake.samples)
    used = {s.id for s, _ in intake.samples}
    left = left_out(intake.problems, used)
    images = ", ".join(f"{splits[split]} {split}" for split in ("pool", "test", "audit", "source") if splits[split])
    why = ", ".join(f"{count} {code}" for code, count in left.most_common())
    return f"images: {images}" + (f"; {left.total()} left out ({why}), listed in the report" if left else "")


def _scanned(
    config: Config, listing: Listing, samples: Sequence[Sample], progress: Progress
) -> tuple[list[Sample], list[Problem]]:
    good: list[Sample] = []
    bad: list[Problem] = []
    total = len(samples)
    looked = scan(
        samples,
        threads=threads_of(config),
        progress=lambda done: progress(done, total, "images"),
        camera=listing.camera,
    )
    for verdict in looked:
        if isinstance(verdict, Problem):
            bad.append(verdict)
        else:
            good.append(verdict)
    return good, bad


def _split(config: Config, samples: list[Sample]) -> list[tuple[Sample, str]]:
    known = [s for s in samples if s.target is not None]
    if any(s.split == "test" for s in samples):
        test = {s.id for s in samples if s.split == "test"}
    else:
        test = choose_test(known, config.data.test, seed=config.data.split_seed) if known else set()
    rest = [s for s in samples if s.id not in test]
    if not rest:
        raise DataError(f"all {len(samples)} images went to the test split: give more images, or a lower data.test")
    audit = _audit(config, [s.id for s in rest])
    return [(s, "test" if s.id in test else "audit" if s.id in audit else "pool") for s in samples]


def _audit(config: Config, ids: list[str]) -> set[str]:
    if config.audit >= len(ids):
        raise DataError(f"audit={config.audit} needs more images than there are ({len(ids)}): give a smaller number")
    rng = np.random.default_rng([config.data.split_seed, 1])
    return {ids[i] for i in rng.permutation(len(ids))[: config.audit]}
