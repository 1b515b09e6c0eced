"""Where work runs. An engine has two ways: map batches of items, and run one long job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

Work = Callable[[Sequence[Any]], Iterable[Any]]
# progress(done, total, what): called now and then during long work
Progress = Callable[[int, int, str], None]


class Engine(Protocol):
    """The seam between the loop and the machine; see `labelwise.engine.local` for the default.

    An engine can be pickled: its copy has the same options and nothing under way.
    """

    def map_batches(
        self, make: Callable[[], Work], items: Sequence[Any], *, batch_size: int, gpus: float = 0
    ) -> Iterator[Any]:
        """Rows for all items, in the order of the items.

        ``make()`` is called once in each worker and gives the function that turns a batch of items into its rows;
        ``make`` and ``items`` must be picklable where the engine has workers. Work may be done again after a worker
        died: it must give the same rows, and what it writes must be whole or not there.
        """
        ...

    def run(self, job: Callable[..., Any], *, gpus: float = 0, progress: Progress | None = None) -> Any:
        """The result of one long job, ``job()``; with ``progress`` it is ``job(progress=...)``, wherever it runs."""
        ...

    def close(self) -> None:
        """End what was started; the engine can be used again."""
        ...
