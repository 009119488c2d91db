"""Learning captions: data, network, loss and scores of a recipe, for the loop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from hlcli.building import build_model, train_transform
from hlcli.captioning.batch import CaptionBatch
from hlcli.captioning.config import CaptionObjective
from hlcli.captioning.loader import (
    CaptionRows,
    caption_pairs,
    make_caption_loader,
    open_inputs,
)
from hlcli.captioning.objectives import CaptionLoss
from hlcli.captioning.words import check_vocabulary, open_frequencies, open_vocabulary, write_vocabulary
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import BatchOrder
from hlcli.data.section import DataSection
from hlcli.data.store import open_records, split_captions
from hlcli.errors import CheckpointError, RecipeError
from hlcli.evaluation.caption_scoring import CaptionScorer, on_device
from hlcli.features.layout import FeatureKind
from hlcli.features.reading import FeatureFile
from hlcli.files import write_json
from hlcli.inspection.before_training import check_captions
from hlcli.json_text import read_json
from hlcli.losses.terms import Terms
from hlcli.metrics.captioning.summary import check_metrics
from hlcli.models.folder import model_vocabulary, save_model
from hlcli.plain_text import counted
from hlcli.recipe import Recipe
from hlcli.tasks.base import Scores

_DATA_FILE = "caption_data.json"
"""In a run's folder: a digest of the training captions, and what made the features."""

if TYPE_CHECKING:
    from accelerate import Accelerator

    from hlcli.captioning.vocabulary import Vocabulary
    from hlcli.inspection.findings import Finding


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
        self.vocabulary = _choose_vocabulary(recipe)
        _check_search(recipe, len(self.vocabulary))
        check_metrics(recipe.eval.caption_metrics)
        self.pairs = caption_pairs(self.captions) if section.one_row_per_caption else None
        self.scorer = CaptionScorer(recipe, self.vocabulary, accelerator, recipe.eval.split)
        self.feature_facts = feature_facts(recipe.data)

    def check_data(self) -> list[Finding]:
        """See `check_captions`."""
        return check_captions(self.recipe, self.train_records, self.scorer.records)

    @property
    def num_rows(self) -> int:
        """Captions, or images where a row is an image with all of its captions."""
        return len(self.captions) if self.pairs is None else len(self.pairs)

    def describe(self) -> str:
        """Images, captions, words."""
        count = sum(map(len, self.captions))
        return (
            f"{counted(len(self.captions), 'training image')} with {counted(count, 'caption')}, "
            f"{counted(len(self.scorer.records), 'image')} for {self.recipe.eval.split}; "
            f"{counted(len(self.vocabulary), 'word')}"
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
            with_captions=self.objective.reads_captions,
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
        """Write the words, and what else the training depends on."""
        write_vocabulary(folder, self.vocabulary)
        write_json(folder / _DATA_FILE, self._data_facts())

    def check_run(self, folder: Path) -> None:
        """Compare words, captions and features with those the run was started with.

        Raises:
            CheckpointError: when they differ.
        """
        check_vocabulary(folder, self.vocabulary)
        path = folder / _DATA_FILE
        try:
            known = dict(read_json(path))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}.", "Start a new run.") from error
        found = json.loads(json.dumps(self._data_facts()))
        changed = [name for name in found if known.get(name) != found[name]]
        if changed:
            raise CheckpointError(
                f"{' and '.join(changed)} are not those that {folder} was started with.",
                "Bring them back, or start a new run.",
            )

    def _data_facts(self) -> dict[str, Any]:
        """What a resumed run must find again."""
        digest = hashlib.sha256()
        for texts in self.captions:
            digest.update(json.dumps(texts).encode())
        return {"captions": digest.hexdigest(), "features": self.feature_facts}

    def on_device(self, batch: CaptionBatch, parts: int) -> CaptionBatch:
        """Move a batch and turn its images into floats."""
        normalize = self.scorer.normalize
        to_floats = normalize.channels_last if self.recipe.train.channels_last else normalize
        return on_device(batch, self.accelerator.device, to_floats)

    def losses(self, model: nn.Module, batch: CaptionBatch, criterion: nn.Module, *, epoch: int) -> Terms:
        """What the objective says."""
        return criterion(model, batch)

    def evaluate(
        self, models: list[nn.Module], criterion: nn.Module, *, epoch: int, check: Callable[[], None]
    ) -> list[Scores]:
        """Captions by beam search against the references; the loss is the cross entropy of these."""
        found = self.scorer.score(models, check=check)
        return [Scores(scored.numbers()) for scored in found]

    def save_model(self, folder: Path, state: Mapping[str, Tensor], scores: Scores, facts: Mapping[str, Any]) -> None:
        """The weights with their words, and how the features were made that they learned from."""
        facts = {**facts, "features": self.feature_facts} if self.feature_facts else facts
        save_model(
            folder, state, self.recipe, LabelSpace.empty(), vocabulary=self.vocabulary, facts=facts,
            thresholds=None,
        )  # fmt: skip


def _choose_vocabulary(recipe: Recipe) -> Vocabulary:
    """The words of the data, or those of the whole model that the training starts from: its weights belong to them.

    Raises:
        CheckpointError: when the recipe names other words than that model's.
    """
    path = recipe.train.init_weights
    first = None if path is None or recipe.train.init_omit else model_vocabulary(path)
    if first is None:
        return open_vocabulary(recipe.data)
    if recipe.data.vocabulary is not None and open_vocabulary(recipe.data).fingerprint() != first.fingerprint():
        raise CheckpointError(
            f"{path} was trained with other words than those of {recipe.data.vocabulary}.",
            "Leave data.vocabulary out, or name parts of the network that begin anew in train.init_omit.",
        )
    return first


def _check_search(recipe: Recipe, num_words: int) -> None:
    """Refuse beams that are wider than the vocabulary.

    Raises:
        RecipeError: naming the key.
    """
    for name, section in (("eval", recipe.eval), ("objective", recipe.objective)):
        size = getattr(section, "beam_size", 1)
        if size > num_words:
            raise RecipeError(
                f"{name}.beam_size is {size}, but there are only {num_words} words.", "Set a smaller one."
            )


def feature_facts(data: DataSection) -> dict[str, dict[str, Any] | None]:
    """What made the stored features that a data section names, by kind; None for files that others made."""
    files: dict[FeatureKind, Path | None] = {"grid": data.grid_features, "region": data.region_features}
    return {kind: FeatureFile(path, kind).facts for kind, path in files.items() if path is not None}
