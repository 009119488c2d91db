"""Images through a network, batch by batch, on any number of processes, with all results in order.

The images are taken as they are needed, so that there may be any number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from accelerate.utils import gather_object
from torch.utils.data import Dataset

from hlcli.data.loader_processes import loading, make_loader
from hlcli.launching import Processes
from hlcli.library_errors import as_ours
from hlcli.profiling import each

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


def in_order(
    items: Iterable[Item],
    load: Callable[[Item], Loaded],
    work: Callable[[list[Loaded]], list[Result]],
    processes: Processes,
    *,
    batch_size: int,
    workers: int,
) -> Iterator[Result]:
    """One result per item; several processes share the work, and each gets all results.

    Args:
        items: the same for every process.
        load: makes of an item what is worked on, in loader processes where there are any.
        work: a batch of at least one loaded item to as many results.
        processes: who shares the work.
        batch_size: items per step. Batches are the same for any number of processes.
        workers: loader processes per process.

    Raises:
        LostProcessError: when a loader process dies or hangs.
    """
    own = _own_batches(items, batch_size, processes)
    loader = make_loader(_Loads(load), own, workers=workers, device=torch.device("cpu"), collate=list)
    with as_ours(), loading(loader) as batches:
        for batch in each(batches, "data"):
            found = [work(batch) if batch else []]
            for results in gather_object(found) if processes.num_processes > 1 else found:
                yield from results


def check_at_least(least: int, **given: int | None) -> None:
    """Refuse arguments that are smaller; None is nobody's choice.

    Raises:
        ValueError: naming the first one.
    """
    for name, number in given.items():
        if number is not None and number < least:
            raise ValueError(f"Expected argument `{name}` to be at least {least}, but got {number}.")


@dataclass(frozen=True)
class _Loads(Dataset):
    """A data set whose rows are called by the items themselves, not by numbers."""

    load: Callable[[Any], Any]

    def __getitem__(self, item: Any) -> Any:
        return self.load(item)


def _own_batches(items: Iterable[Item], batch_size: int, processes: Processes) -> Iterator[list[Item]]:
    """This process's batches, one for each round in which any process has one; there it may be empty."""
    rest = iter(items)
    while batches := list(islice(_batches(rest, batch_size), processes.num_processes)):
        yield batches[processes.process_index] if processes.process_index < len(batches) else []


def _batches(items: Iterator[Item], batch_size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, batch_size)):
        yield batch
