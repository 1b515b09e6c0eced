"""Projects in CVAT: found by name or made, with a label for each class."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from labelwise.annotators.answer_formats import SKIP_TAG
from labelwise.annotators.cvat.link import Link
from labelwise.errors import ServerError

_LONGEST = 64  # letters of a label's name that CVAT keeps


def label_names(classes: Iterable[str]) -> dict[str, str]:
    """The label of each class: its name, cut (with a digest) where CVAT would cut it silently."""
    labels: dict[str, str] = {}
    for name in classes:
        label = " ".join(name.split())
        if len(label) > _LONGEST or label in labels.values() or label == SKIP_TAG != name:
            label = f"{label[: _LONGEST - 9]}~{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
        labels[name] = label
    return labels


def find_project(link: Link, name: str) -> int | None:
    """The project of this name, or of this number (``#12``). Raises ServerError where several have the name."""
    if re.fullmatch(r"#\d+", name):
        return int(name[1:])
    found = [p["id"] for p in link.pages(lambda api: api.projects_api.list_endpoint, name=name) if p["name"] == name]
    if len(found) > 1:
        numbers = ", ".join(f"#{id}" for id in sorted(found))
        raise ServerError(
            f"CVAT at {link.url}: expected one project called {name!r}, found {numbers}; rename one, or give "
            f"annotator.project='#{min(found)}'"
        )
    return found[0] if found else None


def project_with(link: Link, name: str, classes: Sequence[str], kind: str) -> int:
    """The project, made if there is none, with a label for each class and one to skip an image.

    Labels are added, never removed or changed. Raises ServerError for one of another type.
    """
    wanted = dict.fromkeys(label_names(classes).values(), kind)
    if SKIP_TAG not in classes:
        wanted[SKIP_TAG] = "tag"
    specs = [{"name": label, "type": type, "attributes": []} for label, type in wanted.items()]

    def make() -> int:
        found = find_project(link, name)
        if found is not None:
            return found
        spec = {"name": name, "labels": specs}
        return int(link.once(lambda api: api.projects_api.create_endpoint, project_write_request=spec)["id"])

    project = link.ask(make, "making the project")
    present = {label["name"]: label["type"] for label in labels_of(link, project)}
    for label, type in wanted.items():
        if present.get(label, "any") not in ("any", type):
            raise ServerError(
                f"CVAT at {link.url}: expected the label {label!r} of project #{project} for {type} or any, found it "
                f"for {present[label]}; change it there, or give annotator.project=NAME for another project"
            )

    def add() -> None:
        there = {label["name"] for label in labels_of(link, project)}
        missing = [spec for spec in specs if spec["name"] not in there]
        if missing:
            change = {"labels": missing}
            link.once(
                lambda api: api.projects_api.partial_update_endpoint,
                id=project,
                patched_project_write_request=change,
            )

    if wanted.keys() - present.keys():
        link.ask(add, "adding labels to the project")
    return project


def labels_of(link: Link, project: int) -> list[dict[str, Any]]:
    """The labels of a project: id, name, type."""
    return list(link.pages(lambda api: api.labels_api.list_endpoint, "reading the labels", project_id=project))
