"""Pictures of the page: small ones made once, damaged and huge ones refused, and none but the run's."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import numpy as np
from exploring import IDS, ODD, client_of, make_run
from PIL import Image

from labelwise.data.crops import small_sample
from labelwise.data.images import UnreadableImage, open_image, small_image
from labelwise.records import Sample
from labelwise.web.served import Served
from labelwise.web.thumbnails import Thumbnails


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def test_thumbnails_are_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path)
    calls: list[str] = []

    def counted(sample: Sample, side: int) -> Image.Image:
        calls.append(sample.id)
        return small_sample(sample, side)

    monkeypatch.setattr("labelwise.web.thumbnails.small_sample", counted)
    for _ in range(2):
        with client_of(folder) as client:
            answer = client.get("/api/picture", params={"id": ODD, "side": 20})
            assert size_of(answer.content) == (40, 30)
            etag = answer.headers["etag"]
            again = client.get("/api/picture", params={"id": ODD, "side": 20}, headers={"If-None-Match": etag})
            assert (again.status_code, again.content) == (304, b"")
            assert "no-cache" in answer.headers["cache-control"]
            key = client.get("/api/explore/ids").json()["key"]
            lasting = client.get("/api/picture", params={"id": ODD, "side": 96, "of": key})
            assert "immutable" in lasting.headers["cache-control"]
            other = client.get("/api/picture", params={"id": ODD, "side": 96, "of": "another"})
            assert "no-cache" in other.headers["cache-control"]
    assert calls == [ODD]


def test_whole_and_bounded_pictures(tmp_path: Path) -> None:
    with client_of(make_run(tmp_path)) as client:
        assert size_of(client.get("/api/picture", params={"id": IDS[0]}).content) == (40, 30)
        assert size_of(client.get("/api/picture", params={"id": IDS[0], "side": 1000}).content) == (40, 30)
        for side in (-1, 10**9, "x"):
            assert client.get("/api/picture", params={"id": IDS[0], "side": side}).status_code == 422


def test_small_is_the_whole_one_made_small(tmp_path: Path) -> None:
    picture = Image.linear_gradient("L").resize((400, 200)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    small = small_image(tmp_path / "turned.jpg", 50)
    whole = open_image(tmp_path / "turned.jpg")[0].resize((25, 50))
    assert small.size == (25, 50)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(whole)).max() < 24
    assert small_image(tmp_path / "turned.jpg", 4000).size == (200, 400)


def bomb(path: Path) -> None:
    """A PNG that says it is 40,000 x 40,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "bomb", "text"])
def test_damaged_pictures_are_told(tmp_path: Path, damage: str) -> None:
    folder = make_run(tmp_path)
    path = tmp_path / "images" / IDS[0]
    if damage == "missing":
        path.unlink()
    elif damage == "bomb":
        bomb(path)
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:200], "text": b"hello"}[damage])
    with client_of(folder) as client:
        for side in (0, 96, 1600):
            answer = client.get("/api/picture", params={"id": IDS[0], "side": side})
            assert answer.status_code == 400
            assert IDS[0] in answer.json()["error"]
        known = client.get("/api/explore/image", params={"id": IDS[0]}).json()
        assert known["there"] is (damage != "missing")


def test_no_other_file_can_be_asked_for(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with client_of(folder) as client:
        for id in ("../runs/r/run.db", "/etc/passwd", "a/../a/00.png", "", "\0", str(tmp_path / "images" / IDS[0])):
            assert client.get("/api/picture", params={"id": id}).status_code == 400


def test_a_disk_that_cannot_be_written_makes_no_difference(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (tmp_path / "file").write_text("")
    served = Served(folder)
    data, _ = Thumbnails(tmp_path / "file").kept(served.sample(IDS[0]), 96)
    assert size_of(data) == (40, 30)
    served.close()


def test_a_changed_file_without_a_digest_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (20, 10)).save(path)
    thumbnails = Thumbnails(tmp_path / "kept")
    assert size_of(thumbnails.kept(Sample("x.png", path), 96)[0]) == (20, 10)
    Image.new("RGB", (30, 10)).save(path)
    assert size_of(thumbnails.kept(Sample("x.png", path), 96)[0]) == (30, 10)
    path.unlink()
    with pytest.raises(UnreadableImage):
        thumbnails.kept(Sample("x.png", path), 96)
