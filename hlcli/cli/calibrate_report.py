"""What `hlcli calibrate` shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import say
from hlcli.launching import is_first_process
from hlcli.plain_text import counted, printable

if TYPE_CHECKING:
    from hlcli.calibration.results import Calibration, CalibrationScores
    from hlcli.metrics.calibration_maps import LevelMap
    from hlcli.metrics.multilabel import LevelThreshold


_FEW, _LONGEST_NAME = 5, 60
"""So many labels are named, with so many characters."""


def show(found: Calibration, *, as_json: bool) -> None:
    """Maps and thresholds by level, then what they changed."""
    if not is_first_process():
        return
    if as_json:
        thresholds = None if found.thresholds is None else list(found.thresholds)
        levels = found.map.to_json()["levels"]
        print_json({**found.to_json(), "levels": levels, "thresholds": thresholds, "model": str(found.folder)})
        return
    console = Console(highlight=False)
    console.print(_map_table(found))
    console.print(_score_table(found))
    console.print(f"Fitted on {found.split}; numbers of a split that was not fitted on are the honest ones.")
    for level, names in found.shared.items():
        few = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in names[:_FEW]]
        shown = ", ".join(few) + (", …" if len(names) > _FEW else "")
        count = counted(len(names), "label with few examples shares its", "labels with few examples share their")
        text = f"{level}: {count} level's: {shown}."
        console.print(Text(printable(text)))
    say(f"Model: {found.folder}")


def _map_table(found: Calibration) -> Table:
    table = Table()
    for head in ("level", "calibration", "threshold"):
        table.add_column(head)
    thresholds = found.thresholds or [None] * len(found.map.levels)
    for level, one, threshold in zip(found.model.labels.levels, found.map.levels, thresholds, strict=True):
        table.add_row(Text(printable(level.name)), _map_in_words(found.map.method, one), _threshold(threshold))
    return table


def _map_in_words(method: str, level: LevelMap) -> str:
    if method == "temperature":
        return f"temperature {1 / level.slopes[0]:.4f}"
    if method == "none":
        return "none"
    return f"slopes {min(level.slopes):.3f} … {max(level.slopes):.3f}"


def _threshold(threshold: LevelThreshold | None) -> str:
    if threshold is None:
        return "none"
    return f"{threshold:.4f}" if isinstance(threshold, float) else f"{min(threshold):.4f} … {max(threshold):.4f}"


def _score_table(found: Calibration) -> Table:
    """One row per level and measure, two columns per split."""
    splits = list(dict.fromkeys(row.split for row in found.scores))
    table = Table()
    table.add_column("level", overflow="fold")
    table.add_column("measure", no_wrap=True)
    for split in splits:
        for when in ("before", "after"):
            table.add_column(Text(printable(f"{split} {when}")), justify="right")
    for level in found.model.labels.levels:
        rows = [row for row in found.scores if row.level == level.name]
        for place, (measure, cells) in enumerate(_cells(rows, found.by)):
            table.add_row(Text(printable(level.name if not place else "")), measure, *cells, end_section=place == 3)
    return table


def _cells(rows: list[CalibrationScores], by: str) -> list[tuple[str, list[str]]]:
    names = {"ECE": "ECE", "NLL": "NLL", "Brier": "Brier", "F1": by}
    return [(shown, [_as_text(value) for row in rows for value in getattr(row, name)]) for name, shown in names.items()]


def _as_text(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"
