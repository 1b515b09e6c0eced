"""The Ray engine on a cluster of two nodes: the local engine's rows and picks, whatever dies on the way."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from labelwise import api, catalog, config, testing
from labelwise.data.digits import make_digits, make_scenes
from labelwise.engine import crew
from labelwise.engine.local import Local
from labelwise.engine.ray import Ray
from labelwise.errors import ConfigError, DataError, RunError
from labelwise.results import open_run

# Ray leaves sockets and pipes of its processes to the garbage collector.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
OWN_MODEL = Path(__file__).parents[2] / "examples" / "own_model.py"
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one core each, and the address of the first."""
    pytest.importorskip("ray")
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    made.add_node(**NODE)
    yield made
    made.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def shared(cluster):
    made = Ray(address=cluster.address)
    yield made
    made.close()


@pytest.fixture
def engine(shared):
    """One engine for many tests: workers take seconds to begin."""
    return shared


@pytest.fixture
def alone(shared, cluster):
    """Gives further engines; the shared one is closed, since its workers hold the cores."""
    shared.close()
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(contextlib.closing(Ray(address=cluster.address, **options)))


def slow_squares(batch):
    time.sleep(0.15)
    return [(x * x, os.getpid()) for x in batch]


def make_slow_squares():
    return slow_squares


def squares_and_node(batch):
    import ray

    time.sleep(0.3)
    return [(x * x, ray.get_runtime_context().get_node_id()) for x in batch]


def make_squares_and_node():
    return squares_and_node


def dies(batch):
    if 3 in batch:
        os.kill(os.getpid(), signal.SIGKILL)
    return list(batch)


def make_dies():
    return dies


def opens(path, there, batch):
    if not there:
        Path(path).unlink(missing_ok=True)
    Path(path).read_text(encoding="utf-8")
    return list(batch)


def make_opens(path, there):
    return functools.partial(opens, path, there)


def test_it_keeps_the_rules_of_the_seam(alone):
    testing.check_engine(alone)


def test_both_nodes_work(engine):
    rows = list(engine.map_batches(make_squares_and_node, list(range(8)), batch_size=1))
    assert [row[0] for row in rows] == [x * x for x in range(8)]
    assert len({row[1] for row in rows}) == 2


def test_a_worker_that_is_killed_changes_no_row(engine):
    rows = []
    for row in engine.map_batches(make_slow_squares, list(range(30)), batch_size=2):
        rows.append(row)
        if len(rows) == 5:
            os.kill(row[1], signal.SIGKILL)
    assert [row[0] for row in rows] == [x * x for x in range(30)]
    assert rows[5:] == [] or rows[-1][1] != rows[4][1], "the one that was killed has done nothing since"
    assert len(engine._crew._members) == 2


def test_a_node_that_is_removed_changes_no_row(alone, cluster):
    node = cluster.add_node(**NODE)
    here = alone(workers=3)
    removed, rows = "", []
    try:
        for row in here.map_batches(make_squares_and_node, list(range(30)), batch_size=1):
            rows.append(row)
            if row[1] == node.node_id and not removed:
                removed = row[1]
                cluster.remove_node(node, allow_graceful=False)
        assert removed, "the third node has worked"
        assert [row[0] for row in rows] == [x * x for x in range(30)]
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


def test_a_batch_that_kills_every_worker_is_one_line(alone):
    rows = []
    found = alone(workers=1, retries=1).map_batches(make_dies, list(range(6)), batch_size=1)
    with pytest.raises(RunError, match=r"died 2 times .*run again to resume") as error:
        rows.extend(row for row in found)
    assert rows == [0, 1, 2]
    assert "\n" not in str(error.value)


def test_a_file_that_only_this_machine_has_is_told_with_the_node(tmp_path, engine, monkeypatch):
    file = tmp_path / "features.bin"
    with pytest.raises(FileNotFoundError):
        list(engine.map_batches(functools.partial(make_opens, str(file), False), [1], batch_size=1))
    # The node of this test has the same disk: what it does not see is made to be seen here only.
    monkeypatch.setattr(crew.Path, "exists", lambda path: True)
    with pytest.raises(RunError, match=r"worker on \S+ cannot see .*features\.bin.* share") as error:
        list(engine.map_batches(functools.partial(make_opens, str(file), False), [1], batch_size=1))
    assert "\n" not in str(error.value)


