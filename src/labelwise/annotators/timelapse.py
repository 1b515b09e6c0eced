"""Asking in Timelapse: a selection to import, proposals to see, and species read from its data file or exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from labelwise.annotators import Desk, named
from labelwise.annotators.answers import Answers, read_answers, told
from labelwise.annotators.found import Asked
from labelwise.annotators.timelapse_answers import NOT_SELECTED, Sheet
from labelwise.annotators.timelapse_handoff import (
    README,
    SELECTION,
    Project,
    find_project,
    hand_off,
    handed_off_after,
    offer_template,
    read_state,
)
from labelwise.catalog import suggest
from labelwise.data.timelapse_template import TEMPLATE
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.records import Annotation, Query, Sample

REPORT = "report.txt"
FOLDER = "timelapse"  # of a round
_WAY_OUT = "name it in annotator.new_classes if it is a new species (true: all are)"
_SHOWN = 12  # lines said aloud; the report has all


@dataclass(frozen=True)
class Timelapse:
    """Hands the selection of each round to Timelapse, and reads the species that people gave there.

    Answers come from the .ddb in the image root (a copy is read, Timelapse may be open) and from every CSV or .ddb that
    is put into the round's folder ``timelapse``, which counts first. Nothing is fatal: what cannot be read or does not
    fit is told, in ``report.txt`` beside, and the rest is taken. ``species`` and ``selected`` are data labels, ``root``
    is the folder that Timelapse opens, ``template`` says where a missing one is written, ``skip`` which labels mean
    that nobody can tell, ``several`` what becomes of an image with several species, ``new_classes`` which names may
    become classes: all, or a list.
    """

    species: str = "Species"
    selected: str = "Selected"
    root: Path | None = None
    template: Literal["hand_off", "root"] = "hand_off"
    skip: tuple[str, ...] = ("unknown", "unsure")
    several: Literal["open", "skip"] = "open"
    new_classes: bool | tuple[str, ...] = False
    recognitions: bool = True

    simulated = False
    tasks = frozenset({"classify"})

    def sheet(self, samples: Mapping[str, Sample]) -> Sheet:
        """How the project of these images calls things."""
        return self._sheet(find_project(samples, self.root))

    def submit(self, queries: Sequence[Query], desk: Desk) -> None:
        """Write the hand-off; again where something it depends on has changed, such as the template."""
        if not queries:
            return
        project = find_project(desk.samples, self.root)
        sheet, folder = self._sheet(project), _folder(queries, desk)
        if self.template == "root" and project.template is None and project.data is None:
            try:
                offer_template(project.root / TEMPLATE, desk.classes, sheet)
                project = find_project(desk.samples, self.root)
            except DataError as error:  # then it lies in the round's folder
                project = replace(project, problems=(*project.problems, str(error)))
        any_name = self.new_classes is True or not named(desk.classes)
        hand_off(folder, queries, desk, project, sheet, recognitions=self.recognitions, any_name=any_name)

    def collect(self, open_queries: Sequence[Query], desk: Desk) -> list[Annotation]:
        """The species that are given by now; what is worth a word goes into the report, and is said when it changes."""
        if not open_queries:
            return []
        project, folder = find_project(desk.samples, self.root), _folder(open_queries, desk)
        found, lines = dict[str, Annotation](), list[str]()
        for file in _sources(folder, project):
            if not (left := [query for query in open_queries if query.id not in found]):
                break
            try:
                answers = self._read(file, left, desk, project)
            except DataError as error:
                lines.append(f"not read now, run again to read it: {error}")
                continue
            found |= {answer.query_id: answer for answer in answers.annotations}
            if handed_off_after(folder, file):  # nobody can have imported the selection yet
                answers = replace(answers, problems=tuple(p for p in answers.problems if p.code != NOT_SELECTED))
            lines += self._lines(file, left, answers, desk)
        _report(folder, lines, desk)
        if 0 < len(found) < len(open_queries):  # who imports the selection again sees what is left
            self.submit([query for query in open_queries if query.id not in found], desk)
        return [found[query.id] for query in open_queries if query.id in found]

    def advice(self, open_queries: Sequence[Query], desk: Desk) -> str:
        """What to do in Timelapse, and first what is to be mended."""
        folder = _folder(open_queries, desk)
        notes = read_state(folder).get("notes") or []
        first = f"{notes[0]}; then " if notes else ""
        return (
            f"{first}import {folder / SELECTION} in Timelapse and give what is {self.selected} its {self.species} "
            f"({README} beside it says how), then run again"
        )

    def _sheet(self, project: Project) -> Sheet:
        return Sheet(self.species, self.selected, tuple(self.skip), project.root, self.several)

    def _read(self, file: Path, queries: Sequence[Query], desk: Desk, project: Project) -> Answers:
        asked = Asked(queries, desk.samples, desk.classes, desk.task, desk.ever, self._sheet(project))
        return read_answers(file, asked, format="timelapse", new_classes=self.new_classes, who="timelapse")

    def _lines(self, file: Path, asked: Sequence[Query], answers: Answers, desk: Desk) -> list[str]:
        """What a person should know of one file: the counts first."""
        matched, unmatched = answers.rows
        skipped = sum(answer.skipped for answer in answers.annotations)
        counted = f"{len(answers.annotations):,} of {len(asked):,} open images answered"
        counted += f" ({skipped:,} skipped)" * bool(skipped)
        lines = [f"{file.name}: {counted}; {matched:,} rows are images of the run, {unmatched:,} are not"]
        lines += told(replace(answers, settled=()), desk.classes, _WAY_OUT)
        fresh: dict[str, int] = {}
        for answer in answers.annotations:
            for name in answer.target.classes if answer.target else ():
                if name not in desk.classes:
                    fresh[name] = fresh.get(name, 0) + 1
        for name, count in fresh.items() if named(desk.classes) else ():
            lines.append(
                f"new class {name!r}, {count:,} {'image' if count == 1 else 'images'}: {suggest(name, desk.classes)}"
            )
        return lines


def _folder(queries: Sequence[Query], desk: Desk) -> Path:
    return desk.folder / f"{queries[0].round:03d}" / FOLDER


def _sources(folder: Path, project: Project) -> list[Path]:
    """Where answers are, the ones that count first at the front: what was put into the round's folder, then the .ddb
    of the image root."""
    put = [p for p in (sorted(folder.iterdir()) if folder.is_dir() else []) if p.suffix.lower() in (".csv", ".ddb")]
    put = [p for p in put if p.name != SELECTION]
    return [*put, *([project.data] if project.data is not None else [])]


def _report(folder: Path, lines: Sequence[str], desk: Desk) -> None:
    """Keep the report, and say it if it is not what was said before."""
    text = "".join(f"{line}\n" for line in lines)
    file = folder / REPORT
    try:
        before = file.read_text(encoding="utf-8")
    except OSError:
        before = ""
    if text == before:
        return
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(file, text)
    for line in lines[:_SHOWN]:
        desk.tell(line)
    if len(lines) > _SHOWN:
        desk.tell(f"and {len(lines) - _SHOWN:,} more lines in {file}")
