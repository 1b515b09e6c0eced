"""Writing a first configuration for a folder of images: looked at, commented, ready to run."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import yaml

from labelwise.data.guess import Guess, guess
from labelwise.errors import ConfigError
from labelwise.records import Task

_TEMPLATE = """\
# {about}
# Check it with:  labelwise check {file}
# Then run it:    labelwise run {file}     (again: it continues)

name: {name}                  # the run's folder is runs/{folder}
task: {task}

data:
  format: {format}            # {formats}
  path: {path}
{data}  on_bad_image: skip            # or error: stop at the first image that cannot be read
  {group}

{choosing}
budget:
{unit}  initial: {initial}                   # {initially}
  per_round: {per_round}
  rounds: {rounds}
{annotator}
seed: 0
"""
# What learns and what is chosen, by task.
_CHOOSING: dict[Task, str] = {
    "classify": """\
model:
  name: frozen                  # a frozen backbone and a small head: seconds per round, no GPU needed
  backbone: convnext_nano.in12k_ft_in1k   # any name of timm
  weights: hub                  # or the path of a .safetensors file; 'none' is an untrained network
  head: logistic                # or mlp, knn
  # name: finetune              # trains the whole network instead; wants a GPU

{strategy}""",
    "detect": """\
model:
  name: detector                # trains a network each round: minutes on a laptop with small pictures, or a GPU
  architecture: fcos            # or retinanet, faster_rcnn, ssdlite
  backbone: mobilenetv2_100.ra_in1k   # any name of timm that gives levels of features
  weights: hub                  # or the path of a .safetensors file; 'none' is an untrained network
  size: 640                     # pixels of the longer side, as the network sees it
  iterations: 400               # training steps of 4 images in each round

strategy: box_balanced           # 'labelwise list strategies' shows all, 'random' is the baseline
cold_start: random              # how round 0 is chosen, before there is a model
shown: 0.3                      # boxes this sure are proposed to the annotator; scores also look at fainter ones
""",
    "segment": """\
model:
  name: fpn                     # a feature pyramid, trained anew each round; or smp, mmseg: other networks
  backbone: mobilenetv2_100.ra_in1k   # any name of timm that gives levels of features
  weights: hub                  # or the path of a .safetensors file; 'none' is an untrained network
  size: {size}              # width and height as the network sees them: small is fast, large sees thin things
  epochs: 10                    # how often a round's training goes through the labelled images

strategy: pixelpick              # or ripu_region and spread_regions for regions; 'random' is the baseline
cold_start: random              # how round 0 is chosen, before there is a model
""",
}
_UNITS: dict[Task, str] = {
    "classify": "",
    "detect": """\
  unit: image                   # or box: the same number of boxes each round, whatever the images hold
""",
    "segment": """\
  unit: pixel                   # or region, image
  per_image: true               # amounts are for each image of the pool
""",
}
PIXELS = 10  # of every image in a round, as PixelPick asks (Shin et al. 2021)
WIDEST = 480  # pixels of the longer side that a first network sees
# Of camera traps: bursts and cameras look alike, so that a round should not be spent on one of them.
_SPREAD = """\
strategy:
  name: balanced_herding        # 'labelwise list strategies' shows all, 'random' is the baseline
  per: {per}   # at most so many images of one sequence and of one location in a round
cold_start:
  name: typiclust               # how round 0 is chosen, before there is a model
  per: {per}
"""
_PLAIN = """\
strategy: balanced_herding       # 'labelwise list strategies' shows all, 'random' is the baseline
cold_start: typiclust           # how round 0 is chosen, before there is a model
"""
_GROUP = "# group: folder               # images of one folder stay on one side of the split; or a regular expression"
_GROUP_OF_CAMERAS = "# group: location             # what stays on one side of the split: location or sequence"
_MEANINGS = {
    "crops": "the surest animal of each image; all: each animal; none: whole images",
    "location": "the folder of each camera; or 1, the first folder of the path; or a column; or an expression",
    "sequence_minutes": "a longer pause between two pictures of a location begins another sequence",
    "classes": "the names that may be answered",
    "labels": "what is labelled already",
    "column": "the column that holds the class",
    "images": "where the pictures lie, from the JSON's folder",
}
_OF_MASKS = {
    "images": "the folder of the pictures",
    "masks": "the folder of the masks",
    "image_suffix": "the end of pictures' names that masks do not have",
    "mask_suffix": "what masks have after the picture's name, less its extension or the suffix above",
    "splits": "what the first folders are for: pool, test or unused",
    "classes": "what the values of masks from 0 on mean: rename them; 255 is void",
}
_FORMATS: dict[Task, str] = {
    "classify": "class_folders, csv_table (path,class[,group]) or images_folder",
    "detect": "coco, voc, yolo or cvat_xml",
    "segment": "image_masks, or mmseg: a dataset of an mmsegmentation configuration",
}


def write_starter(folder: Path, file: Path, *, force: bool = False) -> list[str]:
    """Look at ``folder`` and write a commented YAML to ``file``; returns what was found, line by line.

    Raises DataError for a folder without images, ConfigError if the file is there already or cannot be a configuration.
    """
    if file.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(f"--out {file}: expected a name that ends with .yaml, found {file.suffix or 'no suffix'!r}")
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already: choose another with --out FILE, or overwrite it with --force")
    found = guess(folder)
    text = _filled(found, file)
    file.write_text(text, encoding="utf-8")
    return [*found.facts, f"wrote {file}; next: labelwise check {shlex.quote(str(file))}"]


def _filled(found: Guess, file: Path) -> str:
    images = max(10, min(50, found.images // 20))
    initial = PIXELS if found.task == "segment" else min(images, found.images)
    path = Path(os.path.relpath(found.path.resolve(), file.resolve().parent))
    # A file of detections is named after its detector, the folder after what it holds.
    name = _name(found.path.parent if found.cameras and found.path.is_file() else found.path)
    return _TEMPLATE.format(
        about=_comment("; ".join(found.facts)),
        file=_comment(shlex.quote(str(file))),
        name=_quoted(name),
        folder=name,
        task=found.task,
        format=found.format,
        formats=_others(found),
        choosing=_CHOOSING[found.task].format(strategy=_strategy(found, initial), size=_size(found)),
        group=_GROUP_OF_CAMERAS if found.cameras else _GROUP,
        unit=_UNITS[found.task],
        initially="pixels of each image in round 0"
        if found.task == "segment"
        else "images in round 0; a share such as '2%' works too",
        path=_quoted(path.as_posix()),
        data=_data(found),
        initial=initial,
        per_round=initial,
        rounds=5 if found.task == "segment" else max(2, min(10, found.images // images)),
        annotator=_annotator(found),
    )


def _others(found: Guess) -> str:
    """The formats that it might have been."""
    if found.cameras is None:
        return _FORMATS[found.task]
    return "or megadetector: its JSON says where animals are" if found.format == "images_folder" else "or images_folder"


def _strategy(found: Guess, per_round: int) -> str:
    if found.cameras is None:
        return _PLAIN
    places = len({sample.meta.get("location") for sample in found.cameras.listing.samples} - {None})
    # A few locations must still give a whole round.
    per = "{sequence: 1}" if places < 5 else f"{{sequence: 1, location: {max(10, -(-3 * per_round // places))}}}"
    return _SPREAD.format(per=per)


def _size(found: Guess) -> list[int]:
    """The width and height for a network: the pictures' own, or less."""
    scale = min(1.0, WIDEST / max(found.size))
    return [max(1, round(side * scale)) for side in found.size]


