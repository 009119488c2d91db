"""How images are shared between processes: every one is somebody's, and all processes have as many rounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hlcli.prediction import image_stream


@pytest.mark.parametrize("count", [0, 1, 4, 5, 12, 13, 29])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_rounds_are_the_same_for_all_processes(count: int, processes: int, monkeypatch: pytest.MonkeyPatch):
    """Each process works in turn up to where it would wait for the others; then all hear of all results."""
    monkeypatch.setattr(image_stream, "gather_object", lambda found: found)
    own = []
    for index in range(processes):
        processes_here: Any = SimpleNamespace(process_index=index, num_processes=processes)
        batches: list[list[int]] = []

        def work(batch: list[int], seen: list[list[int]] = batches) -> list[int]:
            seen.append(batch)
            return batch

        items = iter(range(count))
        list(image_stream.in_order(items, int, work, processes_here, batch_size=4, workers=0))
        assert next(items, None) is None
        own.append(batches)
    rounds = -(-count // (4 * processes))
    shared = [batch for turn in range(rounds) for batches in own for batch in batches[turn : turn + 1]]
    assert shared == [list(range(first, min(first + 4, count))) for first in range(0, count, 4)]


def test_a_process_without_work_waits_with_the_others(monkeypatch: pytest.MonkeyPatch):
    gathered: list[Any] = []
    monkeypatch.setattr(image_stream, "gather_object", lambda found: gathered.append(found) or found)
    for index, expected in ((0, [[[0, 1]], [[4]]]), (1, [[[2, 3]], [[]]])):
        gathered.clear()
        processes_here: Any = SimpleNamespace(process_index=index, num_processes=2)
        list(image_stream.in_order(range(5), int, list, processes_here, batch_size=2, workers=0))
        assert gathered == expected
