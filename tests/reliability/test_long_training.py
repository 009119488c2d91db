"""Training for long: memory, open files, threads and processes stay as they are, evaluations and loader processes in
between."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import pytest
from effort import effort
from tiny import tiny_recipe
from tiny_captions import tiny_captions

import hlcli
from hlcli.recipe import Recipe
from hlcli.training import loop

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="only Linux tells all of it in /proc")

_STEPS = effort(40, 20_000)
_EVERY = effort(2, 50)
_EPOCHS = effort(4, 100)
_MEGABYTES = effort(8, 16)
"""May come to be between the middle and the end of a run: pages that are freed go back to the system late."""

_PER_EPOCH = _STEPS // _EPOCHS
_COMMON = (f"train.epochs={_EPOCHS}", "train.batch_size=2", "train.log_every_steps=10", "data.num_val=4",
           f"train.checkpoint_every_steps={effort(5, 100)}")  # fmt: skip
_LABELS = tiny_recipe(*_COMMON, f"data.num_train={2 * _PER_EPOCH}", "data.workers=1", "data.randaugment=false")
_CAPTIONS = tiny_captions(*_COMMON, f"data.num_train={2 * _PER_EPOCH}", "model.encoder_layers=1",
                          "model.decoder_layers=1", "eval.beam_size=1", "schedule.factors=[[0,1.0]]")  # fmt: skip


class Sample(NamedTuple):
    """Of this process; `megabytes` and `files` with its loader processes."""

    step: int
    megabytes: float
    files: int
    threads: int
    children: int


def sample(step: int) -> Sample:
    children = [
        int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    ]
    pids = [os.getpid(), *children]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
    return Sample(step, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, threading.active_count(), len(children))


@pytest.mark.parametrize("recipe", [_LABELS, _CAPTIONS], ids=["classifier", "captioner"])
def test_a_long_training_takes_no_more_and_more(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples: list[Sample] = []
    real, began = loop._stop_if_asked, time.monotonic()

    def look(training: Any) -> None:
        if training.progression.step % _EVERY == 0:
            samples.append(sample(training.progression.step))
        real(training)

    monkeypatch.setattr(loop, "_stop_if_asked", look)
    run = hlcli.train(recipe, tmp_path / "run")
    last = json.loads(run.metrics_file.read_text().splitlines()[-1])
    assert (last["event"], last["step"]) == ("evaluation", _STEPS)
    count = len(samples)
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        print(samples[max(0, round(share * count) - 1)])  # noqa: T201
    print(f"{time.monotonic() - began:.0f} s")  # noqa: T201
    middle, end = samples[count // 2 : count * 3 // 4], samples[count * 3 // 4 :]
    grown = mean(one.megabytes for one in end) - mean(one.megabytes for one in middle)
    assert grown < _MEGABYTES, samples
    for name in ("files", "threads", "children"):
        assert max(getattr(one, name) for one in end) <= max(getattr(one, name) for one in middle), name
