"""Asking in CVAT: a server with people and faults; nothing asked twice, no answer lost or doubled."""

from __future__ import annotations

import pytest

pytest.importorskip("cvat_sdk")

from fake_cvat import TOKEN, FakeCvat

from labelwise.annotators.cvat import Cvat
from labelwise.testing import check_annotator


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("CVAT_URL", "CVAT_USERNAME", "CVAT_PASSWORD", "FIFTYONE_CVAT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    fake = FakeCvat()
    yield fake
    fake.close()


def tag_by_colour(server):
    """People who tag every image, the even ones blue."""

    def answer(queries, desk):
        for task, frame, name in server.frames():
            server.draw(task, frame, ("blue", "red")[int(name[:3]) % 2])
        server.complete()

    return answer


def test_conformance(server, tmp_path):
    check_annotator(lambda: Cvat(url=server.url, job_size=2), tmp_path, answer=tag_by_colour(server))