def test_more_than_the_cluster_has_is_one_line(alone, monkeypatch):
    monkeypatch.setattr(crew, "START_SECONDS", 1.0)
    greedy = alone(cpus=64.0)
    with pytest.raises(RunError, match=r"expected room for 64 CPUs on one node, found free .* of \d CPUs") as error:
        greedy.run(lambda: 1)
    assert "\n" not in str(error.value)


def test_what_the_main_script_or_a_plug_ins_file_defines_reaches_the_workers(tmp_path, engine):
    assert engine.run(lambda: 3) == 3
    file = tmp_path / "mine.py"
    file.write_text(
        "class Item:\n    def __init__(self, x):\n        self.x = x\n"
        "class Make:\n    def __call__(self):\n        return double\n"
        "def double(b):\n    return [Item(2 * i.x) for i in b]\n"
    )
    make = catalog.resolve("model", f"{file}:Make")()
    item = catalog.resolve("model", f"{file}:Item")
    found = list(engine.map_batches(make, [item(1), item(2), item(3)], batch_size=2))
    assert [i.x for i in found] == [2, 4, 6]


def test_rows_that_are_not_all_taken_leave_no_work_behind(engine):
    rows = engine.map_batches(make_slow_squares, list(range(100)), batch_size=1)
    assert next(rows)[0] == 0
    rows.close()
    began = time.monotonic()
    assert len(list(engine.map_batches(make_slow_squares, [1, 2], batch_size=1))) == 2
    assert time.monotonic() - began < 15


def test_closing_leaves_a_cluster_that_was_joined_and_other_engines_join_again(alone):
    one, two = alone(workers=1), alone(workers=1)
    assert one.run(lambda: 1) == 1
    assert two.run(lambda: 2) == 2
    one.close()
    assert two.run(lambda: 3) == 3
    two.close()
    assert one.run(lambda: 4) == 4


# --- runs -----------------------------------------------------------------------------------------------


def plan(folder, name, table, **changes):
    return {
        "name": name,
        "data": {"format": "csv_table", "path": str(table)},
        "model": {"name": "frozen", "backbone": "pixels", "size": 8},
        "budget": {"initial": 10, "per_round": 10, "rounds": 3},
        "strategy": "coral",
        "out": str(folder / "runs"),
        "cache": str(folder / f"cache-{name}"),
        "threads": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp("scenes"), count=150)


def state(folder):
    """What a run decided and found: picks with their reasons, answers and figures."""
    with sqlite3.connect(folder / "run.db") as database:
        queries = database.execute("SELECT * FROM queries ORDER BY id").fetchall()
        figures = database.execute("SELECT * FROM evaluations ORDER BY 1, 2, 3").fetchall()
    return queries, figures


def threads_in_a_job():
    import torch

    return torch.get_num_threads()


def test_a_job_has_the_threads_that_it_would_have_here(engine):
    import torch

    before = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert engine.run(threads_in_a_job) == count
    finally:
        torch.set_num_threads(before)


