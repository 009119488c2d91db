"""Learning labels: data, network, loss and scores of a recipe, for the loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hlcli.building import build_model, normalize, train_transform
from hlcli.data.kept_labels import check_kept_labels, open_training_records, write_kept_labels
from hlcli.data.loader import BatchOrder, LabelBatch, TrainingImages
from hlcli.data.loader_processes import make_loader
from hlcli.data.store import open_label_space, open_records
from hlcli.evaluation.label_scoring import score_split
from hlcli.evaluation.labels import evaluation_loader, measure
from hlcli.inspection.before_training import check_labels
from hlcli.losses.base import Loss
from hlcli.losses.section import LossSection
from hlcli.losses.terms import Terms
from hlcli.models.folder import save_model
from hlcli.plain_text import counted
from hlcli.recipe import Recipe
from hlcli.tasks.base import Scores
from hlcli.thresholds import read_thresholds

if TYPE_CHECKING:
    from accelerate import Accelerator

    from hlcli.inspection.findings import Finding


class LabelTask:
    """Labels of images; see `Task`."""

    ties_are_better = False

    def __init__(self, recipe: Recipe, accelerator: Accelerator) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        self.labels = open_label_space(recipe.data).require_labels(recipe.data.name)
        self.train_records = open_training_records(recipe.data)
        self.eval_records = open_records(recipe.data, recipe.eval.split)
        self.eval_loader = evaluation_loader(
            self.eval_records, recipe, self.labels, accelerator, recipe.eval.batch_size, recipe.data.workers
        )
        self.normalize = normalize(recipe.data).to(accelerator.device)

    def check_data(self) -> list[Finding]:
        """See `check_labels`."""
        return check_labels(self.recipe, self.labels, self.train_records, self.eval_records)

    @property
    def num_rows(self) -> int:
        """Training images."""
        return len(self.train_records)

    def describe(self) -> str:
        """Images and labels."""
        return (
            f"{counted(len(self.train_records), 'training image')}, {len(self.eval_records):,} for "
            f"{self.recipe.eval.split}; labels per level {'/'.join(map(str, self.labels.level_sizes))}"
        )

    def training_loader(self, order: BatchOrder) -> DataLoader:
        """Augmented images with their labels."""
        data = self.recipe.data
        images = TrainingImages(
            self.train_records, self.labels.num_labels, train_transform(data), self.recipe.train.seed
        )
        return make_loader(images, order, workers=data.workers, device=self.accelerator.device)

    def build_model(self, *, initial_weights: bool, data_files: bool) -> nn.Module:
        """The recipe's network for these labels."""
        return build_model(self.recipe, self.labels, initial_weights=initial_weights, data_files=data_files)

    def build_criterion(self) -> Loss:
        """The recipe's loss for so many images and labels."""
        section = self.recipe.objective
        assert isinstance(section, LossSection)
        return section.build(len(self.train_records), self.labels.num_labels)

    def start_run(self, folder: Path) -> None:
        """Write which labels are kept, where not all are."""
        write_kept_labels(folder, self.train_records, self.labels)

    def check_run(self, folder: Path) -> None:
        """Compare them with those the run was started with."""
        check_kept_labels(folder, self.train_records, self.labels)

    def on_device(self, batch: LabelBatch, parts: int) -> LabelBatch:
        """Move a batch and turn its images into floats."""
        device = self.accelerator.device
        tensors = {name: part for name, part in batch._asdict().items() if isinstance(part, torch.Tensor)}
        moved = {name: part.to(device, non_blocking=True) for name, part in tensors.items()}
        to_floats = self.normalize.channels_last if self.recipe.train.channels_last else self.normalize
        images = to_floats(moved.pop("images"))
        return batch._replace(images=images, parts=parts, **moved)

    def losses(self, model: nn.Module, batch: LabelBatch, criterion: nn.Module, *, epoch: int) -> Terms:
        """The method's own terms."""
        return Terms(self.recipe.model.training_losses(model, batch, criterion, epoch=epoch))

    def evaluate(
        self, models: list[nn.Module], criterion: nn.Module, *, epoch: int, check: Callable[[], None]
    ) -> list[Scores]:
        """Metrics and loss on the recipe's split, each image decoded once."""
        scored = score_split(
            models,
            self.eval_loader,
            self.normalize,
            self.accelerator,
            self.labels,
            num_rows=len(self.eval_records),
            criterion=criterion,
            epoch=epoch,
            check=check,
        )
        thresholds = read_thresholds(self.recipe.eval.threshold, self.labels)
        found = []
        for index, model_scores in enumerate(scored.models):
            if model_scores.loss is None or not math.isfinite(model_scores.loss):
                found.append(Scores({"loss": model_scores.loss}))  # nothing more can be said of such scores
                continue
            metrics = measure(scored, index, self.labels, self.recipe.eval, thresholds)
            found.append(Scores({"loss": model_scores.loss, **metrics.to_json()}, metrics.thresholds))
        return found

    def save_model(self, folder: Path, state: Mapping[str, Tensor], scores: Scores, facts: Mapping[str, Any]) -> None:
        """The weights with labels and, where they were tuned on val, thresholds."""
        section = self.recipe.eval
        is_tuned_on_val = section.split == "val" and not isinstance(section.threshold, float)
        save_model(
            folder,
            state,
            self.recipe,
            self.labels,
            thresholds=scores.thresholds if is_tuned_on_val else None,
            facts=facts,
        )
