"""Asking through a file: a CSV with the images to look at, in which a person fills the column ``class``."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labelwise.annotators import Desk
from labelwise.catalog import suggest
from labelwise.data import csv_table
from labelwise.errors import DataError
from labelwise.reasons import sentence
from labelwise.records import Annotation, Query, Target

SKIP = "-"


@dataclass(frozen=True)
class Files:
    """Write ``annotate.csv`` into the round's folder and read what a person filled in.

    A row is answered by the name of a class in its column ``class``, or by "-" to skip it. With ``new_classes`` a name
    that the run does not know becomes a class; without, it is reported. Where the run knows no class yet, every name is
    new.
    """

    new_classes: bool = False

    simulated = False
    tasks = frozenset({"classify"})

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Write the CSV, unless it is there: a file that a person may have begun to fill is never overwritten."""
        if queries and not (path := _path(queries, desk)).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}")
            with beside.open("w", newline="", encoding="utf-8-sig") as file:
                writer = csv.writer(file)
                writer.writerow(["path", "class", "proposal", "reason", "image"])
                for q in queries:
                    proposal = " ".join(q.proposal.classes) if q.proposal else ""
                    writer.writerow(
                        [q.sample_id, "", proposal, sentence(q.reason), str(desk.samples[q.sample_id].path)]
                    )
            beside.replace(path)

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """The rows that are filled. Raises DataError, listing them, for classes the run does not know."""
        if not open_queries or not (path := _path(open_queries, desk)).exists():
            return []
        answers = csv_table.read_classes(path)
        unknown = sorted(set(answers.values()) - set(desk.classes) - {SKIP})
        if unknown and desk.classes and not self.new_classes:
            raise DataError(
                f"{path}: unknown class {unknown[0]!r} ({len(unknown)} unknown in all): "
                f"{suggest(unknown[0], desk.classes)}; mend the file, or set annotator.new_classes=true"
            )
        found = [(q, answers[q.sample_id]) for q in open_queries if q.sample_id in answers]
        return [Annotation(q.id, None if label == SKIP else Target((label,)), "files") for q, label in found]

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """Which file to fill."""
        return f"fill the column 'class' in {_path(open_queries, desk)}, then run again"


def _path(queries: Sequence[Query], desk: Desk) -> Path:
    return desk.folder / f"{queries[0].round:03d}" / "annotate.csv"
