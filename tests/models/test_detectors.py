"""Detectors: the seam, what they learn, class rows through the suppression, and pictures without anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from labelwise import testing
from labelwise.models.detectors import Detector

TINY: dict[str, Any] = {
    "backbone": "mobilenetv2_035", "weights": "none", "size": 64, "channels": 32, "iterations": 4, "train_batch": 2,
}  # fmt: skip
ARCHITECTURES = ("fcos", "retinanet", "faster_rcnn", "ssdlite")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_keeps_the_seam(architecture: str, tmp_path: Path) -> None:
    testing.check_detection_model(lambda: Detector(**TINY, architecture=architecture), tmp_path)
