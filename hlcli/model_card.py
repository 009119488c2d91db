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
    name = repository.rpartition("/")[2]
    parts = [
        f"---\n{_metadata(description, name)}\n---",
        f"# {name}",
        _summary(description),
        _usage(description, repository),
        *_labels(description),
        *_metrics(description["facts"]),
        f"## Recipe\n\n```yaml\n{Recipe.from_dict(description['recipe']).to_yaml()}```",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(description: Mapping[str, Any], name: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    recipe, facts = description["recipe"], description["facts"]
    dataset, numbers, task = recipe["data"]["dataset"], dict(_numbers(facts)), _task(description)
    results = [
        EvalResult(task, dataset, dataset, metric, round(value, 6), dataset_split=facts.get("split"))
        for metric, value in numbers.items()
    ]
    data = ModelCardData(
        library_name="hlcli",
        pipeline_tag=task,
        tags=["hlcli", recipe["model"]["method"], "multi-label" if _tells_labels(description) else "image-captioning"],
        datasets=[dataset],
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
    for name, value in (facts.get("metrics") or {}).items():
        if value is not None and math.isfinite(value):
            yield name, float(value)


def _summary(description: Mapping[str, Any]) -> str:
    recipe, facts = description["recipe"], description["facts"]
    height, width = description["image_size"]
    what = "labels" if _tells_labels(description) else "captions"
    source = facts.get("source")
    origin = f"trained on `{recipe['data']['dataset']}`" if source is None else f"converted from `{source}`"
    return (
        f"Finds {what} of images: method `{recipe['model']['method']}`, backbone `{recipe['backbone']['name']}`, "
        f"{height}×{width} pixels, {origin}. Made with hlcli {description['hlcli']}."
    )


def _usage(description: Mapping[str, Any], repository: str) -> str:
    if _tells_labels(description):
        command, call = "hlcli eval hf://{0} --images photos", 'hlcli.load("hf://{0}").predict(["a.jpg"])'
    else:
        command, call = "hlcli caption hf://{0} photos", 'hlcli.caption("hf://{0}", ["a.jpg"])'
    lines = ["## Use", "", "```", command, "```", "", "```python", "import hlcli", "", call, "```"]
    return "\n".join(lines).format(repository)


def _labels(description: Mapping[str, Any]) -> Iterator[str]:
    """The label levels with their thresholds, or the number of words."""
    if not _tells_labels(description):
        yield f"## Words\n\n{len(description['vocabulary']['tokens']):,} tokens."
        return
    levels = description["labels"]["levels"]
    thresholds = description["thresholds"] or [None] * len(levels)
    rows = ["| level | labels | threshold | names |", "|---|---|---|---|"]
    for level, threshold in zip(levels, thresholds, strict=True):
        names = level["label_names"]
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        cut = "not tuned" if threshold is None else f"{threshold:.4g}"
        rows.append(f"| {level['name']} | {len(names):,} | {cut} | {shown.replace('|', '/')} |")
    yield "\n".join(["## Labels", "", *rows])


def _metrics(facts: Mapping[str, Any]) -> Iterator[str]:
    numbers = list(_numbers(facts))
    if numbers:
        head = f"On split `{facts['split']}`, {facts['weights']} weights of epoch {facts['epoch']}; fractions."
        rows = [f"| {name} | {value:.4f} |" for name, value in numbers]
        yield "\n".join(["## Metrics", "", head, "", "| metric | value |", "|---|---|", *rows])
