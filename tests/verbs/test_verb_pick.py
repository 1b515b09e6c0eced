"""The verb pick through the command line: every option, what is printed and written, and every mistake in one line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelwise import cli
from labelwise.embedding.files import write_vectors
from labelwise.verbs import progress


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with 12 pictures in photos/, one of them with an odd name, and a broken one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("photos/sub").mkdir(parents=True)
    for name in ["a,b.png", "new\nline.png", "sub/ü.png", *(f"{i}.png" for i in range(9))]:
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(Path("photos", name))
    Path("photos/broken.png").write_bytes(b"")
    return tmp_path


@pytest.fixture
def call(work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Call ``labelwise pick ...`` in this process: exit code, standard output, standard error."""

    def made(*words: str | Path, plainly: bool = False) -> tuple[int, str, str]:
        common = [] if plainly else ["--backbone", "pixels", "--size", "4", "--cache", "cache", "--threads", "2"]
        monkeypatch.setattr(sys, "argv", ["labelwise", "pick", *map(str, words), *common])
        monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
        monkeypatch.setattr(progress, "plain_progress", lambda: lambda *_: None)  # which speaks up on a slow machine
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, out, err

    return made


def test_without_a_list_the_picks_are_printed(call: Any) -> None:
    code, out, err = call("photos", "-n", 12)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 12
    assert {line.split("\t")[0] for line in lines} >= {"a,b.png", "sub/ü.png", r"'new\nline.png'"}
    assert all("ypicality" in line.split("\t")[1] for line in lines)
    assert err.splitlines() == ["images: 12; 1 left out (1 empty_file)", "picked: 12 by typiclust"]


