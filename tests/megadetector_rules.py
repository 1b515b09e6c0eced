"""The documented rules of MegaDetector's batch output, versions 1.0 to 1.6, as a validator for tests; and what
Timelapse makes of a file, trap by trap."""

from __future__ import annotations

import json
import re

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6")
VIDEOS = (".asf", ".avi", ".mov", ".mp4")


def validate(path, *, traps=True):
    """Assert every rule; gives the parsed file. With ``traps`` also what Timelapse's import trips over."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    data = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert {"info", "detection_categories", "images"} <= data.keys()
    version = data["info"]["format_version"]
    assert isinstance(version, str)
    assert version in VERSIONS
    _categories(data["detection_categories"])
    classes = data.get("classification_categories", {})
    _categories(classes)
    if "classification_category_descriptions" in data:
        assert data["classification_category_descriptions"].keys() == classes.keys()
    if version < "1.2":
        assert not {"detector_metadata", "classifier_metadata"} & data["info"].keys()
    seen = set()
    for image in data["images"]:
        assert image["file"]
        assert image["file"] not in seen
        seen.add(image["file"])
        assert not image["file"].startswith("/")
        _image(image, data["detection_categories"], classes, version)
    if traps:
        _traps(data, classes)
    return data


def _categories(found):
    for id, name in found.items():
        assert re.fullmatch(r"\d+", id)
        assert isinstance(name, str)
        assert name.strip()


def _image(image, categories, classes, version):
    if image.get("failure") is not None:
        assert isinstance(image["failure"], str)
        assert image.get("detections") is None
        return
    assert isinstance(image["detections"], list)
    video = image["file"].lower().endswith(VIDEOS)
    assert ("max_detection_conf" in image) == (version < "1.3")
    if version < "1.3":
        assert image["max_detection_conf"] == max((d["conf"] for d in image["detections"]), default=0)
    if video and version >= "1.4":
        assert image["frame_rate"] > 0
    if video and version >= "1.5":
        assert all(isinstance(number, int) for number in image["frames_processed"])
    for found in image["detections"]:
        assert found["category"] in categories
        assert isinstance(found["conf"], float)
        assert 0 <= found["conf"] <= 1
        assert found["conf"] == round(found["conf"], 3)
        x, y, width, height = found["bbox"]
        assert min(x, y, width, height) >= 0
        assert x + width <= 1 + 1e-9
        assert y + height <= 1 + 1e-9
        if video and version >= "1.4":
            assert isinstance(found["frame_number"], int)
            assert found["frame_number"] >= 0
        said = found.get("classifications", [])
        assert all(id in classes and 0 <= share <= 1 for id, share in said)
        assert [share for _, share in said] == sorted((share for _, share in said), reverse=True)


def _traps(data, classes):
    taken = {name.casefold() for name in data["detection_categories"].values()}
    assert "0" not in data["detection_categories"]
    assert not taken & {name.casefold() for name in classes.values()}
    if len(classes) > 1:
        assert next(iter(classes.values())).casefold() != "empty"
    for image in data["images"]:
        for found in image.get("detections") or []:
            assert "classifications" not in found or found["classifications"]


def as_timelapse_reads(path):
    """The detections that Timelapse keeps, by file: (label, confidence, class, its confidence); none: empty.

    Raises ValueError where its import would fail.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    info, kinds = data["info"], data["detection_categories"]
    classes = data.get("classification_categories", {})
    if classes and next(iter(classes.values())) in {*kinds.values(), "Empty"}:
        raise ValueError("another program ran outside of Timelapse")
    conservative = info.get("detector_metadata", {}).get("conservative_detection_threshold", 0.05)
    typical = info.get("classifier_metadata", {}).get("typical_classification_threshold", 0.5)
    kept = {}
    for image in data["images"]:
        if image.get("detections") is None:
            continue
        kept[image["file"]] = []
        for found in image["detections"]:
            if "classifications" in found and found["classifications"] is None:
                raise ValueError("classifications: null")
            still = image["file"].lower().endswith((".jpg", ".jpeg"))
            if found["conf"] < max(0.03, conservative / 2.5) or not (still or image.get("frame_rate")):
                continue
            top = (found.get("classifications") or [[None, 0.0]])[0]
            top = top if top[1] >= max(0.03, typical / 2.5) else [None, 0.0]
            name = classes.get(top[0])
            kept[image["file"]].append((kinds[found["category"]], round(found["conf"], 3), name, top[1]))
    return kept