MODELS = {
    "pixels": {"name": "frozen", "backbone": "pixels", "size": 8},
    "network": {"name": "frozen", "backbone": "test_resnet", "weights": "none", "size": 32},
    "finetune": {"name": "finetune", "backbone": "test_resnet", "weights": "none", "size": 32, "epochs": 2},
    "plug-in": {"name": f"{OWN_MODEL}:NearestMean"},
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_run_has_the_picks_and_figures_of_a_local_one(kind, tmp_path, scenes, cluster, alone):
    told = []
    changes = {
        "model": MODELS[kind],
        "budget": {"initial": 10, "per_round": 10, "rounds": 3 if kind == "pixels" else 2},
    }
    local = api.run(plan(tmp_path, "local", scenes, **changes), report=False)
    far = plan(tmp_path, "far", scenes, engine={"name": "ray", "address": cluster.address}, **changes)
    ray = api.run(far, progress=lambda *message: told.append(message), report=False)
    assert state(ray.folder) == state(local.folder)
    assert len(state(ray.folder)[0]) == (30 if kind == "pixels" else 20)
    if kind == "finetune":
        assert (2, 2, "epochs") in told
    if kind == "network":
        assert [m for m in told if m[2] == "features"][-1][0] == 150


INSIDE = {
    "boxes": {
        "task": "detect",
        "model": {
            "name": "detector", "backbone": "mobilenetv2_035", "weights": "none", "size": 64, "channels": 32,
            "iterations": 3, "train_batch": 2,
        },
        "strategy": "box_entropy_sum",
        "budget": {"initial": 4, "per_round": 3, "rounds": 2},
    },
    "pixels": {
        "task": "segment",
        "model": {
            "name": "fpn", "backbone": "mobilenetv2_035", "weights": "none", "channels": 8, "iterations": 3,
            "train_batch": 2,
        },
        "strategy": "pixelpick",
        "budget": {"initial": 5, "per_round": 5, "rounds": 2, "per_image": True},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", INSIDE)
def test_boxes_and_pixels_are_picked_as_by_a_local_run(kind, tmp_path, cluster, alone):
    data = {
        "boxes": lambda: {"format": "coco", "path": str(testing.make_boxes(tmp_path / "data", 16)), "test": 0.25},
        "pixels": lambda: {
            "format": "image_masks", "path": str(testing.make_masks(tmp_path / "data", 12)), "test": 0.25,
        },
    }[kind]()  # fmt: skip
    runs = []
    for name, engine in (("local", "local"), ("far", {"name": "ray", "address": cluster.address})):
        changes = INSIDE[kind] | {"data": data, "engine": engine}
        runs.append(api.run(plan(tmp_path, name, tmp_path, **changes), report=False))
    assert state(runs[1].folder) == state(runs[0].folder)
    assert len(state(runs[0].folder)[0]) > 0


def test_simulating_gives_the_figures_of_local_runs(tmp_path, scenes, cluster, alone):
    local = api.simulate(plan(tmp_path, "local", scenes), ["coral", "random"], seeds=2)
    far = plan(tmp_path, "far", scenes, engine={"name": "ray", "address": cluster.address})
    ray = api.simulate(far, ["coral", "random"], seeds=2)
    assert ray.arms.keys() == local.arms.keys()
    for arm in ("coral-00", "coral-01", "random-00", "random-01"):
        assert state(tmp_path / "runs" / "far" / arm) == state(tmp_path / "runs" / "local" / arm)
        assert config.load(tmp_path / "runs" / "far" / arm).engine.name == "local"
    with pytest.raises(ConfigError, match=r"set engine\.workers"):
        api.simulate(far, ["random"], seeds=1, workers=2)


def test_images_that_are_gone_are_one_line(tmp_path, cluster, alone):
    digits = make_digits(tmp_path / "digits")
    tree = plan(tmp_path, "gone", digits, model=MODELS["finetune"], engine={"name": "ray", "address": cluster.address})
    tree["data"] = {"format": "class_folders", "path": str(digits), "on_duplicate": "keep"}
    api.run(tree, rounds=0, report=False)
    shutil.rmtree(digits)
    with pytest.raises(DataError, match="could be read before, but not now") as error:
        api.run(tree, report=False)
    assert "\n" not in str(error.value)
    assert open_run(tmp_path / "runs" / "gone").rounds == []


# --- without a cluster ----------------------------------------------------------------------------------


def test_an_engine_of_its_own_is_started_on_this_machine_only_and_ended(tmp_path):
    """In a process of its own: this one has joined the cluster of the other tests."""
    import json
    import subprocess
    import sys

    script = tmp_path / "own.py"
    script.write_text(
        "import json, signal\n"
        "from labelwise.engine.ray import Ray\n"
        "def work(batch):\n    return [2 * x for x in batch]\n"
        "def make():\n    return work\n"
        "if __name__ == '__main__':\n"
        "    before = signal.getsignal(signal.SIGTERM)\n"
        "    engine = Ray(workers=2)\n"
        "    rows = list(engine.map_batches(make, [1, 2, 3], batch_size=1))\n"
        "    import ray\n"
        "    nodes = [n['NodeManagerAddress'] for n in ray.nodes()]\n"
        "    engine.close()\n"
        "    kept = signal.getsignal(signal.SIGTERM) is before\n"
        "    print(json.dumps([rows, nodes, ray.is_initialized(), kept]))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
    environment["HOME"] = str(tmp_path)  # Ray keeps the password of a cluster it starts there
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=90)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[2, 4, 6], ["127.0.0.1"], False, True]
    assert done.stderr == ""


def test_no_cluster_at_the_address_is_one_line():
    import subprocess
    import sys

    code = (
        "from labelwise.engine.ray import Ray\n"
        "try:\n    Ray(address='127.0.0.1:1').run(int)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("RunError no Ray cluster can be joined at '127.0.0.1:1'"), done.stdout + done.stderr
    assert done.stdout.count("\n") == 1


def test_a_copy_has_the_options_only(engine):
    copy = pickle.loads(pickle.dumps(engine))
    assert copy == engine
    assert copy._crew is None
    assert pickle.loads(pickle.dumps(Local(2))) == Local(2)