def test_lists_and_a_sheet(call: Any) -> None:
    code, out, err = call(
        "photos", "-n", 5, "-o", "l.txt", "--out", "deep/l.csv", "--out", "l.json", "--sheet", "s.html"
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "images: 12; 1 left out (1 empty_file)",
        "picked: 5 by typiclust",
        *(f"wrote {name}" for name in ("l.txt", "deep/l.csv", "l.json", "s.html")),
    ]
    names = Path("l.txt").read_text(encoding="utf-8").splitlines()
    with Path("deep/l.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tree = json.loads(Path("l.json").read_text(encoding="utf-8"))
    assert [json.loads(n) if n.startswith('"') else n for n in names] == [r["path"] for r in rows]
    assert [p["id"] for p in tree["picks"]] == [r["path"] for r in rows]
    assert Path("s.html").read_text(encoding="utf-8").count("data:image/jpeg") == 5
    # every list is a list of earlier picks
    for name in ("l.txt", "deep/l.csv", "l.json"):
        code, out, _ = call("photos", "--total", 8, "--already", name, "--json")
        facts = json.loads(out)
        assert (code, len(facts["picks"]), len(facts["already"])) == (0, 3, 5)
        assert not {p["id"] for p in facts["picks"]} & {r["path"] for r in rows}


def test_json_tells_everything(call: Any) -> None:
    Path("l.txt").write_text("0.png\nu.png\n", encoding="utf-8")
    code, out, err = call("photos", "-n", 2, "--already", "l.txt", "--json", "--seed", 3, "--out", "m.csv")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["problems"] == [{"id": "broken.png", "code": "empty_file", "message": facts["problems"][0]["message"]}]
    assert (facts["seed"], facts["pool"], facts["written"]) == (3, 12, ["m.csv"])
    assert facts["unknown"][0]["name"] == "u.png"
    assert facts["picks"][0]["facts"]["distance"] > 0


def test_unknown_earlier_picks_are_told(call: Any) -> None:
    Path("l.txt").write_text("".join(f"{i}.png\n" for i in range(30)) + "ü.png\n", encoding="utf-8")
    code, out, _ = call("photos", "-n", 2, "--already", "l.txt", "-o", "m.txt")
    assert code == 0
    assert "picked earlier: 9; 22 more names cannot be used:" in out
    assert "and 12 more; --json names them all" in out


def test_quiet_and_force(call: Any) -> None:
    assert call("photos", "-n", 2, "-q", "-o", "l.txt") == (0, "", "")
    before = Path("l.txt").read_text()
    code, out, err = call("photos", "-n", 3, "-o", "l.txt")
    assert (code, out) == (1, "")
    assert err == "error: l.txt is there already: give another name, or overwrite it with --force\n"
    assert Path("l.txt").read_text() == before
    assert call("photos", "-n", 3, "-q", "-o", "l.txt", "--force")[0] == 0
    assert len(Path("l.txt").read_text().splitlines()) == 3
    assert not list(Path().glob("*.partial"))


def test_changes_are_those_of_a_strategy(call: Any) -> None:
    for change in ("max_clusters=2", "select.max_clusters=2", "strategy.select.max_clusters=2"):
        code, _, err = call("photos", "-n", 3, change)
        assert (code, err.splitlines()[-1]) == (0, "picked: 3 by typiclust (select typiclust max_clusters=2)")
    code, _, err = call("photos", "-n", 9, "strategy=random", "per_group=1", "--group", "folder")
    assert err.splitlines()[-2:] == [
        "note: ended after 2 picks: the rules allow no more",
        "picked: 2 by random (per_group 1)",
    ]


def test_vectors_without_images(call: Any) -> None:
    write_vectors("v.parquet", ["x", "y", "z"], np.array([[0], [1], [9]], np.float32))
    Path("l.txt").write_text("x\n")
    code, out, _ = call(
        "--embeddings", "v.parquet", "-n", 1, "--strategy", "k_center", "--already", "l.txt", plainly=True
    )
    assert (code, out) == (0, "z\t9 away from the nearest labelled or picked image, x.\n")
    # a change in the place of the folder
    code, out, err = call("seed=1", "--embeddings", "v.parquet", "-n", 1, plainly=True)
    assert (code, err) == (1, "error: seed=1: expected a rule or an option of the strategy; write --seed 1\n")


def test_predictions_with_options(call: Any) -> None:
    names = [p.relative_to("photos").as_posix() for p in Path("photos").rglob("*.png") if p.stat().st_size]
    results = [{"image_id": names[0], "category_id": 0, "bbox": [0, 0, 3, 3], "score": 0.6}]
    Path("r.json").write_text(json.dumps(results))
    Path("classes.txt").write_text("cat\ndog\n")
    words = ("photos", "-n", 1, "--predictions", "r.json", "--classes", "classes.txt", "--sheet", "s.html")
    code, _, err = call(*words)
    assert (code, "predictions.absent=empty" in err) == (1, True)
    code, out, err = call(*words, "predictions.absent=empty", "empty=lowest")
    assert code == 0, err
    assert out.startswith(f"{names[0]}\t" if "\n" not in names[0] else "'")
    assert "1 box, the most doubtful first: cat 0.60." in out
    assert Path("s.html").read_text(encoding="utf-8").count("<rect class=") == 1


MISTAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "another suffix": (("-o", "l.xls"), ("l.xls", ".txt, .csv or .json")),
    "a sheet that is none": (("--sheet", "s.txt"), ("s.txt", ".html")),
    "out in a file": (("-o", "photos/0.png/l.txt"), ("photos/0.png", "found a file")),
    "out is a folder": (("-o", "folder.csv"), ("folder.csv", "found a folder")),
    "no list": (("--already", "none.txt"), ("none.txt", "found nothing there")),
    "a number as a change": (("n=4",), ("write -n 4",)),
    "a word of the model as a change": (("backbone=pixels",), ("write --backbone pixels",)),
    "a key of a run's configuration": (("model.weights=w.pth",), ("write --weights w.pth",)),
    "two strategies": (("--strategy", "random", "strategy=k_center"), ("write --strategy k_center",)),
    "no value": (("--option", "pad_type"), ("key=value", "'pad_type'")),
    "an unknown option": (("diversity=2",), ("strategy.select.diversity",)),
    "too many": (("--total", "99"), ("only 12 can be picked", "1 empty_file")),
    "no predictions": (("--predictions", "none.json"), ("none.json",)),
    "no classes": (("--classes", "none.txt", "--predictions", "r.json"), ("none.txt",)),
    "no weights": (("--backbone", "mobilenetv2_100", "--weights", "none.pth"), ("none.pth", "weights")),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_every_mistake_is_one_line(call: Any, what: str) -> None:
    words, parts = MISTAKES[what]
    Path("folder.csv").mkdir()
    amount = () if "--total" in words else ("-n", "2")
    common = ["--cache", "cache"] if "--backbone" in words else []
    code, out, err = call("photos", *amount, *words, *common, plainly=bool(common))
    assert (code, out) == (1, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    "words",
    [
        ("photos",),
        ("-n", "3"),
        ("photos", "-n", "0"),
        ("photos", "-n", "many"),
        ("photos", "-n", "3", "--seed", "-1"),
        ("--embeddings", "v.parquet", "-n", "1", "--sheet", "s.html"),
    ],
)
def test_wrong_usage_is_2(call: Any, words: tuple[str, ...]) -> None:
    code, _, err = call(*words)
    assert code == 2
    assert "Error: " in err


def test_a_folder_that_cannot_be_written(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode, **__: not mode & os.W_OK)
    code, _, err = call("photos", "-n", 2, "-o", "l.txt")
    assert code == 1
    assert "no permission" in err


def test_a_full_disk_leaves_nothing_half_written(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.write_text

    def full(self: Path, text: str, **words: Any) -> int:
        if "l.csv" in self.name:
            whole(self, text[:10], **words)
            raise OSError(28, "No space left on device")
        return whole(self, text, **words)

    monkeypatch.setattr(Path, "write_text", full)
    code, _, err = call("photos", "-n", 2, "-o", "l.csv", "-o", "l.txt")
    assert code == 1
    assert "cannot write l.csv: No space left on device" in err
    assert sorted(p.name for p in Path().glob("l.*")) == ["l.txt"]


def test_interrupted_while_it_embeds(work: Path) -> None:
    """Ctrl-C: exit code 3, nothing half-written, and what was computed is used again."""
    slow = Path("slow.py")
    slow.write_text(
        "import sys, time\n"
        "from labelwise import cli\n"
        "from labelwise.embedding import intake\n"
        "intake.BATCH = 2\n"
        "intake._KEPT_EVERY = 0\n"
        "whole = intake._Batches.add\n"
        "def add(self, sample, pixels):\n"
        "    whole(self, sample, pixels)\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(0.3)\n"
        "intake._Batches.add = add\n"
        "cli.main()\n"
    )
    words = [
        "pick",
        "photos",
        "-n",
        "3",
        "--backbone",
        "pixels",
        "--cache",
        "cache",
        "-o",
        "l.txt",
        "--sheet",
        "s.html",
    ]
    process = subprocess.Popen(
        [sys.executable, str(slow), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < 60
    assert process.returncode == 3, err
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert not list(Path().glob("l.*")) + list(Path().glob("s.*")) + list(Path().glob("*.partial"))
    kept = next(Path("cache").glob("*/keys.bin")).stat().st_size // 16
    assert kept >= 4
