"""Loader processes: begun with a loader, ended in order, quiet about what is their parent's to say."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader, Dataset

from hlcli.data.loader import collate
from hlcli.errors import DataError
from hlcli.interrupts import leave_to_parent
from hlcli.profiling import each


def make_loader(
    dataset: Dataset,
    batches: object,
    *,
    workers: int,
    device: torch.device,
    collate: Callable[[Any], Any] = collate,
) -> DataLoader:
    """A loader over ready lists of keys. Its own generator leaves the run's random state alone.

    Args:
        dataset: gives the item of a key.
        batches: the keys of each batch.
        workers: processes that load; 0 for this one.
        device: where batches go.
        collate: makes a batch of items, or hands on the first error among them.
    """
    loader: DataLoader = DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=_begin,
        generator=torch.Generator().manual_seed(0),
        timeout=600 if workers else 0,
    )
    _loaders.add(loader)
    Finalize(loader, _end_loaders, (WeakSet([loader]),), exitpriority=20)  # in processes of multiprocessing itself
    return loader


def batches(loader: DataLoader) -> Iterator[Any]:
    """The loader's batches.

    Raises:
        DataError: when an image could not be decoded; the message names it and its row.
    """
    try:
        for batch in each(loader, "data"):
            if isinstance(batch, DataError):
                raise batch
            yield batch
    except (DataError, RuntimeError):
        _end_loaders([loader])
        raise


@contextmanager
def loading(loader: DataLoader) -> Iterator[Iterator[Any]]:
    """The loader's batches; its processes end with the block."""
    iterator = iter(loader)
    try:
        yield iterator
    finally:
        _end_workers(iterator)


def _begin(worker: int) -> None:
    """In a loader process: stops are the parent's, and so is what is said when it has gone meanwhile."""
    leave_to_parent(worker)
    sys.excepthook = _say_unless_alone


def _say_unless_alone(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What a loader process says of an error in the thread that hands batches over: nothing of a broken connection."""
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _end_workers(iterator: object) -> None:
    """End the processes of a loader's iterator in order: left to the garbage collector, each would hold it up for five
    seconds. Torch has no public way; where it has lost this one, that is all that happens."""
    if end := getattr(iterator, "_shutdown_workers", None):
        end()
    for worker in getattr(iterator, "_workers", ()):
        worker.kill()  # one that is stuck in an image, and leaves other signals to this process


def _end_loaders(loaders: Iterable[DataLoader]) -> None:
    for loader in list(loaders):
        if (iterator := getattr(loader, "_iterator", None)) is not None:  # None where this process loads
            _end_workers(iterator)
            loader._iterator = None


_loaders: WeakSet[DataLoader] = WeakSet()
atexit.register(_end_loaders, _loaders)  # multiprocessing would end them by what they ignore, and wait without end
