"""A comparison as tables of text, for the terminal and for a Markdown page alike."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from hlcli.comparison.results import Comparison, ComparisonTable, ItemScores, MetricDifference
from hlcli.plain_text import counted

_SHOWN_ITEMS = 5
"""So many labels or images that a model does better, and as many that it does worse."""


def comparison_tables(found: Comparison) -> Iterator[ComparisonTable]:
    """Models, metrics, differences to the first model, labels or images, recipes."""
    numbers = range(len(found.models))
    letters = [_letter(model) for model in numbers]
    models = tuple(zip(letters, map(_in_a_line, found.models), strict=True))
    yield ComparisonTable("models", ("", "model"), models, "", is_numeric=False)
    rows = tuple((name, *map(_number, values)) for name, values in found.values.items())
    yield ComparisonTable(f"{found.split}, {counted(found.num_images, 'image')}", ("metric", *letters), rows)
    for model in numbers[1:]:
        yield _difference_table(found, model)
        if found.items:
            yield _item_table(found, model)
    settings = tuple((key, *map(_setting, values)) for key, values in found.recipes.items())
    note = "" if settings else "The recipes are the same."
    yield ComparisonTable("recipes", ("key", *letters), settings, note, is_numeric=False)


def _difference_table(found: Comparison, model: int) -> ComparisonTable:
    rows = tuple(
        (row.metric, _signed(row.value), _interval(row), _p_value(row.p_value), _p_value(row.p_holm))
        for row in found.differences
        if row.model == model
    )
    head = ("metric", "difference", "interval", "p", "p corrected")
    return ComparisonTable(f"{_letter(model)} less A", head, rows, _method(found))


def _item_table(found: Comparison, model: int) -> ComparisonTable:
    """The largest gains of the finest level, then the largest losses, the largest last."""
    what, measure = ("labels", "AP") if found.items[-1].level else ("images", "CIDEr")
    level, name = found.items[-1].level, _letter(model)
    wins, losses = found.wins(model, level), found.losses(model, level)
    rows = tuple(_item_row(item, model) for item in (*wins[:_SHOWN_ITEMS], *losses[:_SHOWN_ITEMS][::-1]))
    total = sum(item.level == level for item in found.items)
    note = f"{measure}: {name} is better than A for {len(wins):,} of {total:,} {what}, worse for {len(losses):,}."
    head = (what, "positives", f"{measure} A", f"{measure} {name}", "difference")
    return ComparisonTable(f"{what} furthest apart", head, rows, note)


def _item_row(item: ItemScores, model: int) -> tuple[str, ...]:
    positives = f"{item.positives:,}" if item.level else ""
    scores = _number(item.scores[0]), _number(item.scores[model]), _signed(item.gain(model))
    return (_in_a_line(item.name), positives, *scores)


def _method(found: Comparison) -> str:
    """How intervals and p values are made."""
    known = sum(not math.isnan(row.p_value) for row in found.differences)
    return (
        f"Paired bootstrap, {100 * found.confidence:g} % intervals: {counted(found.num_images, 'image')} drawn anew "
        f"{counted(found.resamples, 'time')}, the same for all models; p corrected for "
        f"{counted(known, 'comparison')} (Holm)."
    )


def _letter(model: int) -> str:
    """What a model is called in the head of a column: A, B, …, Z, then by its number."""
    return chr(ord("A") + model) if model < 26 else f"#{model + 1}"


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def _signed(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:+.4f}"


def _interval(row: MetricDifference) -> str:
    return "n/a" if math.isnan(row.low) else f"{row.low:+.4f} … {row.high:+.4f}"


def _p_value(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _setting(value: Any) -> str:
    """A recipe's value as YAML has it, in a line."""
    return _in_a_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _in_a_line(text: str) -> str:
    return " ".join(text.split())


def write_page(found: Comparison) -> str:
    """The tables as a Markdown page."""
    parts = [f"# Comparison on {found.split}"]
    for table in comparison_tables(found):
        parts.append(f"## {table.title}")
        if table.rows:
            lines = [table.head, ["---"] * len(table.head), *table.rows]
            parts.append("\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines))
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts) + "\n"
