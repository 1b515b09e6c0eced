"""Self-supervised training: it learns, it resumes to the last bit, it touches nobody's random numbers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import labelwise
from labelwise.embedding.selfsup import training
from labelwise.errors import ConfigError, DataError, ModelError, RunChanged, RunError, RunLocked
from labelwise.ownership import owned

pytest.importorskip("lightly", reason="lightly is optional")

from labelwise.embedding.selfsup.methods import METHODS, make_views
from labelwise.embedding.selfsup.settings import OWN, Settings, make_settings, notes
from labelwise.embedding.selfsup.views import Batches, steps

TINY: dict[str, Any] = {"backbone": "test_resnet", "weights": "none", "size": 32, "threads": 1}
QUICK = {"train_batch": 8, "width": 32, "lr": 1e-3}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads would wait for each other on networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 small pictures: stripes of some direction and colour."""
    root = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    for i in range(24):
        wave = np.sin((x if i % 2 else y) * rng.uniform(0.2, 1.2) + rng.uniform(0, 6))
        picture = 127 + wave[..., None] * rng.uniform(20, 120, 3) + rng.normal(0, 8, (40, 48, 3))
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(root / f"{i:02}.png")
    return root


def train(images: Path, place: Path, epochs: int = 2, **more: Any) -> labelwise.Embedded:
    settings = QUICK | more.pop("settings", {})
    return labelwise.embed(
        images, cache=place / "cache", trained=place / "t", train=epochs, settings=settings, **(TINY | more)
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(images: Path, tmp_path: Path, method: str) -> None:
    before = labelwise.embed(images, cache=tmp_path / "cache", **TINY)
    found = train(images, tmp_path, method=method)
    assert len(found.losses) == 2
    assert np.isfinite(found.losses).all()
    assert np.isfinite(found.vectors).all()
    assert found.vectors.shape == before.vectors.shape
    assert not np.allclose(found.vectors, before.vectors, atol=1e-4)
    assert sorted(p.name for p in (tmp_path / "t").iterdir() if p.name[0] != ".") == [
        "backbone.safetensors",
        "losses.csv",
        "training.json",
    ]
    rows = (tmp_path / "t" / "losses.csv").read_text().splitlines()
    assert rows == ["epoch,loss", *(f"{i},{loss!r}" for i, loss in enumerate(found.losses, start=1))]


# Not moco: its loss rises while its queue fills with true images.
@pytest.mark.parametrize("method", ["simclr", "vicreg"])
def test_the_loss_falls(images: Path, tmp_path: Path, method: str) -> None:
    losses = train(images, tmp_path, 8, method=method, settings={"lr": 3e-3}).losses
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_the_trained_backbone_is_a_weight_file_for_all(images: Path, tmp_path: Path) -> None:
    from labelwise.embedding.backbone import NetworkSpec, create_network

    found = train(images, tmp_path, 1)
    assert found.weights == tmp_path / "t" / "backbone.safetensors"
    again = labelwise.embed(images, cache=tmp_path / "cache", **(TINY | {"weights": found.weights}))
    assert again.computed == 0
    np.testing.assert_array_equal(again.vectors, found.vectors)
    network = create_network(NetworkSpec("test_resnet", str(found.weights)), num_classes=3)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


class Killed(BaseException):
    """What ends a training between two epochs, as a signal would."""


@pytest.mark.parametrize(
    "method", ["moco", "dino", *(pytest.param(m, marks=pytest.mark.slow) for m in ("simclr", "byol", "swav", "vicreg"))]
)
def test_resumed_equals_uninterrupted(
    images: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(images, tmp_path / "whole", 3, method=method)
    real = training.state.save
    calls = [0]

    def save(*arguments: Any) -> None:
        calls[0] += 1
        real(*arguments)
        if calls[0] in (1, 2):
            raise Killed

    monkeypatch.setattr(training.state, "save", save)
    for _ in range(2):
        with pytest.raises(Killed):
            train(images, tmp_path / "parts", 3, method=method)
        torch.rand(3)  # somebody else draws in between
    parts = train(images, tmp_path / "parts", 3, method=method)
    assert calls[0] == 3
    assert parts.losses == whole.losses
    np.testing.assert_array_equal(parts.vectors, whole.vectors)
    assert parts.weights is not None
    assert whole.weights is not None
    assert parts.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.slow
def test_killed_for_real(images: Path, tmp_path: Path) -> None:
    """kill -9 in the middle, then the same command again."""
    words = [sys.executable, "-m", "labelwise.cli", "embed", str(images), "--train", "12", "--backbone", "test_resnet"]
    words += ["--weights", "none", "--size", "32", "--threads", "1", "--cache", str(tmp_path / "cache")]
    for key, value in QUICK.items():
        words += ["--setting", f"{key}={value}"]
    out = tmp_path / "x.parquet"
    process = subprocess.Popen([*words, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "x-trained"
    until = time.monotonic() + 120
    while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    again = subprocess.run([*words, "-o", str(out)], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "continuing after epoch" in again.stdout
    whole = train(images, tmp_path, 12)
    ids, vectors = labelwise.embedding.files.read_vectors(out)
    assert ids == whole.ids
    np.testing.assert_array_equal(vectors, whole.vectors)


def test_interrupted_is_resumable_with_exit_code_3(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelwise import cli

    real = training.state.save

    def save(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(training.state, "save", save)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli.os, "_exit", lambda code: sys.exit(code))
    monkeypatch.chdir(tmp_path)
    words = [
        "embed",
        str(images),
        "--train",
        "2",
        "--backbone",
        "test_resnet",
        "--weights",
        "none",
        "--size",
        "32",
        "-q",
    ]
    monkeypatch.setattr(sys, "argv", ["labelwise", *words, "--setting", "width=16"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.INTERRUPTED
    assert (tmp_path / "embeddings-trained" / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_workers_change_nothing(images: Path, tmp_path: Path) -> None:
    here = train(images, tmp_path / "here", 1)
    beside = train(images, tmp_path / "beside", 1, workers=1)
    assert here.losses == beside.losses
    np.testing.assert_array_equal(here.vectors, beside.vectors)


def test_nobody_elses_random_numbers_are_touched(images: Path, tmp_path: Path) -> None:
    states = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    train(images, tmp_path, 1)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


def test_the_seed_decides(images: Path, tmp_path: Path) -> None:
    one, two = (train(images, tmp_path / str(seed), 1, settings={"seed": seed}) for seed in (0, 1))
    assert one.losses != two.losses


def test_again_with_new_images_uses_what_is_trained(images: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for path in images.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    first = train(own, tmp_path, 1)
    Image.new("RGB", (9, 9), "red").save(own / "new.png")
    told: list[str] = []
    second = train(own, tmp_path, 1, tell=told.append)
    assert second.computed == 1
    assert second.losses == first.losses
    assert len(told) == 1
    assert "trained already, on 24 of now 25 images" in told[0]


def test_other_settings_are_refused(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(images, tmp_path, 1)
    with pytest.raises(RunChanged, match=r"epochs: 1 -> 2, lr: 0\.001 -> 0\.01"):
        train(images, tmp_path, 2, settings={"lr": 0.01})
    (tmp_path / "t" / "training.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        train(images, tmp_path, 1)


def test_a_damaged_checkpoint_is_one_line(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.state.save

    def save(*arguments: Any) -> None:
        real(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training.state, "save", save)
        with pytest.raises(Killed):
            train(images, tmp_path, 2)
    path = tmp_path / "t" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"damaged .* delete the folder"):
        train(images, tmp_path, 2)


def test_two_processes_do_not_train_in_one_folder(images: Path, tmp_path: Path) -> None:
    with owned(tmp_path / "t"), pytest.raises(RunLocked, match="in use"):
        train(images, tmp_path, 1)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_image_that_goes_away(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    from labelwise.embedding import folder

    own = tmp_path / "own"
    own.mkdir()
    for path in images.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    real = folder.train_backbone
    monkeypatch.setattr(folder, "train_backbone", lambda *a, **k: ((own / "03.png").unlink(), real(*a, **k))[1])
    with pytest.raises(DataError, match=r"^03\.png could be read before, but not now: [^\n]*$"):
        train(own, tmp_path / str(workers), 1, workers=workers)


def test_a_loss_that_is_no_number(images: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lower lr"):
        train(images, tmp_path, 4, method="vicreg", settings={"lr": 1e30})


def test_two_images_are_enough(images: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("00.png", "01.png"):
        (own / name).write_bytes((images / name).read_bytes())
    told: list[str] = []
    for method in ("simclr", "moco", "dino", "swav"):
        found = train(own, tmp_path / method, 1, method=method, settings={"train_batch": 64}, tell=told.append)
        assert np.isfinite(found.losses).all()
    assert "note: train_batch is 2, for there are only 2 images" in told
    (own / "01.png").unlink()
    with pytest.raises(DataError, match="two images or more to train on, found 1"):
        train(own, tmp_path / "one", 1)


# --- settings, views and batches ----------------------------------------------------------------------


def test_settings_find_their_place() -> None:
    given = {"lr": "1e-3", "temperature": 0.2, "vf_prob": 0.5, "train_batch": 32}
    made = make_settings("simclr", 5, given)
    assert (made.epochs, made.lr, made.train_batch) == (5, 1e-3, 32)
    assert (made.loss, made.views) == ({"temperature": 0.2}, {"vf_prob": 0.5})
    assert json.loads(json.dumps(made.as_dict()))["views"] == {"vf_prob": 0.5}


@pytest.mark.parametrize(
    ("method", "given", "part"),
    [
        ("simklr", {}, "did you mean 'simclr'"),
        ("simclr", {"temprature": 1}, "did you mean 'temperature'"),
        ("simclr", {"train_batch": 1}, "greater than or equal to 2"),
        ("simclr", {"lr": 0}, "greater than 0"),
        ("simclr", {"warmup": 1}, "less than 1"),
        ("simclr", {"temperature": "hot"}, "temperature"),
        ("simclr", {"input_size": 32}, "unknown setting 'input_size'"),
        ("byol", {"temperature": 1}, "unknown setting 'temperature'"),
    ],
)
def test_a_wrong_setting_is_one_line(method: str, given: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part) as error:
        make_settings(method, 1, given)
    assert "\n" not in str(error.value)


def test_methods_and_settings_are_told() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "embeddings.md").read_text(encoding="utf-8")
    assert [name for name, entry in METHODS.items() if f"| `{name}` | {entry.paper} |" not in page] == []
    default = {f.name: f.default for f in fields(Settings)}
    assert [name for name in OWN if f"| `{name}` | {default[name]} |" not in page] == []


def test_notes_only_where_they_matter() -> None:
    assert notes(Settings("simclr", train_batch=128), 1000) == []
    assert len(notes(Settings("simclr", train_batch=32), 1000)) == 1
    assert notes(Settings("vicreg", train_batch=32), 1000) == []
    clipped = notes(Settings("simclr", train_batch=128), 50)
    assert [n.split(",")[0] for n in clipped] == [
        "note: train_batch is 50",
        "note: simclr tells the images of a batch apart",
    ]


@pytest.mark.parametrize("images", [2, 3, 5, 8, 17, 100])
@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_batches_hold_every_image_once(images: int, size: int) -> None:
    keys = list(Batches(images, size, seed=0, first=1, epochs=3))
    assert len(keys) == 2 * steps(images, size) == len(Batches(images, size, seed=0, first=1, epochs=3))
    for epoch in (1, 2):
        own = [k for k in keys if k[0][0] == epoch]
        assert sorted(i for batch in own for _, i in batch) == list(range(images))
        sizes = [len(batch) for batch in own]
        assert min(sizes) >= 2
        assert max(sizes) <= max(size, 3)
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_views_fit_the_network(method: str) -> None:
    from labelwise.embedding.backbone import Preprocessing

    picture = Image.new("RGB", (300, 5), "red")
    for size, crops in ((224, True), (224, False), (32, True)):
        views = make_views(method, Preprocessing(size=size), {}, crops=crops)(picture)
        assert [tuple(v.shape) for v in views[:2]] == [(3, size, size)] * 2
        small = {tuple(v.shape) for v in views[2:]}
        many = method in ("dino", "swav") and crops and size == 224
        assert small == ({(3, 96, 96)} if many else set())


def test_a_network_of_one_size(images: Path, tmp_path: Path) -> None:
    found = train(images, tmp_path, 1, backbone="test_vit", method="dino")
    assert np.isfinite(found.vectors).all()


@pytest.mark.slow
def test_lightly_is_asked_nothing_over_the_network() -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('a connection')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from labelwise.embedding.selfsup.methods import need_lightly\n"
        "need_lightly()\n"
        "import sys\n"
        "assert not {'pytorch_lightning', 'hydra', 'lightly.api'} & set(sys.modules), 'too much is loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
