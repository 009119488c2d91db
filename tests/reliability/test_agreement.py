"""All processes hold the same weights, averages and counts, to the last bit; where they do not, training says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from broken_off import train_until
from effort import effort
from tiny import TINY
from two_processes import in_processes

import hlcli
from hlcli.recipe import Recipe
from hlcli.training import loop
from hlcli.training.state import Training

BATCH_NORM = ("running_mean", "running_var", "num_batches_tracked")


def salgl_recipe(*overrides: str) -> Recipe:
    """SALGL with everything that could differ: live batch norm, dropout, averages, counts, a smaller last batch."""
    tree = {
        **TINY,
        "data": {**TINY["data"], "num_train": 20, "num_val": 5},
        "model": {"method": "salgl", "num_scenes": 2, "attention_dim": 16, "feedforward_dim": 16, "num_heads": 2,
                  "average_cooccurrence": False},
        "objective": {"loss": "ll_cp", "delta_rel": 0.1},
        "train": {**TINY["train"], "batch_size": 12, "last_batch": "keep"},
    }  # fmt: skip
    return Recipe.from_dict(tree, ["backbone.freeze_batch_norm=false", *overrides])


def train_and_look(recipe: Recipe, folder: Path, resume: bool) -> None:
    """Train in this process, at first an epoch and a half; keep a copy of its state whenever it is saved."""
    rank, real_save = os.environ["RANK"], loop.save

    def save(training: Training, *path: Path) -> None:
        real_save(training, *path)
        assert training.ema is not None
        modules = {"model": training.model, "ema": training.ema.model, "loss": training.criterion}
        state = {f"{title}.{name}": tensor.clone() for title, module in modules.items()
                 for name, tensor in module.state_dict().items()}  # fmt: skip
        progression = training.progression
        torch.save(state, folder / f"{progression.step}-{progression.is_finished}-{resume}-{rank}.pt")

    loop.save = save
    if resume:
        hlcli.train(recipe, folder / "run", resume=True)
    else:
        train_until(3, recipe, folder / "run", pytest.MonkeyPatch())


@pytest.mark.parametrize("count", [2, 3][effort(1, 0) :])
def test_all_processes_hold_the_same_whenever_they_save(tmp_path: Path, count: int) -> None:
    recipe = salgl_recipe()
    in_processes(count, train_and_look, recipe, tmp_path, False)
    in_processes(count, train_and_look, recipe, tmp_path, True)
    moments = sorted({path.stem.rpartition("-")[0] for path in tmp_path.glob("*.pt")})
    assert moments == ["2-False-False", "2-False-True", "4-False-True", "4-True-True"]
    for moment in moments:
        states = [torch.load(tmp_path / f"{moment}-{rank}.pt", weights_only=True) for rank in range(count)]
        assert states[0]["model.head.cooccurrence.counts"].any()
        for name, tensor in states[0].items():
            is_own = name.endswith(BATCH_NORM) and "True-" not in moment  # of its own images, until it is evaluated
            for state in states[1:]:
                assert is_own or torch.equal(state[name], tensor), (moment, name)
    assert "no longer hold the same" not in (tmp_path / "run/log.txt").read_text()


def train_apart(recipe: Recipe, folder: Path, names: list[str]) -> None:
    """The second process changes one number of each of these tensors."""
    real: Callable[[Training], None] = loop._train_epoch

    def epoch(training: Training) -> None:
        real(training)
        if os.environ["RANK"] == "1":
            assert training.ema is not None
            parts = {"model": training.model, "loss": training.criterion, "ema": training.ema.model}
            for name in names:
                tensor = parts[name.partition(".")[0]].state_dict()[name.partition(".")[2]]
                tensor[(0,) * tensor.ndim] += 1

    loop._train_epoch = epoch
    hlcli.train(recipe, folder / "run")


def test_tensors_that_differ_are_named(tmp_path: Path) -> None:
    names = ["model.head.cooccurrence.counts", "loss.estimates", "ema.backbone.model.conv1.0.weight"]
    recipe = salgl_recipe("train.epochs=1", "data.num_train=12").to_dict()
    recipe["objective"] = {"loss": "role", "expected_positives": 2.5}
    in_processes(2, train_apart, Recipe.from_dict(recipe), tmp_path, names)
    said = (tmp_path / "run/log.txt").read_text()
    assert f"Processes no longer hold the same {', '.join(names)}; the first one's is kept." in said
