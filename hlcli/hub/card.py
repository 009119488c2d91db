"""The card of a model, what it is, how well it does and how it is used: the `README.md` that the hub shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from hlcli.recipe import Recipe

_MOST_NAMES = 40
"""Of a level with more labels, only so many are named."""


def write_card(description: Mapping[str, Any], repository: str) -> str:
    """A model's card in Markdown, with the hub's metadata in front.

    Args:
        description: what `model.json` holds.
        repository: `owner/name`.
    """
    name, recipe = repository.rpartition("/")[2], Recipe.from_dict(description["recipe"])
    parts = [
        f"---\n{_metadata(description, recipe, name)}\n---",
        f"# {name}",
        _summary(description, recipe),
        _usage(description, recipe, repository),
        *_labels(description),
        *_metrics(description["facts"]),
        *_calibration(description),
        "## Recipe\n\nThe settings of its training, for `hlcli train`; paths are those of its author, without folders.",
        f"<details><summary>All settings</summary>\n\n```yaml\n{recipe.to_yaml()}```\n\n</details>",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(description: Mapping[str, Any], recipe: Recipe, name: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    numbers, task = dict(_numbers(description["facts"])), _task(description)
    title = recipe.data.name if recipe.data.sources else "images of its author"
    results = [
        EvalResult(
            task, recipe.data.name, title, metric, round(value, 6), dataset_split=description["facts"].get("split")
        )
        for metric, value in numbers.items()
    ]
    data = ModelCardData(
        library_name="hlcli",
        pipeline_tag=task,
        tags=["hlcli", recipe.model.name, "multi-label" if _tells_labels(description) else "image-captioning"],
        datasets=[recipe.data.name] if recipe.data.sources else None,
        metrics=list(numbers) or None,
        model_name=name,
        eval_results=results or None,
    )
    return data.to_yaml()


def _tells_labels(description: Mapping[str, Any]) -> bool:
    return "vocabulary" not in description


def _task(description: Mapping[str, Any]) -> str:
    """What the hub calls it."""
    return "image-classification" if _tells_labels(description) else "image-to-text"


def _numbers(facts: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Measured values by name; thresholds are settings."""
    for name, value in (facts.get("metrics") or {}).items():
        if value is not None and math.isfinite(value) and name.rpartition("/")[2] != "threshold":
            yield name, float(value)


def _summary(description: Mapping[str, Any], recipe: Recipe) -> str:
    """What it does, how, and where it is from."""
    height, width = description["image_size"]
    what = "Tells which labels an image shows." if _tells_labels(description) else "Describes images in a sentence."
    idea = str(type(recipe.model).__doc__).splitlines()[0]
    data = (
        f"`{recipe.data.name}`" if recipe.data.sources else f"images of its author (`data.dataset: {recipe.data.name}`)"
    )
    source = description["facts"].get("source")
    origin = f"Trained on {data}" if source is None else f"Converted from `{source}`, a checkpoint for {data}"
    return (
        f"{what} {origin}, with hlcli {description['hlcli']}: a command line and Python package for hierarchical and "
        f"multi-label image understanding.\n\n- method: `{recipe.model.name}`. {idea}\n"
        f"- image encoder: `{recipe.backbone.name}`, images of {height}×{width} pixels"
    )


def _usage(description: Mapping[str, Any], recipe: Recipe, repository: str) -> str:
    remark = ""
    if _tells_labels(description):
        command, call = "hlcli eval hf://{0} --images photos", 'hlcli.load("hf://{0}").predict(["a.jpg"])'
    else:
        command, call = "hlcli caption hf://{0} photos", 'hlcli.caption("hf://{0}", ["a.jpg"])'
        kinds = [kind for kind in ("grid", "region") if getattr(recipe.data, f"{kind}_features") is not None]
        command += "".join(f" --{kind}-features {kind}_features.hdf5" for kind in kinds)
        remark = "It reads features that were stored before: `hlcli embed images` makes them.\n\n" if kinds else ""
    lines = ["## Use", "", f"{remark}```", command, "```", "", "```python", "import hlcli", "", call, "```"]
    return "\n".join(lines).format(repository)


def _labels(description: Mapping[str, Any]) -> Iterator[str]:
    """The label levels with their thresholds, or the number of words."""
    if not _tells_labels(description):
        yield f"## Words\n\nIt knows {len(description['vocabulary']['tokens']):,} words, four marks among them."
        return
    levels = description["labels"]["levels"]
    thresholds = description["thresholds"] or [None] * len(levels)
    rows = ["| level | labels | threshold | names |", "|---|---|---|---|"]
    for level, threshold in zip(levels, thresholds, strict=True):
        names = level["label_names"]
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        rows.append(f"| {level['name']} | {len(names):,} | {_cut(threshold)} | {shown.replace('|', '/')} |")
    what = "An image has the labels whose scores, from 0 to 1, are above their threshold."
    yield "\n".join(["## Labels", "", what, "", *rows])


def _cut(threshold: float | list[float] | None) -> str:
    if threshold is None:
        return "not tuned"
    return "one per label" if isinstance(threshold, list) else f"{threshold:.4g}"


def _metrics(facts: Mapping[str, Any]) -> Iterator[str]:
    numbers = list(_numbers(facts))
    if numbers:
        head = f"On split `{facts['split']}`, {facts['weights']} weights of epoch {facts['epoch']}; fractions of 1."
        rows = [f"| {name} | {value:.4f} |" for name, value in numbers]
        yield "\n".join(["## Metrics", "", head, "", "| metric | value |", "|---|---|", *rows])


def _calibration(description: Mapping[str, Any]) -> Iterator[str]:
    """How scores were calibrated, and how far they are from probabilities before and after."""
    told = description["facts"].get("calibration")
    if "calibration" not in description or not isinstance(told, Mapping):
        return
    method = description["calibration"]["method"]
    head = f"Method `{method}`, fitted on split `{told['split']}`. Expected calibration error, 15 bins; 0 is best."
    rows = [
        f"| {row['split']} | {row['level']} | {_share(row['ECE'][0])} | {_share(row['ECE'][1])} |"
        for row in told["scores"]
    ]
    yield "\n".join(["## Calibration", "", head, "", "| split | level | before | after |", "|---|---|---|---|", *rows])


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
