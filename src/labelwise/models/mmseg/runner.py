"""mmengine's runner as one round of training has it: in a process not its own, or as one rank of several."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import torch
from mmengine import dist
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.runner import Runner
from safetensors.torch import load_file

from labelwise.errors import ModelError
from labelwise.models import Progress
from labelwise.models.mmseg import state
from labelwise.models.mmseg.watch import single

if TYPE_CHECKING:
    from labelwise.models.mmseg.rounds import Round


class RoundRunner(Runner):  # type: ignore[misc]
    """A runner that trains one round in a process that is not its own, or as one rank of several."""

    round: Round

    def setup_env(self, env_cfg: Mapping[str, Any]) -> None:
        """Only name the moment: how processes start and how many files they open stays as it is."""
        self._rank, self._world_size = dist.get_dist_info()
        moment = torch.tensor(time.time(), dtype=torch.float64)
        dist.broadcast(moment)
        self._timestamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(moment.item()))

    def build_logger(self, *args: Any, **options: Any) -> Any:
        """A logger that writes to its file, not to the terminal."""
        logger = super().build_logger(*args, **options)
        for handler in [h for h in logger.handlers if not hasattr(h, "baseFilename")]:
            logger.removeHandler(handler)
        return logger

    def build_model(self, model: Any) -> Any:
        """The network, with plain batch normalisation unless several GPUs train."""
        built = super().build_model(model)
        return built if self.distributed and torch.cuda.is_available() else revert_sync_batchnorm(built)

    def wrap_model(self, wrapper: Any, model: Any) -> Any:
        """The network as one of several ranks has it, on whatever device; else as it is."""
        if not self.distributed:
            return super().wrap_model(wrapper, model)
        unused = bool(self.cfg.get("find_unused_parameters", False)) or self.round.stage != "both"
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else None
        return MMDistributedDataParallel(
            model.to(get_device()), device_ids=devices, broadcast_buffers=False, find_unused_parameters=unused
        )

    def _init_model_weights(self) -> None:
        if self.round.start is None and self.round.weights is None:
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Take over the last round's network, and its optimiser and schedule where the training goes on."""
        begin = self.round.start or self.round.weights
        if begin is None:
            with redirect_stdout(io.StringIO()):  # it tells what it loads
                super().load_or_resume()
            return
        single(self.model).load_state_dict(load_file(begin / "network.safetensors"))
        if self.round.goes_on and self.round.start is not None:
            state.restore(self, self.round.start)


class Follow(Hook):  # type: ignore[misc]
    """Tells how far the training is, and stops it when the loss is no number."""

    def __init__(self, progress: Progress, begin: int, what: str) -> None:
        self.progress, self.begin, self.what = progress, begin, what

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Called by the runner."""
        loss = (outputs or {}).get("loss")
        if loss is not None and not bool(torch.isfinite(torch.as_tensor(loss))):
            raise ModelError(f"the training loss is not finite in iteration {runner.iter + 1}: lower the learning rate")
        begin = min(self.begin, runner.iter)
        self.progress(runner.iter + 1 - begin, runner.max_iters - begin, self.what)
