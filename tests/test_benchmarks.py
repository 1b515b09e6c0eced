"""What benchmarks decide by themselves: the proof of a farthest-first run, and the bookkeeping of long runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.selection import k_center

TURN = Path(__file__).parent.parent / "benchmarks" / "contestants" / "turn.py"


@pytest.fixture
def turn(monkeypatch):
    monkeypatch.syspath_prepend(TURN.parent.parent)
    spec = importlib.util.spec_from_file_location("turn", TURN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_proof_of_k_centre(turn):
    x = np.random.default_rng(0).normal(size=(3000, 24)).astype(np.float32)
    picks = [0, *k_center(300, np.arange(1, 3000), np.array([0]), x).rows.tolist()]
    assert turn.excess(x, picks) < 1e-5
    assert turn.excess(x, picks, rows=64) < 1e-5
    others = np.setdiff1d(np.arange(3000), picks)
    for at in (1, 150, 300):
        wrong = [*picks[:at], int(others[0]), *picks[at + 1 :]]
        assert turn.excess(x, wrong) > 1e-4


@pytest.fixture
def camvid(monkeypatch):
    monkeypatch.syspath_prepend(TURN.parent.parent)
    spec = importlib.util.spec_from_file_location("camvid", TURN.parent.parent / "camvid.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "camvid", module)
    spec.loader.exec_module(module)
    return module


def made_camvid(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, number in (("train", 9), ("test", 5)):
        for kind in ("images", "masks"):
            (folder / "camvid" / kind / split).mkdir(parents=True)
        for i in range(number):
            mask = rng.integers(0, 11, (12, 16)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
            mask[:3] = 255
            picture = np.stack([mask * 20, 255 - mask * 20, mask], axis=-1)
            Image.fromarray(picture).save(folder / "camvid" / "images" / split / f"{i}.jpg")
            Image.fromarray(mask).save(folder / "camvid" / "masks" / split / f"{i}.png")
    (folder / "camvid" / "classes.txt").write_text("\n".join(f"class {i}" for i in range(11)))
    return folder


def run_camvid(camvid, capsys, monkeypatch, *words: str) -> str:
    monkeypatch.setattr("sys.argv", ["camvid.py", "--quick", *words])
    camvid.main()
    return capsys.readouterr().out


@pytest.mark.slow
def test_camvid_is_continued_and_says_what_is_missing(camvid, tmp_path, capsys, monkeypatch):
    words = ["--data", str(made_camvid(tmp_path)), "--out", str(tmp_path / "runs")]
    monkeypatch.setattr(camvid, "write_table", lambda *_: pytest.fail("a quick run is not documented"))
    few = run_camvid(camvid, capsys, monkeypatch, *words, "--arms", "random,pixelpick", "--budgets", "10")
    few += run_camvid(camvid, capsys, monkeypatch, *words, "--arms", "random,pixelpick", "--budgets", "20")
    assert "| 20 pixels an image | pixelpick |" in few
    assert "| 10 pixels an image | random |" in few, "the smaller budget of the same run"
    assert "not there yet: full all of seed 0" in few
    assert "random_region 1 % of seed 0" in few
    assert few.count("as that of random") == 1
    alone = [*words[:3], str(tmp_path / "alone"), "--arms", "pixelpick", "--budgets", "20"]
    assert "as that of" not in run_camvid(camvid, capsys, monkeypatch, *alone)
    first, second = (camvid.open_run(tmp_path / f / "pixelpick-0") for f in ("runs", "alone"))
    assert first.evaluations == second.evaluations, "a first round taken over is the one that would have been done"
    assert first.picks(1) == second.picks(1)
    databases = {f: f.read_bytes() for f in (tmp_path / "runs").glob("*/run.db")}
    assert sorted(f.parent.name for f in databases) == ["pixelpick-0", "random-0"]
    again = run_camvid(camvid, capsys, monkeypatch, *words, "--arms", "random,full", "--budgets", "10,all")
    assert "all pixels" in again
    assert "full 10" not in again
    assert all(f.read_bytes() == content for f, content in databases.items()), "nothing is done twice"
    seen = camvid.open_run(tmp_path / "runs" / "pixelpick-0")
    assert [seen.labels(r) for r in seen.rounds] == [80, 160]


def test_camvid_refuses_unknown_names_and_missing_data(camvid, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["camvid.py", "--arms", "random,nonsense"])
    with pytest.raises(SystemExit):
        camvid.main()
    assert "found 'nonsense'" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["camvid.py", "--data", str(tmp_path), "--out", str(tmp_path / "runs")])
    with pytest.raises(SystemExit, match="expected CamVid's pictures"):
        camvid.main()


def test_the_table_of_camvid_is_paired_by_seed(camvid):
    values = {("full", "all"): (0.5, 0.6), ("random", "20"): (0.4, 0.54), ("pixelpick", "20"): (0.45,)}
    found = {camvid.Job(b, s, a): v for (a, b), each in values.items() for s, v in enumerate(each)}
    rows = camvid.lines(found)[2:]
    assert rows[0] == "| all pixels |  | 0.550 ± 0.071 |  |  | 2 |"
    assert rows[1] == "| 20 pixels an image | random | 0.470 ± 0.099 | 85.0% |  | 2 |"
    assert rows[2] == "| 20 pixels an image | pixelpick | 0.450 | 90.0% | +0.050 | 1 |"
    assert len(rows) == 3


@pytest.mark.slow
def test_the_query_pass_is_compared_with_the_forward_pass(camvid, monkeypatch):
    from contestants import query_pass

    monkeypatch.setattr(query_pass, "SIZE", (64, 48))
    lines, note, figures = query_pass.compare(3, 1)
    turns = {int(name.rpartition(", ")[2].split()[0]) for name in figures["times"]}  # numbers of threads
    assert 1 in turns
    assert len(lines) == 2 + len(turns) * (1 + len(query_pass.STRATEGIES))
    assert figures["times"]["bare forward pass, 1 threads"] == 1
    assert all(figures["times"][f"{name}, 1 threads"] > 0 for name in query_pass.STRATEGIES)
    assert "3 pictures of 64 x 48" in note
