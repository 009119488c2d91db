"""Training that is killed again and again, at moments that a seed draws, and what it must come to in the end."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from warm_programs import WarmProgram

from hlcli.recipe import Recipe
from hlcli.runs import Run

MOMENTS = {
    "set-up": [("hlcli.training.state:_restore", 1), ("hlcli.runs:Run.cut_metrics", 1), ("hlcli.runs:Run.start", 1)],
    "step": [
        ("hlcli.training.loop:_backward", 7),
        ("hlcli.training.loop:_weigh", 7),
        ("hlcli.training.loop:schedule_point", 7),
    ],
    "save": [
        ("half a checkpoint", 3),
        ("os:fsync", 9),
        ("os:link", 2),
        ("os:replace", 6),
        ("hlcli.files:sync_folder", 6),
    ],
    "evaluation": [
        ("hlcli.training.loop:evaluate_epoch", 1),
        ("hlcli.training.selection:record_event", 2),
        ("hlcli.training.log:record_event", 7),
        ("half a line", 7),
    ],
    "epoch boundary": [("hlcli.data.loader:BatchOrder.start", 2), ("hlcli.training.loop:save", 4)],
    "model": [
        ("hlcli.training.selection:_keep", 1),
        ("half a model", 1),
        ("os:rename", 3),
        ("hlcli.files:_sync_below", 1),
    ],
}
"""Calls at which a run may die, by phase, and up to which of them."""


def train_with_kills(
    recipe: Recipe, folder: Path, kills: int, draw: random.Random, seconds: float, needed: Collection[str] = ()
) -> dict[str, int]:
    """Train a recipe from the command line, kill and resume it at least so often, and let it end.

    Each run that ends before begins anew in another folder, and all must end well; the last one is `folder`.

    Args:
        recipe: what to train.
        folder: of the run.
        kills: how often.
        draw: says when.
        seconds: that an undisturbed run takes, about.
        needed: phases of which each kills once at least; those that chance has left out come last.

    Returns:
        How often it was killed, by phase; `clock` is from outside, after a random time.
    """
    folder.mkdir(parents=True)
    path = folder / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    phases: dict[str, int] = {}
    run, number = folder / "run-0", 0
    while True:
        words = ["train", "--recipe", path, "--run", run, *(["--resume"] if (run / "recipe.yaml").is_file() else [])]
        left = kills - sum(phases.values())
        enough, missing = left <= 0, [name for name in needed if name not in phases]
        some = missing if left <= len(missing) else []
        phase, code, said = ("", *_start(words, "", None)) if enough else _killed_start(words, run, draw, seconds, some)
        if code == -signal.SIGKILL:
            phases[phase] = phases.get(phase, 0) + 1
            continue
        assert code == 0, f"{phase}: {said}"
        if enough:
            return phases
        number += 1
        run = folder / f"run-{number}"


def _killed_start(
    words: list[object], run: Path, draw: random.Random, seconds: float, among: Collection[str]
) -> tuple[str, int, str]:
    """Start it, to be killed in one of these phases, or somewhere: phase, exit code, what it said."""
    if not among and draw.random() < 1 / 4:
        return ("clock", *_start(words, "", draw.uniform(0, seconds), run / "status.json"))
    phase = draw.choice(list(among or MOMENTS))
    where, most = draw.choice(MOMENTS[phase])
    before = f"import sudden_death; sudden_death.die_at({where!r}, {draw.randint(1, most)})"
    return (phase, *_start(words, before, None))


def _start(words: list[object], before: str, delay: float | None, sign: Path | None = None) -> tuple[int, str]:
    program = WarmProgram(*words, before=before)
    if delay is not None:
        since = time.time()
        while program.is_running() and not (sign and sign.is_file() and sign.stat().st_mtime >= since):
            time.sleep(0.005)
        time.sleep(delay)
        if program.is_running():
            program.send(signal.SIGKILL)
    done = program.wait()
    return done.returncode, done.stderr


def ended_runs(folder: Path) -> list[Run]:
    """All runs of `train_with_kills`."""
    return [Run(path) for path in sorted(folder.glob("run-*"))]


def assert_same_end(first: Run, second: Run) -> None:
    """All that two runs leave is the same, but for times, places and the log."""
    names = [{p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*")} for run in (first, second)]
    assert names[0] == names[1], sorted(names[0] ^ names[1])
    assert first.metrics_file.read_bytes() == second.metrics_file.read_bytes()
    for name in ("model/model.safetensors", "model/model.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name
    for name in names[0]:
        if name.endswith(".pt"):
            assert_same(*(torch.load(run.folder / name, weights_only=True) for run in (first, second)), name)


def assert_same(first: Any, second: Any, name: str) -> None:
    """The same tree of dicts and lists, its tensors bit by bit."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), name
        for key, value in first.items():
            assert_same(value, second[key], f"{name}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), name
        for index, value in enumerate(first):
            assert_same(value, second[index], f"{name}/{index}")
    elif isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype, name
        assert torch.equal(first, second), name
    else:
        assert first == second, name
