"""Tests of data/images.py: a verdict for every bad input, and pixels as shown."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from labelwise.data import images
from labelwise.data.images import UnreadableImage, decode_image, inspect_image, open_image

FIRST = "first_frame: the others are not used"
TURNED = "rotated: as the EXIF tag asks"
DEEP = "16bit: scaled from its own minimum..maximum"
WHITE = "alpha: laid on white"
EXPECTED = {
    "all_black.png": "",
    "animated_4_frames.gif": FIRST,
    "bad_crc.png": "truncated",
    "cmyk.jpg": "cmyk: converted without colour profile",
    "exif_orientation_1.jpg": "",
    **{f"exif_orientation_{tag}.jpg": TURNED for tag in range(2, 9)},
    "exif_orientation_invalid_99.jpg": "",
    "grey.jpg": "",
    "grey.png": "",
    "grey_16bit.png": DEEP,
    "grey_16bit_low_range.tif": DEEP,
    "grey_alpha.png": "",  # its alpha is opaque everywhere
    "grey_float32.tif": "float: scaled from its own minimum..maximum",
    "huge_20000x20000_1bit.png": "too_large",
    "huge_declared_60000x60000_no_data.png": "too_large",
    "jpeg_named_png.png": "",
    "multipage_3.tif": FIRST,
    "no_extension": "",
    "ok.jpg": "",
    "ok.png": "",
    "one_bit.png": "",
    "one_pixel.png": "",
    "palette.png": "",
    "palette_transparent.png": WHITE,
    "png_named_jpg.jpg": "",
    "rgba.png": WHITE,
    "rgba.webp": WHITE,
    "strip_4000x1.png": "",
    "text_not_image.jpg": "not_an_image",
    "trailing_garbage.jpg": "",
    "truncated.jpg": "truncated",
    "truncated.png": "truncated",
    "truncated_header.jpg": "truncated",
    "warn_12000x12000_1bit.png": "too_large",
    "zero_bytes.jpg": "empty_file",
}
REFUSED = {"truncated", "too_large", "not_an_image", "empty_file"}
SIZES = {"one_pixel.png": (1, 1), "strip_4000x1.png": (4000, 1)}


@pytest.fixture
def bad_inputs(shared_data: Path) -> Path:
    return shared_data / "bad_inputs"


def test_the_table_names_every_file(bad_inputs: Path) -> None:
    files = {file.name for file in bad_inputs.iterdir() if file.is_file()}
    assert set(EXPECTED) == files - {"README.md", "expected.csv"}


@pytest.mark.parametrize("name", EXPECTED)
def test_verdict(bad_inputs: Path, name: str) -> None:
    expected = EXPECTED[name]
    if expected in REFUSED:
        with pytest.raises(UnreadableImage) as caught:
            open_image(bad_inputs / name, name=name)
        assert caught.value.code == expected
        assert str(caught.value).startswith(f"{name}: expected ")
        assert "\n" not in str(caught.value)
        with pytest.raises(UnreadableImage):
            inspect_image((bad_inputs / name).read_bytes(), name=name)
        return
    picture, note = open_image(bad_inputs / name, name=name)
    assert (picture.mode, picture.size, note) == ("RGB", SIZES.get(name, (160, 120)), expected)
    assert inspect_image((bad_inputs / name).read_bytes(), name=name) == (picture.size, note)


def test_exif_orientations_look_the_same(bad_inputs: Path) -> None:
    first = np.asarray(open_image(bad_inputs / "exif_orientation_1.jpg")[0], float)
    for tag in range(2, 9):
        other = np.asarray(open_image(bad_inputs / f"exif_orientation_{tag}.jpg")[0], float)
        assert np.abs(first - other).mean() < 6, tag  # JPEG blocks fall elsewhere


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation_is_exact_without_loss(format: str, tag: int) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # inverse of what a reader does: Transpose values
    stored = Image.fromarray(shown)
    if tag > 1:
        stored = stored.transpose(Image.Transpose(turns[tag]))
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"lossless": True} if format == "WEBP" else {}
    data = _bytes(stored, format, exif=exif, **options)
    picture, note = decode_image(data, name="x")
    assert np.array_equal(np.asarray(picture), shown)
    assert note == (TURNED if tag > 1 else "")
    assert inspect_image(data, name="x") == ((4, 6), note)


def test_the_picture_is_not_turned_again_by_the_next_reader(bad_inputs: Path) -> None:
    from PIL import ImageOps

    picture, _ = open_image(bad_inputs / "exif_orientation_6.jpg")
    assert ImageOps.exif_transpose(picture).size == picture.size


def test_low_range_16_bit_is_not_black(bad_inputs: Path) -> None:
    values = np.asarray(open_image(bad_inputs / "grey_16bit_low_range.tif")[0])
    assert (values.min(), values.max()) == (0, 255)
    assert values.mean() > 30


def test_float_with_nan_and_constant_pictures() -> None:
    values = np.array([[0.0, 0.5], [np.nan, 1.0]], np.float32)
    assert np.asarray(decode_image(_bytes(Image.fromarray(values), "TIFF"), name="x")[0])[..., 0].tolist() == [
        [0, 128],
        [0, 255],
    ]
    flat = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    assert np.asarray(decode_image(_bytes(flat, "TIFF"), name="x")[0]).max() == 0


def test_transparent_pixels_become_white() -> None:
    picture = decode_image(_bytes(Image.new("RGBA", (2, 2), (200, 0, 0, 0)), "PNG"), name="x")[0]
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_bombs_are_refused_before_decoding(bad_inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    for name in ("huge_20000x20000_1bit.png", "warn_12000x12000_1bit.png"):
        with pytest.raises(UnreadableImage, match="at most 100,000,000 pixels, found"):
            open_image(bad_inputs / name)


def test_the_limit_can_be_set() -> None:
    data = _bytes(Image.new("L", (10, 10)), "PNG")
    assert decode_image(data, name="x", max_pixels=100)[0].size == (10, 10)
    with pytest.raises(UnreadableImage, match="10x10 = 100"):
        decode_image(data, name="x", max_pixels=99)


def test_file_system_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _code(lambda: open_image(tmp_path / "none.jpg")) == "missing"
    assert _code(lambda: open_image(tmp_path)) == "broken"
    assert _code(lambda: open_image("a\0b.jpg")) == "broken"
    file = tmp_path / "a.jpg"
    Image.new("L", (2, 2)).save(file)
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    assert _code(lambda: open_image(file)) == "too_large"
    monkeypatch.undo()

    def deny(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    assert _code(lambda: open_image(file)) == "not_permitted"


def test_other_failures_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("odd\nthing")

    monkeypatch.setattr(images, "to_rgb", fail)
    with pytest.raises(UnreadableImage, match="odd thing") as caught:
        decode_image(_bytes(Image.new("L", (2, 2)), "PNG"), name="x\ny")
    assert caught.value.code == "broken"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_every_cut_gives_the_same_verdict_both_ways(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    data = _bytes(Image.fromarray(noise), format)
    cuts = [*range(1, len(data), max(1, len(data) // 60)), len(data) - 1]
    for cut in cuts:
        full, quick = _outcome(decode_image, data[:cut]), _outcome(inspect_image, data[:cut])
        assert full == quick, cut
        if cut < 0.9 * len(data) and format != "TIFF":  # a TIFF cut after its pixels is whole
            assert full in {"truncated", "not_an_image"}, cut


def test_progressive_jpeg_cut_is_found_by_the_quick_look() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = _bytes(Image.fromarray(noise), "JPEG", progressive=True)
    assert inspect_image(data, name="x") == ((64, 64), "")
    for cut in (len(data) // 3, len(data) // 2, len(data) - 200):
        assert _outcome(inspect_image, data[:cut]) == "truncated"


def test_riff_sound_is_no_cut_picture() -> None:
    assert _code(lambda: decode_image(b"RIFF\x00\x00\x00\x00WAVEfmt ", name="x")) == "not_an_image"


def test_pillow_is_left_as_it_was(bad_inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)
    assert open_image(bad_inputs / "ok.jpg")[0].size == (160, 120)
    assert _code(lambda: open_image(bad_inputs / "truncated.jpg")) == "truncated"
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (5, True)
    assert list(warnings.filters) == filters


def test_odd_names_open(bad_inputs: Path) -> None:
    files = sorted((bad_inputs / "names").iterdir())
    assert len(files) == 19
    assert all(open_image(file)[0].size == (160, 120) for file in files)


def _bytes(picture: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def _code(call: Callable[[], object]) -> str:
    with pytest.raises(UnreadableImage) as caught:
        call()
    return caught.value.code


def _outcome(read: Callable[..., object], data: bytes) -> str:
    try:
        read(data, name="x")
    except UnreadableImage as error:
        return error.code
    return "opens"
