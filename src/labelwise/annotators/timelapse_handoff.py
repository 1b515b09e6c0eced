"""What a round hands to Timelapse: the selection as CSV, proposals as recognitions, a template where there is none."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.annotators import Desk, named
from labelwise.annotators.timelapse_answers import Places, Sheet
from labelwise.data import megadetector_writing as megadetector
from labelwise.data.crops import box_of, file_of
from labelwise.data.megadetector_writing import CATEGORIES, EMPTY, Detection, Recognition
from labelwise.data.predictions.joining import listed
from labelwise.data.timelapse import FILE, FOLDER, Control, read_rows, read_template
from labelwise.data.timelapse_template import FLAG, TEMPLATE, find_database, wanting, write_template
from labelwise.errors import DataError
from labelwise.ownership import replace_text
from labelwise.records import Query, Sample

SELECTION, RECOGNITIONS, README, STATE = "selection.csv", "recognitions.json", "README.txt", "handed_off.json"
_UP = 2  # folders above that of the images in which a data file is looked for


@dataclass(frozen=True, slots=True)
class Project:
    """A folder as Timelapse sees it: its template and data file, the fields of the template, and what is unclear."""

    root: Path
    template: Path | None = None
    data: Path | None = None
    controls: tuple[Control, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """True if there is a template to keep to."""
        return bool(self.controls)


def find_project(samples: Mapping[str, Sample], root: Path | None = None) -> Project:
    """The Timelapse project of a run's images: in ``root``, else in their folder, or above it where a data file lies (a
    template alone may be there for others to copy).

    The template says what the next opening will show; the data file has a copy of the one before.
    """
    base = root if root is not None else image_root(samples)
    own = root is not None or any(find_database(base, end)[0] for end in (".tdb", ".ddb"))
    above = [] if own else [p for p in base.parents[:_UP] if find_database(p, ".ddb")[0]]
    place = above[0] if above else base
    problems, controls = list[str](), tuple[Control, ...]()
    (template, why), (data, why_not) = find_database(place, ".tdb"), find_database(place, ".ddb")
    problems += [line for line in (why, why_not) if line]
    for file in (template, data):
        if file is not None and not controls:
            try:
                controls = read_template(file)
            except DataError as error:
                problems.append(str(error))
    return Project(place, template, data, controls, tuple(problems))


def image_root(samples: Mapping[str, Sample]) -> Path:
    """The folder that the ids of the images are relative to."""
    for sample in samples.values():
        parts = sample.path.absolute().parts
        below = Path(file_of(sample)).parts
        return Path(*parts[: -len(below)]) if parts[-len(below) :] == below else sample.path.absolute().parent
    return Path.cwd()


def hand_off(
    folder: Path,
    queries: Sequence[Query],
    desk: Desk,
    project: Project,
    sheet: Sheet,
    *,
    recognitions: bool,
    any_name: bool = False,
) -> None:
    """Write what Timelapse needs into ``folder``, unless nothing has changed since that was done. ``any_name``: what
    the template offers besides the classes may become one."""
    state = _state(queries, desk, project, sheet, recognitions, any_name)
    if read_state(folder).get("digest") == state:
        return
    notes = [*project.problems]
    if project.known:
        offered = next((c.choices for c in project.controls if c.data_label == sheet.species), ())
        others = _folded((*sheet.skip, *(offered if any_name else ())))
        asked_for = desk.classes if named(desk.classes) else ()
        notes += wanting(project.controls, asked_for, species=sheet.species, selected=sheet.selected, others=others)
    places = Places(desk.samples, sheet.root)
    files = _files(project, places, notes)
    asked = [query.sample_id for query in queries]
    selected = {places.path_of[id] for id in asked if id in places.path_of}
    notes += _not_there(asked, selected, files, places, project)
    folder.mkdir(parents=True, exist_ok=True)
    _write_selection(folder / SELECTION, files, selected, _flag(project, sheet))
    proposals = list(_recognitions(queries, desk.samples, places)) if recognitions else []
    if proposals:
        notes += megadetector.write(folder / RECOGNITIONS, proposals, classes=_names(desk, queries))
    if not project.known:
        (folder / TEMPLATE).unlink(missing_ok=True)  # an earlier one, with fewer classes
        offer_template(folder / TEMPLATE, desk.classes, sheet)
    nothing = EMPTY if EMPTY in desk.classes or not desk.classes else ""
    text = _readme(folder.parent.name, project, sheet, len(selected), bool(proposals), nothing, notes)
    replace_text(folder / README, text.replace("\n", "\r\n"))
    replace_text(folder / STATE, json.dumps({"digest": state, "notes": notes}, ensure_ascii=False))


def handed_off_after(folder: Path, file: Path) -> bool:
    """True if Timelapse's data file was last written before the hand-off in ``folder``."""
    try:
        written = [p.stat().st_mtime_ns for p in (file, file.with_name(f"{file.name}-wal")) if p.is_file()]
        return max(written) <= (folder / STATE).stat().st_mtime_ns
    except (OSError, ValueError):
        return False


