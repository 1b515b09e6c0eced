"""Taking in answers to a run's open queries that were made elsewhere; nothing is lost, and twice does no harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from labelwise import catalog
from labelwise import config as configuration
from labelwise.annotators import counted
from labelwise.annotators.answers import FORMATS as FORMATS
from labelwise.annotators.answers import Answers, Blank, read_answers, told
from labelwise.annotators.found import Asked
from labelwise.annotators.timelapse import Timelapse
from labelwise.annotators.timelapse_answers import Sheet
from labelwise.config import Config
from labelwise.errors import RunError
from labelwise.records import Sample
from labelwise.store import Store


@dataclass(frozen=True)
class Imported:
    """What was taken in: ``taken`` answers (of them ``skipped``), ``left`` open queries, and all that did not fit."""

    taken: int
    skipped: int
    left: int
    answers: Answers
    lines: tuple[str, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of the names in the file."""
        found = self.answers
        return {
            "taken": self.taken,
            "skipped": self.skipped,
            "left_open": self.left,
            "unmatched": len(found.unmatched),
            "settled": len(found.settled),
            "duplicates": len(found.duplicates),
            "empty": len(found.empty),
            "not_taken": len(found.open),
            "unknown_classes": len(found.unknown_classes),
        }


def import_answers(
    run: str | Path,
    file: str | Path,
    *,
    format: str | None = None,
    root: str = "",
    new_classes: bool = False,
    blank: Blank = "open",
    who: str = "import",
) -> Imported:
    """Answer a run's open queries from a file or folder, joined by the images' ids; all of it at once or nothing.

    For the arguments see `labelwise.annotators.answers.read_answers`; ``who`` is kept as the annotator's name. A query
    that is answered already keeps its answer, so the same file again changes nothing. ``labelwise run`` goes on from
    there. Raises LabelwiseError for a file that cannot be read, or a folder without a run.
    """
    folder, file = Path(run), Path(file)
    if not (folder / "run.db").is_file():
        raise RunError(f"no run in {folder}: expected run.db there; 'labelwise run CONFIG' begins one")
    config = configuration.load(folder)
    with Store(folder / "run.db") as store:
        samples = {sample.id: sample for sample in store.samples()}
        queries = store.queries(open_only=True)
        asked = Asked(queries, samples, store.classes(), config.task, store.asked(), _sheet(config, samples, root))
        by_id = {query.id: query for query in asked.queries}
        masks = folder / "rounds" / f"{max((q.round for q in asked.queries), default=0):03d}" / "masks"
        answers = read_answers(
            file, asked, format=format, root=root, new_classes=new_classes, blank=blank, who=who, masks=masks
        )
        with store.transaction():
            store.add_annotations(counted(by_id[a.query_id], a, config.budget.cost) for a in answers.annotations)
        left = len(store.queries(open_only=True))
    lines = told(answers, asked.classes, "give --new-classes")
    skipped = sum(a.skipped for a in answers.annotations)
    return Imported(len(answers.annotations), skipped, left, answers, tuple(lines))


def _sheet(config: Config, samples: Mapping[str, Sample], root: str) -> Sheet | None:
    """How the run's Timelapse project calls things, if it asks there; a ``root`` to cut off is all that counts then."""
    if config.annotator.name != "timelapse":
        return None
    annotator: Timelapse = catalog.make("annotator", {"name": "timelapse", **config.annotator.options})
    sheet = annotator.sheet(samples)
    return replace(sheet, root=None) if root else sheet
