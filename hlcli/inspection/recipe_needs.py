"""What a recipe wants of a data set, asked before its first epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hlcli.errors import DataError
from hlcli.features.layout import FeatureKind
from hlcli.inspection.findings import Finding, finding_on
from hlcli.inspection.rows import SplitRows
from hlcli.recipe import Recipe


def recipe_findings(recipe: Recipe, splits: Sequence[SplitRows]) -> Iterator[Finding]:
    """Splits, labels, captions, label vectors, label graphs and image features that the recipe asks for in vain.

    Args:
        recipe: the recipe.
        splits: the splits of its data set.
    """
    names = [rows.split for rows in splits]
    absent = [split for split in dict.fromkeys(("train", recipe.eval.split)) if split not in names]
    what = f"{{}} {{split|splits}} that the recipe reads {{is|are}} not there; those there: {', '.join(names)}."
    mend = "Set eval.split to one that is there, or prepare what is missing."
    yield from finding_on(absent, "error", "recipe", what, mend)
    task = recipe.model.task
    if not any(any(rows.captions if task == "captions" else rows.labels) for rows in splits):
        yield Finding("error", "recipe", f"{recipe.model.method} learns from {task}, and the data set has none.")
    try:
        recipe.model.describe_files(recipe.data.folder())
    except DataError as error:
        yield Finding("error", "recipe", error.message, (), error.hint or "")
    yield from _feature_findings("grid", recipe, splits)
    yield from _feature_findings("region", recipe, splits)


def _feature_findings(kind: FeatureKind, recipe: Recipe, splits: Sequence[SplitRows]) -> Iterator[Finding]:
    """A feature file that cannot be read, or images that it lacks."""
    path = recipe.data.grid_features if kind == "grid" else recipe.data.region_features
    if path is None:
        return
    from hlcli.features.reading import FeatureFile

    try:
        features = FeatureFile(path, kind)
        for rows in splits:
            missing = [rows.name(row) for row, image_id in enumerate(rows.image_ids) if image_id not in features]
            what = f"data.{kind}_features: {path} lacks {len(missing):,} of {len(rows.image_ids):,} images."
            mend = "Make it for all splits: `hlcli embed images`."
            if missing:
                yield Finding("error", "recipe", what, tuple(missing), mend, (rows.split,))
    except DataError as error:
        yield Finding("error", "recipe", f"data.{kind}_features: {error.message}", (), error.hint or "")
