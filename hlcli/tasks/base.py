"""What differs between learning labels and learning captions; the loop works with either through this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hlcli.losses.terms import Terms

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import DataLoader

    from hlcli.data.loader import BatchOrder
    from hlcli.data.records import Records
    from hlcli.inspection.findings import Finding
    from hlcli.metrics.multilabel import LevelThreshold


class Scores(NamedTuple):
    """What an evaluation says of some weights."""

    numbers: dict[str, float | None]  # all metrics by name, `loss` among them
    thresholds: tuple[LevelThreshold, ...] | None = None  # one per level of labels; None where they play no part


class Task(Protocol):
    """Data, network, loss and scores of a recipe, on this process."""

    ties_are_better: bool
    """Whether a later model that is as good as the best one takes its place."""

    train_records: Records
    """The training images."""

    def check_data(self) -> list[Finding]:
        """Refuse data that would spoil the training; say what else people should know of it."""

    @property
    def num_rows(self) -> int:
        """Rows that an epoch goes through."""

    def describe(self) -> str:
        """The sizes of the data, for the log."""

    def training_loader(self, order: BatchOrder) -> DataLoader:
        """The training rows in the order given."""

    def build_model(self, *, initial_weights: bool, data_files: bool) -> nn.Module:
        """The network; arguments as for `building.build_model`."""

    def build_criterion(self) -> nn.Module:
        """The loss, with what it remembers."""

    def start_run(self, folder: Path) -> None:
        """Write what the run was trained on beyond its recipe."""

    def check_run(self, folder: Path) -> None:
        """Refuse to resume a run that was trained on something else."""

    def on_device(self, batch: Any, parts: int) -> Any:
        """A batch of the loader, ready for the network; `parts` as in `LabelBatch`."""

    def losses(self, model: nn.Module, batch: Any, criterion: nn.Module, *, epoch: int) -> Terms:
        """The terms of the loss of a batch."""

    def evaluate(
        self, models: list[nn.Module], criterion: nn.Module, *, epoch: int, check: Callable[[], None]
    ) -> list[Scores]:
        """Measure networks on the recipe's split; `check` is called after every batch and may raise."""

    def save_model(self, folder: Path, state: Mapping[str, Tensor], scores: Scores, facts: Mapping[str, Any]) -> None:
        """Write a model folder with these weights and buffers."""
