"""What reports of labels and of captions have in common: recipe, data, how the run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.store import open_records, split_names
from hlcli.errors import HlcliError
from hlcli.metrics.bootstrap import Interval
from hlcli.models.folder import LoadedModel
from hlcli.plain_text import counted
from hlcli.recipe import Recipe
from hlcli.report.charts import Chart, Line, line_chart, thin_out
from hlcli.runs import Run
from hlcli.visualization.curves import METRICS, Event, best_evaluation, is_of_levels, level_names, loss_names

_INK = 5  # number of the colour of what belongs to no level


class _Split(NamedTuple):
    """A split of the data set and its number of images."""

    name: str
    images: int
    is_measured: bool


class Training(NamedTuple):
    """How a run went: charts, and the best epoch in words."""

    charts: Sequence[Chart]
    best: str


def recipe_facts(loaded: LoadedModel) -> list[tuple[str, str]]:
    """What one wants to know of a model first, by name."""
    recipe, facts = loaded.recipe, loaded.facts
    height, width = recipe.data.height_width
    found = [
        ("Method", recipe.model.name),
        ("Image encoder", recipe.backbone.name),
        ("Data set", recipe.data.name),
        ("Image size", f"{height} × {width}"),
        ("Objective", str(getattr(recipe.objective, "loss", ""))),
        ("Optimiser", f"{recipe.optim.optimizer}, learning rate {recipe.optim.lr:g}"),
        ("Training", f"{counted(recipe.train.epochs, 'epoch')}, batches of {recipe.train.batch_size}"),
    ]
    known = {"weights": "Weights", "epoch": "Epoch", "source": "Converted from"}
    return found + [(title, str(facts[name])) for name, title in known.items() if facts.get(name) is not None]


def split_facts(recipe: Recipe, measured: str) -> list[_Split]:
    """Splits of the data set with their sizes; none where the data is not on this machine."""
    try:
        sizes = {name: len(open_records(recipe.data, name)) for name in split_names(recipe.data)}
    except (HlcliError, OSError):
        return []
    return [_Split(name, size, name == measured) for name, size in sizes.items()]


def training_facts(folder: Path | None, recipe: Recipe) -> Training | None:
    """The curves of a run; None where the model is not that of a run, or nothing was recorded."""
    if folder is None or not (run := Run(folder)).metrics_file.is_file():
        return None
    events = run.events()
    if not events:
        return None
    evaluations = [event for event in events if event["event"] == "evaluation"]
    best = best_evaluation(evaluations, recipe.select_by)
    words = (
        ""
        if best is None
        else f"Best {recipe.select_by}: {best.value:.4f}, epoch {best.epoch}, {best.weights} weights."
    )
    return Training(_step_charts(events) + _metric_charts(evaluations, recipe.select_by), words)


def _step_charts(events: Sequence[Event]) -> list[Chart]:
    """Losses and learning rate over steps."""
    steps = [event for event in events if event["event"] == "step"]
    losses = [_line(steps, "step", name, name, number) for number, name in enumerate(loss_names(steps))]
    rates = [_line(steps, "step", "lr", "learning rate", 0)]
    charts = [line_chart("Training loss", losses, x_name="step", counts_x=True)] if losses else []
    return charts + ([line_chart("Learning rate", rates, x_name="step", counts_x=True)] if rates[0].x else [])


def _metric_charts(evaluations: Sequence[Event], select_by: str) -> list[Chart]:
    """A chart per metric over epochs: a colour per level, dashes for the weights that are not averaged."""
    levels = level_names(evaluations)
    plain = select_by.rpartition("/")[2] if select_by.rpartition("/")[0] in levels else select_by
    has_average = any(event["weights"] == "ema" for event in evaluations)
    charts = []
    for metric in dict.fromkeys([plain, *METRICS, "loss"]):
        lines = []
        is_shared = len(levels) > 1 and not is_of_levels(metric, evaluations)
        for number, level in enumerate(reversed(levels)):
            key = metric if level == levels[-1] else f"{level}/{metric}"
            for weights in ("regular", "ema"):
                own = [event for event in evaluations if event["weights"] == weights]
                words = [level] * (len(levels) > 1 and not is_shared) + [weights] * has_average
                line = _line(own, "epoch", key, " ".join(words) or metric, _INK if is_shared else number)
                lines.append(line._replace(is_dashed=has_average and weights == "regular"))
        lines = [line for line in lines if line.x]
        if lines:
            title = f"{metric} on {evaluations[-1]['split']}"
            charts.append(line_chart(title, lines, x_name="epoch", counts_x=True))
    return charts


def _line(events: Sequence[Event], axis: str, metric: str, name: str, colour: int) -> Line:
    known = [event for event in events if metric in event["metrics"]]
    values = [event["metrics"][metric] for event in known]
    numbers = [float("nan") if value is None else float(value) for value in values]
    return Line(name, *thin_out([float(event[axis]) for event in known], numbers), colour)


def interval_facts(intervals: Mapping[str, Interval], name: str) -> dict[str, Any]:
    """A number's interval for the template; empty where there is none."""
    found = intervals.get(name)
    return {} if found is None or found.low != found.low else {"low": found.low, "high": found.high}
