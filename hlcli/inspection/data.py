"""The `debug_data` verb: what is wrong with a data set, before the first epoch and not after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hlcli.data.data_set_names import as_data_section
from hlcli.data.store import open_label_space
from hlcli.inspection.duplicates import duplicate_findings
from hlcli.inspection.files import file_findings, missing_rows
from hlcli.inspection.findings import Inspection, worst_first
from hlcli.inspection.hierarchy import hierarchy_findings
from hlcli.inspection.images import image_findings, look_at_images
from hlcli.inspection.labels import caption_findings, count_positives, count_split, label_findings
from hlcli.inspection.recipe_needs import recipe_findings
from hlcli.inspection.rows import read_splits
from hlcli.recipe import Recipe

if TYPE_CHECKING:
    from hlcli.sections import DataSection


def debug_data(
    source: DataSection | Recipe | str,
    *,
    images: bool = True,
    sample: int | None = None,
    seed: int = 0,
    workers: int = 2,
    min_positives: int = 10,
) -> Inspection:
    """Look for whatever spoils training or its scores; nothing is written.

    Args:
        source: a data set, its name, or a recipe, which is also asked what it wants of its data set.
        images: decode images; False looks at lists and labels alone.
        sample: decode so many images, drawn by the seed; None decodes all.
        seed: another seed draws others.
        workers: processes that decode.
        min_positives: labels with fewer positives in train get a warning.

    Raises:
        DataError: when the data set is not there or not prepared, its labels cannot be read, or none of its splits.
        ValueError: for a sample, workers or min_positives below 1.

    Examples:
        >>> found = hlcli.debug_data("shapes", images=False)
        >>> found.splits[0].split, found.splits[0].images, found.count("error")
        ('train', 4000, 0)
    """
    if min(workers, min_positives, 1 if sample is None else sample) < 1:
        raise ValueError(f"Expected at least 1, but got {sample=}, {workers=}, {min_positives=}.")
    data, recipe = (source.data, source) if isinstance(source, Recipe) else (as_data_section(source), None)
    labels = open_label_space(data)
    splits, findings = read_splits(data)
    positives = count_positives(splits, labels.num_labels)
    missing = [missing_rows(rows) for rows in splits]
    findings += file_findings(data, splits, missing)
    if images:
        table = look_at_images(splits, missing, sample=sample, seed=seed, workers=workers)
        findings += image_findings(table, splits, None if recipe is None else recipe.data.height_width)
        findings += duplicate_findings(table.hashes, table.thumbnails, table.rows, splits)
    findings += label_findings(splits, labels, positives, min_positives)
    findings += caption_findings(splits, are_needed=not labels.has_labels)
    findings += hierarchy_findings(labels, positives.get("train"))
    if recipe is not None:
        findings += recipe_findings(recipe, splits)
    support = {
        name: {split: int(counts[label]) for split, counts in positives.items()}
        for label, name in enumerate(labels.label_names)
    }
    return Inspection(data.name, tuple(map(count_split, splits)), support, worst_first(findings))
