"""Losses for missing labels in whole runs: with every method, resumed bit for bit, the same on two processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_off import train_until
from numbers_asked import numbers_asked
from tiny import TINY
from warm_programs import run_two

import hlcli
from hlcli.losses.section import LossSection
from hlcli.recipe import Recipe, section_classes
from hlcli.runs import Run

COMPLETE = {"asymmetric", "bce"}  # for labels of which none is missing
LOSSES = [
    name for name, one in section_classes("objective").items() if issubclass(one, LossSection) and name not in COMPLETE
]
NEEDED: dict[str, dict[str, Any]] = {name: {"expected_positives": 2.5} for name in ("epr", "role")}
NARROW = {"attention_dim": 8, "feedforward_dim": 16, "label_embeddings": "random"}
METHODS: dict[str, dict[str, Any]] = {
    "hleg": TINY["model"],
    "linear": {"method": "linear"},
    "salgl": {"method": "salgl", **NARROW},
    "sgre": {"method": "sgre", **NARROW},
    "hspnet": {"method": "hspnet", "graph": "clip", "gcn_hidden": 16},
}


def make(loss: str, method: str = "hleg", *overrides: str) -> Recipe:
    """The tiny recipe with that loss and method, one label per image."""
    objective = {"loss": loss, **NEEDED.get(loss, {})}
    tree = {**TINY, "model": METHODS[method], "objective": objective}
    if method == "hspnet":
        tree["backbone"] = {"name": "clip:tiny", "pretrained": False}
    return Recipe.from_dict(tree, ["data.labels_kept=single", "train.ema_decay=null", *overrides])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_with_every_loss(
    loss: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = numbers_asked(monkeypatch)
    run = hlcli.train(make(loss, method, "train.epochs=1", "data.num_train=16", "data.num_val=6"), tmp_path / "run")
    values = [event["metrics"] for event in run.events() if event["event"] == "evaluation"]
    assert run.state() == "finished"
    assert 0 <= values[-1]["mAP"] <= 1
    assert math.isfinite(values[-1]["loss"])
    assert asked == []  # of the device, within a step


@pytest.mark.parametrize("loss", ["role", "ll_cp"])
def test_what_a_loss_remembers_survives_a_power_cut(loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("train.epochs=3", "train.checkpoint_every_steps=2", "data.num_train=32", "data.num_val=6")
    recipe = make(loss, "hleg", *settings, *(["objective.delta_rel=0.2"] if loss == "ll_cp" else []))
    whole = hlcli.train(recipe, tmp_path / "whole")
    train_until(11, recipe, tmp_path / "cut", monkeypatch)  # in the third epoch, a step after a checkpoint
    resumed = hlcli.train(recipe, tmp_path / "cut", resume=True)
    one, two = (torch.load(run.checkpoint_file, weights_only=True) for run in (whole, resumed))
    assert one["criterion"]  # it does remember something
    for part in ("criterion", "model"):
        for name, value in one[part].items():
            assert torch.equal(two[part][name], value), name


def test_two_processes_remember_what_one_does(tmp_path: Path) -> None:
    """ROLE's estimates; the flips of LL-Cp: tests/losses/test_remembering_losses.py."""
    settings = (
        "backbone.freeze_batch_norm=true", "model.dropout=0", "optim.optimizer=sgd",
        "optim.lr=0.01", "train.epochs=2",
        "objective.weight=0",  # the mean number of positives is that of a part of the batch
    )  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(make("role", "hleg", *settings).to_yaml(), encoding="utf-8")
    done = run_two("train", "--recipe", recipe, "--run", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    alone, both = hlcli.train(make("role", "hleg", *settings), tmp_path / "one"), Run(tmp_path / "two")
    one, two = (torch.load(run.checkpoint_file, weights_only=True) for run in (alone, both))
    for part in ("criterion", "model"):
        for name, value in one[part].items():
            torch.testing.assert_close(two[part][name], value, rtol=1e-3, atol=1e-5, msg=name)
