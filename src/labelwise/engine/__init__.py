"""Where work runs. An engine has two ways: map batches of items, and run one long job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Work = Callable[[Sequence[Any]], list[Any]]


class Engine(Protocol):
    """The seam between the loop and the machine; see `labelwise.engine.local` for the default."""

    def map_batches(
        self, make: Callable[[], Work], items: Sequence[Any], *, batch_size: int, gpus: float = 0
    ) -> Iterator[Any]:
        """Rows for all items, in the order of the items.

        ``make()`` is called once in each worker and gives the function that turns a batch of items into a list of rows;
        ``make`` and ``items`` must be picklable where the engine has workers.
        """
        ...

    def run(self, job: Callable[[], Any], *, gpus: float = 0) -> Any:
        """The result of one long job."""
        ...

    def close(self) -> None:
        """End what was started; the engine can be used again."""
        ...
