"""Training by mmsegmentation in two processes: one network, begun alike on both, kept once, and nothing left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from labelwise import api
from labelwise.errors import ModelError
from labelwise.models import Place, Plan
from labelwise.models.mmseg import MMSeg
from labelwise.records import Labelled, Sample, Target
from labelwise.testing import quiet

pytestmark = [pytest.mark.mmseg, pytest.mark.filterwarnings("ignore")]

Write = Callable[..., Path]
# Each rank writes what its network is at the beginning and the end, which pictures it saw, and its process.
DIARY = """
import hashlib, json, os
from pathlib import Path
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
PLACE = Path(__file__).parent / "diary"
@HOOKS.register_module(force=True)
class Diary(Hook):
    def note(self, runner, **what):
        rank, of = get_dist_info()
        PLACE.mkdir(exist_ok=True)
        with (PLACE / f"{runner.round.plan.round}-{rank}.jsonl").open("a") as file:
            file.write(json.dumps({"of": of, "pid": os.getpid(), **what}) + "\\n")
    def digest(self, runner):
        network = runner.model.module if is_model_wrapper(runner.model) else runner.model
        known = hashlib.sha256()
        for name, value in sorted(network.state_dict().items()):
            if "running" not in name and "tracked" not in name:
                known.update(value.cpu().numpy().tobytes())
        return known.hexdigest()
    def before_train(self, runner):
        self.note(runner, begins=self.digest(runner), momentum=len(runner.optim_wrapper.optimizer.state))
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.note(runner, saw=[Path(s.img_path).name for s in data_batch["data_samples"]])
        if (PLACE.parent / "fail").exists() and get_dist_info()[0] == 1:
            raise ValueError("rank one has had enough")
    def after_train(self, runner):
        self.note(runner, ends=self.digest(runner))
"""


@pytest.fixture
def diary(mmseg_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """A configuration whose ranks keep a diary, and what reads it: round, rank -> entries."""
    (tmp_path / "diary_of_ranks.py").write_text(DIARY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = mmseg_config(
        "custom_imports = dict(imports=['diary_of_ranks'], allow_failed_imports=False)",
        "custom_hooks = [dict(type='Diary')]",
    )

    def read(round: int, rank: int) -> list[dict[str, Any]]:
        lines = (tmp_path / "diary" / f"{round}-{rank}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return path, read


@pytest.fixture
def labelled(diary: Any, tmp_path: Path) -> list[Labelled]:
    rng = np.random.default_rng(0)
    items = []
    for i in range(6):
        xy = np.stack([rng.permutation(48)[:9], rng.integers(0, 32, 9)], axis=1)
        target = Target(("red", "green", "blue"), xy, np.arange(9) % 3)
        place = tmp_path / "data" / "images" / f"{i:03d}.png"
        items.append(Labelled(Sample(f"images/{i:03d}.png", place, size=(48, 32)), target))
    return items


def learn(model: MMSeg, items: list[Labelled], out: Path, round: int = 0, start: Path | None = None) -> Path:
    model.prepare([], [], place=Place(out.parent / "home", out.parent / "home", 2), progress=quiet)
    plan = Plan(("blue", "red", "green"), round)
    return model.fit(items, [], out=out, start=start, plan=plan, seed=5, progress=quiet)


def over(read: Any, round: int) -> bool:
    """True once no process of a round's ranks is there any more."""
    for _ in range(200):
        left = 0
        for rank in (0, 1):
            try:
                os.kill(read(round, rank)[0]["pid"], 0)
                left += 1
            except ProcessLookupError:
                pass
        if not left:
            return True
        time.sleep(0.1)
    return False


def test_both_ranks_begin_with_the_last_rounds_network_and_end_with_one(
    diary: Any, labelled: list[Labelled], tmp_path: Path
) -> None:
    path, read = diary
    (tmp_path / "home").mkdir()
    model = MMSeg(path, processes=2, start="continue", length=[3, 3])
    first = learn(model, labelled, tmp_path / "first")
    learn(model, labelled, tmp_path / "second", 1, first)
    for round in (0, 1):
        one, two = read(round, 0), read(round, 1)
        assert one[0]["of"] == two[0]["of"] == 2
        assert one[0]["begins"] == two[0]["begins"]
        assert one[-1]["ends"] == two[-1]["ends"] != one[0]["begins"]
        seen = [[name for entry in rank for name in entry.get("saw", ())] for rank in (one, two)]
        assert [len(names) for names in seen] == [12, 12], "three batches of four on each"
        assert seen[0] != seen[1], "each has its own part of the pictures"
        assert over(read, round)
    assert read(1, 0)[0]["begins"] == read(0, 0)[-1]["ends"], "the second round goes on with the first one's network"
    assert read(1, 0)[0]["momentum"] == read(1, 1)[0]["momentum"] > 0, "and with its optimiser"
    known = json.loads((first / "training.json").read_text())
    assert known["iter"] == 3
    assert not list(tmp_path.glob("*/mmengine/meeting"))
    found = list(model.predict(first, [x.sample for x in labelled], want=frozenset({"probs"})))
    assert found[0].probs is not None
    assert found[0].probs.shape == (32, 48, 3)


def test_a_run_in_two_processes_is_the_same_every_time(diary: Any, tmp_path: Path) -> None:
    path, _ = diary
    results = [
        api.run(path, ["model.processes=2", f"work_dir={tmp_path / name}"], report=False) for name in ("one", "two")
    ]
    networks = [load_file(r.folder / "rounds/001/checkpoint/network.safetensors") for r in results]
    assert all(np.array_equal(networks[0][name], networks[1][name]) for name in networks[0])
    picks = [[(q.sample_id, q.geometry.tolist()) for q in r.queries[1] if q.geometry is not None] for r in results]
    assert picks[0] == picks[1]


def test_a_rank_that_fails_ends_the_training_in_one_line(diary: Any, labelled: list[Labelled], tmp_path: Path) -> None:
    path, read = diary
    (tmp_path / "home").mkdir()
    (tmp_path / "fail").touch()
    with pytest.raises(ModelError, match="the training by mmsegmentation failed: ValueError: rank one has had enough"):
        learn(MMSeg(path, processes=2, length=50), labelled, tmp_path / "first")
    assert over(read, 0)
    assert not (tmp_path / "first" / "network.safetensors").exists()


@pytest.mark.slow
def test_a_run_killed_in_training_leaves_no_rank_and_goes_on(diary: Any, tmp_path: Path) -> None:
    path, read = diary
    changes = ["model.processes=2", f"work_dir={tmp_path / 'killed'}"]
    code = f"from labelwise import api; api.run({str(path)!r}, {changes!r}, report=False)"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=variables)
    try:
        for _ in range(1200):
            if (tmp_path / "diary" / "0-1.jsonl").exists():
                break
            time.sleep(0.05)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert over(read, 0)
    result = api.run(path, changes, report=False)
    whole = api.run(path, ["model.processes=2", f"work_dir={tmp_path / 'whole'}"], report=False)
    assert result.state == "finished"
    assert json.dumps(result.evaluations["test"], default=np.ndarray.tolist) == json.dumps(
        whole.evaluations["test"], default=np.ndarray.tolist
    )
