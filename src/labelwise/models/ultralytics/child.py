"""The process that ultralytics works in: it changes random states, environment and libraries, so it has one to itself.

python -m labelwise.models.ultralytics.child     (see labelwise.engine.children)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

from labelwise.engine import children
from labelwise.errors import LabelwiseError, ModelError
from labelwise.models.ultralytics.networks import build, fill, write
from labelwise.models.ultralytics.quiet import load, switch_off


def main() -> int:
    """Do the job, telling the progress as JSON lines; 1 if it failed, with one line why."""
    (job, home), out = children.begin()
    try:
        switch_off(home)
        {"take_over": _take_over, "train": _train}[job["job"]](job, home, out)
    except LabelwiseError as error:
        return _fail(out, str(error))
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0][:300]
        import traceback

        traceback.print_exc()
        return _fail(out, f"ultralytics: {type(error).__name__}: {line}")
    return 0


def _fail(out: IO[str], line: str) -> int:
    children.tell(out, failed=line)
    return 1


def _take_over(job: dict[str, Any], home: Path, out: IO[str]) -> None:
    """A .pt file or a yaml becomes arrays and JSON."""
    tasks = load("ultralytics.nn.tasks", home)
    weights = str(job["weights"])
    if weights.endswith((".yaml", ".yml")):
        import torch

        torch.manual_seed(0)
        try:
            description = tasks.yaml_model_load(weights)
        except Exception as error:
            raise ModelError(f"model.weights: ultralytics has no {weights!r} ({error}); give a path") from error
        names = [f"class {i}" for i in range(int(description.get("nc", 1)))]
        network = build(description, len(names), home)
    else:
        network = _opened(Path(weights), home)
        description = network.yaml
        names = list(network.names.values() if isinstance(network.names, dict) else network.names)
        # A new one has all arrays under names of this version, and refuses what is no detector.
        fresh = build(description, len(names), home)
        fresh.load_state_dict(network.state_dict())
        network = fresh
    write(network, Path(job["out"]), {"classes": names, "yaml": _plain(description), "weights": weights})


def _opened(file: Path, home: Path) -> Any:
    """The network in a .pt file, which is a pickle: only this process, which ends soon, ever opens one."""
    tasks = load("ultralytics.nn.tasks", home)
    opened = tasks.load_checkpoint if hasattr(tasks, "load_checkpoint") else tasks.attempt_load_one_weight
    return opened(str(file))[0].float().cpu()


def _train(job: dict[str, Any], home: Path, out: IO[str]) -> None:
    """Train from one checkpoint to the next."""
    import torch

    _keep_to_itself(home)
    trainers = load("ultralytics.models.yolo.detect", home)
    begin, work, classes = Path(job["begin"]), Path(job["work"]), tuple(job["classes"])
    about = json.loads((begin / "about.json").read_text(encoding="utf-8"))
    torch.manual_seed(job["settings"]["seed"])
    network = build(about["yaml"], len(classes), home)
    fill(network, begin, classes)
    settings = {"plots": False, "verbose": False, "val": job["validate"], **job["settings"]}
    fixed = {"model": "yolo.yaml", "data": str(work / "data" / "data.yaml"), "project": str(work), "name": "run"}
    trainer = trainers.DetectionTrainer(overrides={**settings, **fixed, "exist_ok": True, "save": True})
    trainer.model = network
    trainer.add_callback("on_train_epoch_end", lambda t: children.tell(out, done=t.epoch + 1, total=t.epochs))
    trainer.train()
    best = trainer.best if job["validate"] and trainer.best.exists() else trainer.last
    learnt = _opened(best, home)  # a file that this process has just written
    trained = {"classes": classes, "yaml": about["yaml"], "weights": about["weights"], "trained": True}
    write(learnt, Path(job["out"]), {**trained, "epochs": trainer.epoch + 1})


def _keep_to_itself(home: Path) -> None:
    """No callbacks that send or log elsewhere, and no download of another network to try half precision with."""
    load("ultralytics.utils.callbacks", home).add_integration_callbacks = lambda instance: None
    load("ultralytics.engine.trainer", home).check_amp = lambda model: True


def _plain(description: Any) -> Any:
    return json.loads(json.dumps(description, default=str))


if __name__ == "__main__":
    sys.exit(main())
