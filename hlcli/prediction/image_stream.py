"""A data set through a network, batch by batch, on any number of processes, with all results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from accelerate.utils import gather_object
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from accelerate import Accelerator

Result = TypeVar("Result")


def in_order(
    rows: Dataset,
    work: Callable[[list[Any]], list[Result]],
    accelerator: Accelerator,
    *,
    batch_size: int,
    workers: int,
    start: int = 0,
) -> Iterator[Result]:
    """One result per row; several processes share the work, and each gets all results.

    Args:
        rows: has a length, and gives items by number.
        work: a batch of items to as many results.
        accelerator: the processes.
        batch_size: rows per step. Batches are the same for any number of processes.
        workers: loader processes per process.
        start: rows before this one are left out.
    """
    count = len(rows)  # type: ignore[arg-type]
    batches = [range(first, min(first + batch_size, count)) for first in range(start, count, batch_size)]
    own = batches[accelerator.process_index :: accelerator.num_processes]
    loader = DataLoader(
        rows,
        batch_sampler=own,  # type: ignore[arg-type]
        collate_fn=list,
        num_workers=workers,
        timeout=600 if workers else 0,  # a loader process that hangs must not hang everybody for ever
    )
    results = map(work, loader)
    for _ in range(0, len(batches), accelerator.num_processes):
        found = [next(results, [])]
        for batch in gather_object(found) if accelerator.num_processes > 1 else found:
            yield from batch
