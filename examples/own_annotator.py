"""An annotator of your own: questions and answers as JSON files, for whatever tool people already use.

python examples/own_annotator.py
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import labelwise
from labelwise.data.digits import make_digits
from labelwise.errors import DataError
from labelwise.records import Annotation, Target


@dataclass(frozen=True)
class Json:
    """Write ``questions.json`` into the round's folder, read ``answers.json``: ``{image: class}``, null to skip."""

    who: str = "json"

    simulated = False

    def submit(self, queries, desk):
        """Write the questions once; a second call finds the file and leaves it."""
        if queries and not (path := _folder(queries, desk) / "questions.json").exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            questions = [{"image": q.sample_id, "file": str(desk.samples[q.sample_id].path)} for q in queries]
            path.write_text(json.dumps({"classes": desk.classes, "questions": questions}, indent=1), encoding="utf-8")

    def collect(self, open_queries, desk):
        """What is answered by now. An unknown class is the user's mistake: one line that says what to do."""
        if not open_queries or not (path := _folder(open_queries, desk) / "answers.json").exists():
            return []
        answers = json.loads(path.read_text(encoding="utf-8"))
        strange = sorted({c for c in answers.values() if c is not None} - set(desk.classes))
        if strange:
            raise DataError(f"{path}: expected one of {', '.join(desk.classes)}, found {strange[0]!r}; mend the file")
        found = [(q, answers[q.sample_id]) for q in open_queries if q.sample_id in answers]
        return [Annotation(q.id, None if c is None else Target((c,)), self.who) for q, c in found]

    def advice(self, open_queries, desk):
        """What a person must do now, in half a sentence."""
        return f"answer {_folder(open_queries, desk) / 'questions.json'} in answers.json beside it, then run again"


def _folder(queries, desk):
    return desk.folder / f"{queries[0].round:03d}"


def main() -> None:
    """Ask for 20 digits, answer as a person would (the folder's name is the class), and go on."""
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "name": "asked",
            "out": f"{folder}/runs",
            "cache": f"{folder}/cache",
            "data": {"format": "images_folder", "path": make_digits(folder), "classes": [str(i) for i in range(10)]},
            "model": {"name": "frozen", "backbone": "pixels", "size": 8},
            "annotator": f"{Path(__file__).resolve()}:Json",
            "audit": 20,
            "budget": {"initial": 20, "rounds": 1},
        }
        waiting = labelwise.run(config, report=False)
        print(f"{waiting.state}: {waiting.message.partition(':')[0]}")
        asked = json.loads((waiting.folder / "rounds/000/questions.json").read_text(encoding="utf-8"))["questions"]
        answers = {q["image"]: q["image"].partition("/")[0] for q in asked}
        (waiting.folder / "rounds/000/answers.json").write_text(json.dumps(answers), encoding="utf-8")
        done = labelwise.run(config, report=False)
        accuracy = done.evaluations["audit"][0]["accuracy"]
        print(f"{done.state}: {done.labels(0)} labels, accuracy {accuracy:.2f} on the audit sample")


if __name__ == "__main__":
    main()
