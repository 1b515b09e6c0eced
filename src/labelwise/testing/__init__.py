"""For authors of plug-ins: checks that one keeps the rules of its seam, on small made data, and the fakes they use.

Each check raises AssertionError with one line that says what was expected and what was found.
"""

from __future__ import annotations

from labelwise.testing.choosing import check_reduce, check_score, check_select, check_strategy
from labelwise.testing.detecting import check_detection_model
from labelwise.testing.learning import check_head, check_model, check_segmentation_model
from labelwise.testing.making import make_boxes, make_images, make_inputs, make_masks, make_objects, make_queries, quiet
from labelwise.testing.serving import check_annotator, check_engine

__all__ = [
    "check_annotator",
    "check_detection_model",
    "check_engine",
    "check_head",
    "check_model",
    "check_reduce",
    "check_score",
    "check_segmentation_model",
    "check_select",
    "check_strategy",
    "make_boxes",
    "make_images",
    "make_inputs",
    "make_masks",
    "make_objects",
    "make_queries",
    "quiet",
]
