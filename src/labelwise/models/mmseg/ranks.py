"""One round's training in several processes of this machine, one for each device, which learn one network together.

python -m labelwise.models.mmseg.ranks     (one rank; see labelwise.engine.children)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from labelwise import mmlab
from labelwise.engine import children
from labelwise.errors import LabelwiseError, ModelError
from labelwise.models import Progress
from labelwise.models.mmseg.rounds import LOGS, Round, train_round

MEETING = "meeting"  # the file by which ranks find each other


@dataclass(frozen=True)
class Rank:
    """What one process is given: the configuration and its options, the round, and which of how many it is."""

    config: Path
    options: Mapping[str, Any]
    round: Round
    number: int
    of: int


def train_on_ranks(
    config: Path, options: Mapping[str, Any], round: Round, processes: int, threads: int, progress: Progress
) -> None:
    """Train a round as `train_round` does, in so many processes; the first of them writes what is kept.

    ``threads`` are those of all together. Raises ModelError with one line if one fails; none is left over.
    """
    devices = torch.cuda.device_count()
    if 0 < devices < processes:
        raise ModelError(f"model.processes={processes}: expected a GPU for each, found {devices}; give {devices}")
    folder = round.out / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MEETING).unlink(missing_ok=True)
    here = "lo0" if sys.platform == "darwin" else "lo"
    variables = {
        "GLOO_SOCKET_IFNAME": here,
        "NCCL_SOCKET_IFNAME": here,
        "OMP_NUM_THREADS": str(max(1, threads // processes)),
    }
    ranks = [
        children.Child(
            "labelwise.models.mmseg.ranks",
            folder / f"rank{number}.txt",
            Rank(config, options, round, number, processes),
            {**variables, "LOCAL_RANK": str(number)},
        )
        for number in range(processes)
    ]
    children.work(ranks, lambda told: progress(told["done"], told["total"], told["what"]), "a rank of the training")
    (folder / MEETING).unlink(missing_ok=True)


def main() -> int:
    """Train as one rank; 1 if it failed, with one line why."""
    rank, out = children.begin()
    try:
        _train(rank, out)
    except LabelwiseError as error:
        children.tell(out, failed=str(error))
        return 1
    return 0


def _train(rank: Rank, out: IO[str]) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(rank.number)
    torch.distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        init_method=(rank.round.out.resolve() / LOGS / MEETING).as_uri(),
        rank=rank.number,
        world_size=rank.of,
    )

    def progress(done: int, total: int, what: str) -> None:
        if rank.number == 0:
            children.tell(out, done=done, total=total, what=what)

    train_round(mmlab.load_config(rank.config, rank.options), rank.round, progress)
    torch.distributed.barrier()  # nobody leaves while another still asks it
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads of loaders and of the group do not keep it