def _options(found: Guess) -> str:
    """The reader's options, a line each."""
    meanings = _OF_MASKS if found.task == "segment" else _MEANINGS
    lines = []
    for name, value in found.options.items():
        text = f"  {name}: {_inline(value)}"
        lines.append(f"{text:<31} # {meanings[name]}\n")
    if found.format == "megadetector":
        lines.append(
            "  # threshold: 0.2              # the least confidence of an animal; default: what the file recommends\n"
        )
        lines.append("  # people: true                # images with people or vehicles are left out without it\n")
    return "".join(lines)


def _inline(value: object) -> str:
    if isinstance(value, list | dict):
        return yaml.safe_dump(value, allow_unicode=True, width=10**6, default_flow_style=True).strip()
    return _quoted(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _data(found: Guess) -> str:
    return _options(found) + _testing(found)


def _testing(found: Guess) -> str:
    if "splits" in found.options:
        return ""
    if found.tested:
        return "  # the data says which images are for testing; else: splits: {train: pool, val: test}\n"
    if found.labelled == found.images or found.task == "segment":
        return "  test: 0.2                     # share of the labelled ones kept for testing, fixed before round 0\n"
    classes = (
        "  # classes: [cat, dog]         # the names that may be answered; without them the first answers make them\n"
    )
    return "  test: 0                       # the audit sample below judges the models: it is a fair draw\n" + (
        classes if found.format in ("images_folder", "megadetector") and "classes" not in found.options else ""
    )


def _annotator(found: Guess) -> str:
    if found.labelled == found.images:
        return "\nannotator: oracle               # every image is labelled: simulate what each strategy would save"
    if found.task == "segment":
        return "\nannotator: web                  # people name the pixels on the page that the run opens"
    audit = 0 if found.tested else min(50, found.images // 5)
    sample = f"audit: {audit:<24} # images drawn at random in round 0, labelled only to estimate the quality\n"
    if found.task == "detect":
        who = "annotator: web                  # people draw on the page that the run opens"
    else:
        who = f"annotator:\n{_who(found)}"
    return f"{sample if audit else ''}\n{who}"


def _who(found: Guess) -> str:
    column = found.cameras.column if found.cameras is not None else ""
    if column:
        # What is picked from a list cannot be a slip of the pen.
        new = "  new_classes: true  " if found.cameras is not None and found.cameras.listed else "  # new_classes: true"
        return (
            "  name: timelapse               # labels are given in Timelapse; or web: on the page; files: in a CSV\n"
            f"  species: {_quoted(column):<20} # the column of Timelapse that holds the class\n"
            f"{new:<31} # a name not used before is a new class; false: it is a slip of the pen"
        )
    others = "timelapse, or files: in a CSV" if found.cameras is not None else "files: in a CSV"
    return (
        f"  name: web                     # people answer on the page that the run opens; or {others}\n"
        "  # new_classes: true           # of files: a name not used before is a new class; false: a slip of the pen"
    )


def _name(path: Path) -> str:
    resolved = path.resolve()
    stem = resolved.stem if resolved.is_file() else resolved.name
    if stem in ("images", "train") and resolved.parent.name:
        stem = resolved.parent.name
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"


def _comment(text: str) -> str:
    """Text for a comment: whatever ends a line in YAML would end the comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _quoted(text: str) -> str:
    """Text as a YAML value on one line."""
    style = None if text.isprintable() else '"'
    return (
        yaml.safe_dump(text, allow_unicode=True, width=10**6, default_style=style).strip().removesuffix("...").strip()
    )
