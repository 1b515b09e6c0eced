"""Camera-trap data for tests: pictures with times in EXIF, and the files that name them."""

from __future__ import annotations

import json

from PIL import Image

EXIF_IFD, TAKEN = 0x8769, 0x9003


def picture(path, taken=None, size=(40, 30), colour=(90, 90, 90), boxes=()):
    """A JPEG (or what the suffix says), with a time in EXIF; ``boxes`` are (x0, y0, x1, y1, colour) in pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, colour)
    for x0, y0, x1, y1, fill in boxes:
        image.paste(fill, (x0, y0, x1, y1))
    exif = image.getexif()
    if taken:
        exif.get_ifd(EXIF_IFD)[TAKEN] = taken
    image.save(path, exif=exif, **({"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}))
    return path


def detection(conf, bbox=(0.25, 0.25, 0.5, 0.5), category="1", **more):
    """One detection of MegaDetector."""
    return {"category": category, "conf": conf, "bbox": list(bbox), **more}


def megadetector(path, images, **more):
    """A MegaDetector file of ``images``: pairs of name and detections, or whole entries."""
    entries = [one if isinstance(one, dict) else {"file": one[0], "detections": one[1]} for one in images]
    content = {
        "info": {"format_version": "1.6", "detector": "md_v5a.0.0.pt"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": entries,
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
