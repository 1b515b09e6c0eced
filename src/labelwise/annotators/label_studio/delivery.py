"""How pictures reach Label Studio: uploaded into the project, from a folder that its server sees, or by address."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labelwise.annotators.label_studio.server import Studio
from labelwise.data.images import open_image
from labelwise.errors import ConfigError, DataError
from labelwise.records import Sample

_SHOWN = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp"})  # what Label Studio takes and browsers show
_TYPES = {".jpg": "jpeg", ".jpeg": "jpeg"}
_BATCH = 8  # pictures in one request
_DIGEST = 20


def uploaded(studio: Studio, project: int, samples: Sequence[Sample]) -> dict[str, str]:
    """The address of each sample's picture in the project, by its id; those that lie there already are not sent again.

    What browsers cannot show is sent as PNG.
    """
    by_digest = {_digest(sample): sample for sample in samples}

    def find() -> Mapping[str, str]:
        files = studio.once("GET", f"api/projects/{project}/file-uploads", params={"all": "true"})
        named = ((re.search(rf"-([0-9a-f]{{{_DIGEST}}})\.\w+$", file["file"]), file["file"]) for file in files)
        return {match[1]: f"/data/{file}" for match, file in named if match}

    def send(digests: Sequence[str]) -> None:
        files = {str(i): _file(digest, by_digest[digest]) for i, digest in enumerate(digests)}
        path = f"api/projects/{project}/import"
        studio.once("POST", path, params={"commit_to_project": "false"}, files=files)

    places = studio.fill(by_digest, find, send, "uploading pictures", _BATCH)
    return {sample.id: places[_digest(sample)] for sample in samples}


def from_folder(studio: Studio, project: int, samples: Sequence[Sample], root: Path) -> dict[str, str]:
    """The address of each sample's picture below ``root``, which the server serves (local files); by its id.

    Label Studio serves what lies in a storage of the project: one is made for each folder in ``root``.
    """
    inside: dict[str, Path] = {}
    for sample in samples:
        path = sample.path.absolute()
        if not path.is_relative_to(root.absolute()):
            raise ConfigError(
                f"annotator.document_root: expected a folder that all images lie in, found {root}, but {path}; name "
                "Label Studio's LOCAL_FILES_DOCUMENT_ROOT, or use images=upload"
            )
        inside[sample.id] = path.relative_to(root.absolute())
        if len(inside[sample.id].parts) < 2:
            raise ConfigError(
                f"annotator.document_root: Label Studio serves only folders in {root}, but {path} lies in it itself; "
                "name the folder above it"
            )

    def find() -> Mapping[str, Any]:
        found = studio.once("GET", "api/storages/localfiles", params={"project": project})
        return {str(storage["path"]): storage for storage in found}

    def make(folders: Sequence[str]) -> None:
        for folder in folders:
            storage = {"project": project, "path": folder, "title": "labelwise", "use_blob_urls": True}
            studio.once("POST", "api/storages/localfiles", json=storage)

    folders = sorted({str(root.absolute() / path.parts[0]) for path in inside.values()})
    studio.fill(folders, find, make, "connecting the folder of pictures", 1)
    return {id: f"/data/local-files/?d={quote(path.as_posix())}" for id, path in inside.items()}


def by_address(samples: Sequence[Sample], prefix: str) -> dict[str, str]:
    """The address of each sample's picture: the prefix, and its id."""
    return {sample.id: f"{prefix.rstrip('/')}/{quote(sample.id)}" for sample in samples}


def _digest(sample: Sample) -> str:
    """What a picture is found by in the project: its content, or where that is not known its id."""
    text = sample.content or f"id {sample.id}"
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST // 2).hexdigest()


def _file(digest: str, sample: Sample) -> tuple[str, bytes, str]:
    """Name, bytes and type of the file to send."""
    suffix = sample.path.suffix.lower()
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", sample.path.stem)[:40]
    if suffix in _SHOWN:
        try:
            content = sample.path.read_bytes()
        except OSError as error:
            raise DataError(f"{sample.path}: cannot be read ({error.strerror}); restore it") from None
        return f"{stem}-{digest}{suffix}", content, f"image/{_TYPES.get(suffix, suffix[1:])}"
    written = io.BytesIO()
    open_image(sample.path, name=sample.id)[0].save(written, format="PNG")
    return f"{stem}-{digest}.png", written.getvalue(), "image/png"
