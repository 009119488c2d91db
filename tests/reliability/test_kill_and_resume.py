"""SIGKILL at random moments: every run that is resumed ends with the bits of one that was not disturbed."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import IS_LONG, effort
from killed_runs import MOMENTS, assert_same_end, ended_runs, train_with_kills
from tiny import tiny_recipe
from tiny_captions import SCST, tiny_captions

import hlcli
from hlcli.recipe import Recipe

_SEED = 9
_LABELS = ("train.checkpoint_every_steps=2", "train.log_every_steps=1", f"train.epochs={effort(2, 6)}",
           f"data.num_train={effort(16, 32)}", "data.num_val=8")  # fmt: skip
_CAPTIONS = ("train.checkpoint_every_steps=1", "train.log_every_steps=1", f"train.epochs={effort(2, 4)}",
             f"data.num_train={effort(12, 24)}", "data.num_val=4")  # fmt: skip
_OF_LABELS = {
    "loader processes": ("data.workers=2",),
    "early stop": ("train.epochs=9", "train.early_stop_epochs=1", "optim.lr=1e-7"),
    "best state": ("train.keep_best_state=true",),
    "accumulation": ("train.accumulation_steps=4",),
    "loss that remembers": ("objective.loss=role", "objective.expected_positives=3", "data.labels_kept=single"),
}
_SALGL = {"method": "salgl", "num_scenes": 3, "graph_steps": 1, "attention_dim": 16, "feedforward_dim": 16}
_CLIP = {
    "embed_dim": 16, "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}  # fmt: skip


def _recipe(kind: str, folder: Path) -> Recipe:
    """The recipe of a kind; `folder` is for files that it needs."""
    if kind == "captions":
        return tiny_captions(*_CAPTIONS, "model.dropout=0.1", "train.ema_decay=0.9")
    if kind == "rewards":
        return tiny_captions(*_CAPTIONS, *SCST)
    tree = tiny_recipe(*_LABELS, *_OF_LABELS.get(kind, ())).to_dict()
    if kind == "co-occurrence":
        tree["model"] = _SALGL
    if kind == "batch norms that rest":
        _make_hspnet(tree, folder)
    return Recipe.from_dict(tree)


def _make_hspnet(tree: dict[str, Any], folder: Path) -> None:
    (folder / "clip.json").write_text(json.dumps(_CLIP))
    np.save(folder / "graph.npy", np.full((17, 17), 0.5, np.float32) + 0.5 * np.eye(17, dtype=np.float32))
    tree["model"] = {"method": "hspnet", "graph": str(folder / "graph.npy"), "gcn_hidden": 8}
    tree["backbone"] = {"name": f"clip:{folder / 'clip.json'}", "pretrained": False}
    tree["data"] |= {"normalization": "clip", "labels_kept": "single"}
    tree["objective"] = {"loss": "splc"}
    tree["optim"] = {"optimizer": "adam_twd", "lr": 1e-3}


_KINDS = ["classifier", "captions", "rewards"]
_MORE_KINDS = [*_OF_LABELS, "co-occurrence", "batch norms that rest"] if IS_LONG else []


@pytest.mark.parametrize("kind", _KINDS + _MORE_KINDS)
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    recipe = _recipe(kind, tmp_path)
    began = time.monotonic()
    whole = hlcli.train(recipe, tmp_path / "whole")
    seconds = time.monotonic() - began
    draw = random.Random(f"{_SEED}/{kind}")
    needed = list(MOMENTS) if IS_LONG else ["save", draw.choice(["evaluation", "step"])]
    kills = train_with_kills(recipe, tmp_path / "killed", effort(2, 30), draw, seconds, needed)
    runs = ended_runs(tmp_path / "killed")
    print(f"{kind}: {sum(kills.values())} kills {kills} in {len(runs)} runs")  # noqa: T201
    assert sum(kills.values()) >= effort(2, 30)
    assert kills.keys() >= set(needed)
    for run in runs:
        assert_same_end(whole, run)
