"""Writing a first configuration for a folder of images: looked at, commented, ready to run."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from labelwise.data.guess import Guess, guess
from labelwise.errors import ConfigError

_TEMPLATE = """\
# {about}
# Check it with:  labelwise check {file}
# Then run it:    labelwise run {file}     (again: it continues)

name: {name}                  # the run's folder is runs/{name}
task: classify

data:
  format: {format}            # class_folders, csv_table (path,class[,group]) or images_folder
  path: {path}
{data}  on_bad_image: skip            # or error: stop at the first image that cannot be read
{group}
model:
  name: frozen                  # a frozen backbone and a small head: seconds per round, no GPU needed
  backbone: convnext_nano.in12k_ft_in1k   # any name of timm
  weights: hub                  # or the path of a .safetensors file; 'none' is an untrained network (offline and without weights)
  head: logistic                # or mlp, knn
  # name: finetune              # trains the whole network instead; wants a GPU

strategy: balanced_herding       # 'labelwise list strategies' shows all, 'random' is the baseline
cold_start: typiclust           # how round 0 is chosen, before there is a model

budget:
  initial: {initial}                   # images in round 0; a share such as '2%' works too
  per_round: {per_round}
  rounds: {rounds}
{annotator}
seed: 0
"""


def write_starter(folder: Path, file: Path, *, force: bool = False) -> list[str]:
    """Look at ``folder`` and write a commented YAML to ``file``; returns what was found, line by line.

    Raises DataError for a folder without images, ConfigError if the file is there already.
    """
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already: choose another with --out FILE, or overwrite it with --force")
    found = guess(folder)
    text = _filled(found, file)
    file.write_text(text, encoding="utf-8")
    return [*found.facts, f"wrote {file}; next: labelwise check {file}"]


def _filled(found: Guess, file: Path) -> str:
    labelled = found.labelled == found.images and found.images > 0
    initial = max(10, min(50, found.images // 20 or 1, found.images))
    rounds = max(2, min(10, found.images // max(initial, 1)))
    path = Path(os.path.relpath(found.path.resolve(), file.resolve().parent))
    return _TEMPLATE.format(
        about="; ".join(found.facts).replace("\n", " "),
        file=file,
        name=_name(found.path),
        format=found.format,
        path=_quoted(path.as_posix()),
        data="  test: 0.2                     # share kept for testing, fixed before round 0\n" if found.labelled else "",
        group="  # group: folder               # images of one folder stay on one side of the split; or a regular expression with one group\n",
        initial=min(initial, found.images),
        per_round=min(initial, found.images),
        rounds=rounds,
        annotator=_annotator(labelled, found.images),
    )


def _annotator(labelled: bool, images: int) -> str:
    if labelled:
        return "\nannotator: oracle               # every image has a class: simulate, to see what each strategy would have saved"
    audit = max(1, min(50, images // 5))
    return (
        f"audit: {audit}                       # images drawn at random in round 0, labelled only to estimate the quality\n"
        "\nannotator: files                # fill the column 'class' of runs/NAME/rounds/000/annotate.csv, then run again"
    )


def _name(path: Path) -> str:
    resolved = path.resolve()
    stem = resolved.stem if resolved.is_file() else resolved.name
    if stem in ("images", "train") and resolved.parent.name:
        stem = resolved.parent.name
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, allow_unicode=True, width=10**6).strip().removesuffix("...").strip()
