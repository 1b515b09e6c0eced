"""MegaDetector's results: every version of its file, how it is known, and the threshold it recommends."""

from __future__ import annotations

import json

import pytest

from camera_trap_files import detection, megadetector
from labelwise.data.megadetector_results import is_megadetector, load


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", 1.5, None])
def test_every_version_is_read(tmp_path, version):
    entry = {"file": "A/1.jpg", "detections": [detection(0.9)]}
    if version in ("1.0", "1.1", "1.2"):
        entry["max_detection_conf"] = 0.9
    info = {} if version is None else {"format_version": version}
    found = load(megadetector(tmp_path / "md.json", [entry], info=info))
    assert found.version == ("" if version is None else str(version))
    assert len(found.entries[0].found) == 1


def test_a_file_is_known_by_its_content(tmp_path):
    assert is_megadetector(megadetector(tmp_path / "md.json", [("A/1.jpg", [])]))
    many = [(f"A/{i}.jpg", [detection(0.5)]) for i in range(3000)]
    content = json.loads(megadetector(tmp_path / "md.json", many).read_text())
    turned = {"images": content["images"], "detection_categories": {}, "info": {}}
    (tmp_path / "turned.json").write_text(json.dumps(turned))
    assert is_megadetector(tmp_path / "turned.json")
    (tmp_path / "coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert not is_megadetector(tmp_path / "coco.json")
    assert not is_megadetector(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("said", "wanted", "expected"),
    [(None, None, 0.2), (0.5, None, 0.5), (0.5, 0.0, 0.0), (0.0, None, 0.0), (2, None, 0.2)],
)
def test_detections_count_from_what_is_wanted_or_recommended(tmp_path, said, wanted, expected):
    info = {"detector_metadata": {"typical_detection_threshold": said}}
    assert load(megadetector(tmp_path / "md.json", [("1.jpg", [])], info=info)).least(wanted) == expected