def read_state(folder: Path) -> dict[str, Any]:
    """What was handed off last: a digest of all it depends on, and the notes; empty if there was nothing."""
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def offer_template(path: Path, classes: Sequence[str], sheet: Sheet) -> None:
    """Write a template with the classes and the words for skipping."""
    known = _folded(classes)
    words = [word for word in sheet.skip if word.casefold() not in known]
    choices = [*classes, *words] if named(classes) else []
    write_template(path, choices, species=sheet.species, selected=sheet.selected)


def _files(project: Project, places: Places, notes: list[str]) -> list[tuple[str, str, str]]:
    """RelativePath, File and path of every image that Timelapse knows, as it writes them; before it was opened, of
    every image of the run."""
    if project.data is not None:
        try:
            found = []
            for row in read_rows(project.data).rows:
                ids = places.find(row.id)
                found.append((row.values[FOLDER], row.values[FILE], places.path_of[ids[0]] if ids else row.id))
            return found
        except DataError as error:
            notes.append(str(error))
    return [(*_split(path), path) for path in dict.fromkeys(places.path_of.values())]


def _not_there(
    asked: Sequence[str], selected: set[str], files: Iterable[tuple[str, str, str]], places: Places, project: Project
) -> list[str]:
    """What is asked but cannot be shown by Timelapse."""
    notes = []
    if outside := [id for id in asked if id not in places.path_of]:
        notes.append(f"{len(outside):,} asked images lie outside of {project.root}: {listed(outside)}")
    if absent := sorted(selected - {path for _, _, path in files}):
        data = project.data.name if project.data is not None else "Timelapse"
        notes.append(
            f"{len(absent):,} asked images are not in {data}: let Timelapse add their files ({listed(absent)})"
        )
    return notes


def _split(path: str) -> tuple[str, str]:
    folder, _, file = path.rpartition("/")
    return folder.replace("/", "\\"), file


def _flag(project: Project, sheet: Sheet) -> str | None:
    """The column of the selection, if the template has it: Timelapse refuses a table with any other column."""
    if not project.known:
        return sheet.selected
    fits = any(c.data_label == sheet.selected and c.type == FLAG for c in project.controls)
    return sheet.selected if fits else None


def _write_selection(path: Path, files: Iterable[tuple[str, str, str]], selected: set[str], flag: str | None) -> None:
    """One row for every image, true or false, so that whatever was selected before is no more."""
    beside = path.with_name(f"{path.name}.partial")
    try:
        with beside.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([FILE, FOLDER, *([flag] if flag else [])])
            for folder, file, key in files:
                writer.writerow([file, folder, *([str(key in selected).lower()] if flag else [])])
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _recognitions(queries: Sequence[Query], samples: Mapping[str, Sample], places: Places) -> Iterator[Recognition]:
    """What is known of each asked image: the detector's boxes, and the class that the model proposes, for the box or
    for the whole image. An image in which it proposes nothing, and no detector found anything, is empty."""
    by_path: dict[str, list[Query]] = {}
    for query in queries:
        if (path := places.path_of.get(query.sample_id)) is not None:
            by_path.setdefault(path, []).append(query)
    for path, asked in by_path.items():
        found = [_detection(query, samples[query.sample_id]) for query in asked]
        proposed = any(query.proposal is not None and query.proposal.classes for query in asked)
        if proposed or any(found):
            yield Recognition(path, tuple(one for one in found if one is not None))


