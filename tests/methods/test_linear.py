"""The plain baseline: mean over the grid, one linear layer."""

from __future__ import annotations

import torch
from tiny import TINY
from torch.nn import functional as F

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.losses.config import Bce
from hlcli.methods.linear.config import Linear
from hlcli.recipe import Recipe
from hlcli.runs import Run

from .hleg_parts import TinyBackbone


def test_scores_are_those_of_the_mean_feature() -> None:
    torch.manual_seed(0)
    backbone = TinyBackbone()
    model = Linear().build(backbone, LabelSpace.flat("abc")).eval()  # type: ignore[arg-type]
    images = torch.randn(4, 3, 16, 24)
    mean = backbone(images).mean(dim=1)
    expected = F.linear(mean, model.head.weight, model.head.bias)
    torch.testing.assert_close(model(images).logits, expected)


def test_the_loss_is_summed_over_labels_and_skips_ignored_ones() -> None:
    torch.manual_seed(0)
    section = Linear(loss_scale=3.0)
    model = section.build(TinyBackbone(), LabelSpace.flat("abc"))  # type: ignore[arg-type]
    images, targets = torch.randn(4, 3, 16, 24), torch.randint(2, (4, 3)).float()
    ignore = torch.zeros(4, 3, dtype=torch.bool)
    ignore[1] = True
    batch = LabelBatch(images, targets, ignore, torch.arange(4), None)
    (loss,) = section.training_losses(model, batch, Bce().build(), epoch=0).values()
    kept = F.binary_cross_entropy_with_logits(model(images).logits, targets, reduction="none")[[0, 2, 3]]
    torch.testing.assert_close(loss, 3.0 * kept.sum() / 4)


def test_it_learns_levels_by_lifting_the_finest(tmp_path) -> None:
    tree = {**TINY, "model": {"method": "linear"}}
    run = hlcli.train(Recipe.from_dict(tree), tmp_path / "run")
    assert Run(run.folder).state() == "finished"
    metrics = hlcli.evaluate(run.folder, split="test").metrics
    assert {"mAP", "coarse/mAP", "middle/mAP"} <= set(metrics)
    assert "scene/entropy" not in metrics
