"""Learning captions: data, network, loss and scores of a recipe, for the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.data import DataLoader

from hlcli.building import build_model, train_transform
from hlcli.caption_scoring import CaptionScorer
from hlcli.captioning.config import CaptionObjective
from hlcli.captioning.objectives import CaptionLoss
from hlcli.captioning.words import check_vocabulary, open_frequencies, open_vocabulary, write_vocabulary
from hlcli.data.caption_loader import (
    CaptionBatch,
    CaptionRows,
    caption_pairs,
    make_caption_loader,
    open_inputs,
    split_captions,
)
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import BatchOrder
from hlcli.data.section import DataSection
from hlcli.data.store import open_records
from hlcli.errors import DataError
from hlcli.feature_layout import FeatureKind
from hlcli.features import FeatureFile
from hlcli.model_folder import cpu_state, save_model
from hlcli.recipe import Recipe
from hlcli.task import Scores, Terms

if TYPE_CHECKING:
    from accelerate import Accelerator


class CaptionTask:
    """Captions of images; see `Task`."""

    ties_are_better = True

    def __init__(self, recipe: Recipe, accelerator: Accelerator) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        section = recipe.objective
        assert isinstance(section, CaptionObjective)
        self.objective = section
        self.train_records = open_records(recipe.data, "train")
        self.captions = split_captions(self.train_records)
        silent = sum(not texts for texts in self.captions)
        if silent:
            raise DataError(
                f"{silent} of {len(self.captions):,} training images of {recipe.data.name} have no caption.",
                "Captioning needs at least one of each image.",
            )
        self.vocabulary = open_vocabulary(recipe.data)
        self.pairs = caption_pairs(self.captions) if section.one_row_per_caption else None
        self.scorer = CaptionScorer(recipe, self.vocabulary, accelerator, recipe.eval.split)
        self.feature_facts = feature_facts(recipe.data)

    @property
    def num_rows(self) -> int:
        """Captions, or images where a row is an image with all of its captions."""
        return len(self.captions) if self.pairs is None else len(self.pairs)

    def describe(self) -> str:
        """Images, captions, words."""
        count = sum(map(len, self.captions))
        return (
            f"{len(self.captions):,} training images with {count:,} captions, {len(self.scorer.records):,} images for "
            f"{self.recipe.eval.split}; {len(self.vocabulary):,} words"
        )

    def training_loader(self, order: BatchOrder) -> DataLoader:
        """Images with captions."""
        data = self.recipe.data
        rows = CaptionRows(
            self.train_records,
            open_inputs(data, train_transform(data)),
            self.vocabulary,
            seed=self.recipe.train.seed,
            pairs=self.pairs,
            with_captions=self.objective.loss == "cross_entropy",
            max_words=self.recipe.model.most_words(),
        )
        return make_caption_loader(rows, order, workers=data.workers, device=self.accelerator.device)

    def build_model(self, *, initial_weights: bool, data_files: bool) -> nn.Module:
        """The recipe's network for this vocabulary."""
        return build_model(self.recipe, self.vocabulary, initial_weights=initial_weights, data_files=data_files)

    def build_criterion(self) -> CaptionLoss:
        """The recipe's objective."""
        data = self.recipe.data
        return self.objective.build(self.vocabulary, self.captions, lambda unit: open_frequencies(data, unit))

    def start_run(self, folder: Path) -> None:
        """Write the words."""
        write_vocabulary(folder, self.vocabulary)

    def check_run(self, folder: Path) -> None:
        """Compare the words with those the run was started with."""
        check_vocabulary(folder, self.vocabulary)

    def on_device(self, batch: CaptionBatch, parts: int) -> CaptionBatch:
        """Move a batch and turn its images into floats."""
        return self.scorer.on_device(batch)

    def losses(self, model: nn.Module, batch: CaptionBatch, criterion: nn.Module, *, epoch: int) -> Terms:
        """What the objective says."""
        terms = criterion(model, batch)
        return Terms(terms.loss, terms.noted)

    def evaluate(
        self, models: list[nn.Module], criterion: nn.Module, *, epoch: int, check: Callable[[], None]
    ) -> list[Scores]:
        """Captions by beam search against the references; the loss is the cross entropy of these."""
        found = self.scorer.score(models, check=check)
        return [Scores(scored.numbers()) for scored in found]

    def save_model(self, folder: Path, model: nn.Module, scores: Scores, facts: Mapping[str, Any]) -> None:
        """The weights with their words, and how the features were made that they learned from."""
        facts = {**facts, "features": self.feature_facts} if self.feature_facts else facts
        save_model(
            folder, cpu_state(model), self.recipe, LabelSpace.empty(), vocabulary=self.vocabulary, facts=facts,
            thresholds=None,
        )  # fmt: skip


def feature_facts(data: DataSection) -> dict[str, dict[str, Any] | None]:
    """What made the stored features that a data section names, by kind; None for files that others made."""
    files: dict[FeatureKind, Path | None] = {"grid": data.grid_features, "region": data.region_features}
    return {kind: FeatureFile(path, kind).facts for kind, path in files.items() if path is not None}