def _detection(query: Query, sample: Sample) -> Detection | None:
    """What Timelapse is to show of one query; None: nothing."""
    box = box_of(sample)
    name = query.proposal.classes[0] if query.proposal is not None and query.proposal.classes else EMPTY
    if box is None and name == EMPTY:
        return None
    sure = _share(query.reason.get("probability"))
    kind = str(sample.meta.get("detected", ""))
    category = name if name in CATEGORIES else kind if kind in CATEGORIES else "animal"
    said = () if name in (*CATEGORIES, EMPTY) else ((name, sure),)
    if box is None:
        return Detection(sure, None, category, said)
    x0, y0, x1, y1 = box
    return Detection(_share(sample.meta.get("confidence")), (x0, y0, x1 - x0, y1 - y0), category, said)


def _share(value: object) -> float:
    """A confidence, 1 where none is known."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 1.0


def _names(desk: Desk, queries: Sequence[Query]) -> list[str]:
    """The classes that proposals may name; those that are detection categories are told as such."""
    proposed = [q.proposal.classes[0] for q in queries if q.proposal is not None and q.proposal.classes]
    return [name for name in dict.fromkeys((*desk.classes, *proposed)) if name not in CATEGORIES]


def _folded(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.casefold() for word in words)


def _state(
    queries: Sequence[Query], desk: Desk, project: Project, sheet: Sheet, recognitions: bool, any_name: bool
) -> str:
    """A digest of all that the hand-off depends on; of the data file only when it was changed."""
    stamps = [(p.stat().st_mtime_ns, p.stat().st_size) for p in _open_files(project)]
    asked = [query.id for query in queries]
    told = (sheet, project, desk.classes, len(desk.samples), recognitions, any_name, stamps, asked)
    return hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _open_files(project: Project) -> list[Path]:
    if project.data is None:
        return []
    return [p for p in (project.data, project.data.with_name(f"{project.data.name}-wal")) if p.is_file()]


def _readme(
    round: str, project: Project, sheet: Sheet, count: int, proposals: bool, nothing: str, notes: Sequence[str]
) -> str:
    """The steps in plain words; ``nothing`` is the class of images without anything, "" if there is none."""
    skip = " or ".join(repr(word) for word in sheet.skip)
    choice = next((c for c in project.controls if c.data_label == sheet.species and c.choices), None)
    if choice is not None and not _folded(choice.choices) & _folded(sheet.skip):
        skip += ", once the list has it,"
    if project.known:
        first = f"Open {project.template or project.data} in Timelapse."
    else:
        first = f"Copy {TEMPLATE} from this folder to {project.root} and open it there in Timelapse."
    steps = [
        first,
        "Choose Select > All files. Otherwise images that are not shown keep what was selected before.",
        f"Choose File > Import data from a CSV file, and take {SELECTION} of this folder.",
        f"Choose Select > Custom selection with {sheet.selected} = true: {count:,} images are left.",
    ]
    if proposals:
        steps.append(
            f"To see boxes and what the model says, if there are any: Recognition > Import, and take {RECOGNITIONS} of "
            "this folder. Leave this out if you want to keep recognitions that you have imported before."
        )
    steps += [
        f"Give each image its {sheet.species}"
        + f", {nothing!r} where nothing is to be seen" * bool(nothing)
        + "; one without stays open."
        + f" {skip} skips it." * bool(sheet.skip),
        "Then close Timelapse: its data file is read, as a copy. Or export the selection as a CSV into this folder.",
        "Run labelwise again, as you began the run.",
    ]
    lines = [f"Round {round} in Timelapse: {count:,} images of {project.root}", ""]
    if notes:
        lines += ["Look at this first:", *(f"- {note}" for note in notes), ""]
    return "\n".join([*lines, *(f"{number}. {step}" for number, step in enumerate(steps, start=1)), ""])
