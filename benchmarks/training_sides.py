"""Trainings that stand before a step, and the plain networks beside ours: for benchmarks/training_step.py."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hleg_step import children
from PIL import Image
from plain_hleg import PlainHead as PlainHleg
from plain_salgl import PlainHead as PlainSalgl
from plain_sgre import PlainHead as PlainSgre
from torch import Tensor, nn

from hlcli.data.loader_processes import batches
from hlcli.interrupts import Interrupts
from hlcli.launching import make_accelerator
from hlcli.methods.hleg.convert import from_reference
from hlcli.methods.salgl.convert import to_reference as salgl_to_reference
from hlcli.methods.sgre.convert import to_reference as sgre_to_reference
from hlcli.methods.sgre.model import Output as SgreOutput
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.training.state import Training, set_up


class Case(NamedTuple):
    """What is measured; `num_labels` None: drawn scenes with their own labels, in three levels, and captions."""

    against: str
    method: str
    backbone: str
    image_size: int
    batch_size: int
    num_labels: int | None
    precision: str
    average: bool
    checkpointing: bool = False  # ours alone


class Plain(nn.Module):
    """A backbone and a plain head, called as ours is."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor, targets: Tensor | None = None, ignore: Tensor | None = None) -> Any:
        """What our network gives; of HLEG the logits of all levels."""
        tokens = self.backbone(images)
        if isinstance(self.head, PlainSalgl):
            return self.head(tokens, targets)
        if isinstance(self.head, PlainSgre):
            return SgreOutput(*self.head(tokens))
        return self.head(tokens.transpose(1, 2).unflatten(2, self.backbone.grid))


def write_photos(folder: Path, case: Case) -> dict[str, Any]:
    """Noise with so many labels, a twentieth of them on each image; the section that reads it."""
    assert case.num_labels is not None
    random = np.random.default_rng(0)
    names = np.array([f"label {index:03}" for index in range(case.num_labels)])
    lines = ["image,labels,split"]
    for index in range(case.batch_size + 1):
        noise = random.integers(0, 256, (case.image_size, case.image_size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index}.png")
        is_last = index == case.batch_size  # it alone names all labels
        chosen = names if is_last else random.choice(names, max(1, case.num_labels // 20), replace=False)
        lines.append(f"{index}.png,{';'.join(chosen)},{'val' if is_last else 'train'}")
    table = folder / "labels.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"dataset": "folder", "images": str(folder), "labels": str(table)}


def recipe_of(case: Case, folder: Path) -> Recipe:
    """The recipe of a case."""
    size, rows = case.image_size, case.batch_size
    data: dict[str, Any] = {"dataset": "shapes", "num_train": rows, "num_val": 4, "num_test": 4}
    if case.num_labels is not None:
        data = write_photos(folder, case)
    sections: dict[str, dict[str, Any]] = {
        "data": {**data, "image_size": size, "workers": 0},
        "backbone": {
            "name": "clip:tiny" if case.method == "hspnet" else case.backbone,
            "pretrained": False,
            "gradient_checkpointing": case.checkpointing,
        },
        "model": {"method": case.method},
        "schedule": {"schedule": "onecycle"},
        "train": {"epochs": 1000, "batch_size": rows, "cpu": True, "precision": case.precision},
    }
    if not case.average:
        sections["train"]["ema_decay"] = None
    if case.method == "hspnet":
        sections["model"]["graph"] = "clip"
        sections["objective"] = {"loss": "splc"}
    if case.method == "hin":
        sections["model"]["train_backbone"] = True
        sections["objective"] = {"loss": "cross_entropy", "group_captions": True}
    return Recipe.from_dict(sections)


def training_of(case: Case, folder: Path) -> tuple[Training, Any]:
    """A training that stands before its first step, and a batch of the loader."""
    recipe = recipe_of(case, folder)
    run = Run(folder / "run")
    run.folder.mkdir()
    training = set_up(recipe, run, make_accelerator(cpu=True, precision=case.precision), Interrupts(), resume=False)
    training.model.train()
    training.criterion.train()
    recipe.model.start_epoch(training.model, 0)
    training.order.start(0)
    return training, next(batches(training.loader))


def plain_of(training: Training) -> Plain:
    """The plain network with our weights, in torch's own memory layout."""
    model: Any = training.model
    head, labels = model.head, training.task.labels  # type: ignore[attr-defined]
    width, num_labels = model.backbone.num_features, labels.num_labels
    if training.recipe.model.name == "hleg":
        section: Any = training.recipe.model
        groups = [children(labels.levels[level], len(labels.levels[level - 1])) for level in (2, 1)]
        sizes = {"dim": section.hidden_dim, "heads": section.num_heads, "hidden": section.feedforward_dim}
        plain: nn.Module = PlainHleg(
            *groups, channels=width, grid=model.backbone.grid, dropout=section.dropout, **sizes
        )
        state = from_reference(plain.state_dict())
        head.load_state_dict({name.removeprefix("head."): value for name, value in state.items()})
    else:
        make, rename = {"salgl": (PlainSalgl, salgl_to_reference), "sgre": (PlainSgre, sgre_to_reference)}[
            training.recipe.model.name
        ]
        plain = make(width, num_labels, head.label_embeddings.shape[1])
        state = rename(dict(model.state_dict()), model)
        plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    backbone = copy.deepcopy(model.backbone)
    if training.recipe.backbone.gradient_checkpointing:
        backbone.model.set_grad_checkpointing(False)
    return Plain(backbone, plain).to(memory_format=torch.contiguous_format).train()
