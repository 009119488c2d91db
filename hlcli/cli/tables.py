"""Metrics as tables for the terminal: rich renderables, printed by whoever shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hlcli import Metrics
from hlcli.plain_text import printable

if TYPE_CHECKING:
    from hlcli import ExportDifference
    from hlcli.metrics.results import LabelRow
    from hlcli.prediction.label_rows import Prediction


def metrics_report(metrics: Metrics, *, title: str | None = None, per_label: bool = False) -> RenderableType:
    """Everything in `metrics`, fit for 80 columns.

    Args:
        metrics: what to show.
        title: stands above the first table, e.g. the split.
        per_label: also one line per label.
    """
    parts = _number_tables(metrics, title)
    if per_label:
        parts.append(_label_table(metrics.labels))
    return Group(*parts, metrics.note())


def numbers_table(numbers: Mapping[str, float | None], *, title: str | None = None) -> RenderableType:
    """The same tables from names and numbers alone, as a run or model folder keeps them; None is not a number."""
    values = {name: math.nan if value is None else float(value) for name, value in numbers.items()}
    above = [name.removesuffix("/threshold") for name in values if name.endswith("/threshold")]
    return Group(*_number_tables(Metrics(values, levels=(*reversed(above), "fine")), title))


def scores_table(numbers: Mapping[str, float | None], *, title: str | None = None) -> RenderableType:
    """Scores of captions, one row each; None is not a number."""
    table = Table()
    table.add_column("metric", no_wrap=True)
    table.add_column("score", justify="right")
    for name, value in numbers.items():
        table.add_row(name, _as_text(math.nan if value is None else value))
    return _below_title(title, table)


def _number_tables(metrics: Metrics, title: str | None) -> list[RenderableType]:
    tables = [_below_title(title, _level_table(metrics))]
    return [*tables, _other_table(metrics)] if metrics.others() else tables


def _below_title(title: str | None, table: Table) -> RenderableType:
    """The table below a line of its own, which may be wider than the table."""
    return table if title is None else Group(Text(printable(title), style="table.title"), table)


def _level_table(metrics: Metrics) -> Table:
    """One row per metric, one column per level."""
    table = Table()
    table.add_column("metric", no_wrap=True)
    for level in metrics.levels:
        table.add_column(Text(printable(level)), justify="right")
    for name, cells in metrics.by_level().items():
        table.add_row(name, *cells)
    return table


def _other_table(metrics: Metrics) -> Table:
    """The metrics of the tree and of subsets, one row each."""
    table = Table(show_header=False)
    table.add_column("metric")
    table.add_column("value", justify="right", no_wrap=True)
    for name, value in metrics.others().items():
        table.add_row(Text(printable(name)), value)
    return table


def _label_table(labels: tuple[LabelRow, ...]) -> Table:
    """One row per label in the order of the label space, with a rule between levels."""
    table = Table(title="labels", title_justify="left")
    table.add_column("level", no_wrap=True)
    table.add_column("label", overflow="fold")  # the only column that gives way in a narrow window
    for heading in ("positives", "AP", "F1", "precision", "recall"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, following in zip(labels, (*labels[1:], None), strict=True):
        last = following is None or following.level != row.level
        numbers = (_as_text(row.AP), _as_text(row.F1), _as_text(row.precision), _as_text(row.recall))
        names = (Text(printable(row.level)), Text(printable(row.name)))
        table.add_row(*names, f"{row.positives:,}", *numbers, end_section=last)
    return table


def prediction_table(predictions: Iterable[Prediction]) -> Table:
    """One row per image: its predicted labels with their scores, one line per level; then its scene, if it has one."""
    table = Table(show_lines=True)
    table.add_column("image", overflow="fold")
    table.add_column("labels", overflow="fold")
    for prediction in predictions:
        lines = [
            printable(f"{level}: {', '.join(f'{row.name} {row.score:.2f}' for row in rows)}")
            for level, rows in groupby(prediction.labels, key=lambda row: row.level)
        ]
        lines = lines or ["none above its threshold"]
        if prediction.scene is not None:
            lines.append(f"scene: {prediction.scene.index} ({prediction.scene.score:.2f})")
        table.add_row(Text(printable(prediction.image)), Text("\n".join(lines)))
    return table


def differences_table(differences: Iterable[ExportDifference]) -> Table:
    """For every file and what it was run on the output that is furthest from PyTorch's."""
    table = Table()
    for heading in ("file", "run on", "furthest output"):
        table.add_column(heading, overflow="fold")
    table.add_column("difference", justify="right", no_wrap=True)
    for (file, inputs), rows in groupby(differences, key=lambda row: (row.file, row.inputs)):
        worst = max(rows, key=lambda row: row.greatest)
        table.add_row(Text(file), inputs, Text(worst.output), f"{worst.greatest:.1e}")
    return table


def _as_text(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"
