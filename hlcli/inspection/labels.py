"""Labels and captions of a data set: how often there are, and which of them nothing can be learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from hlcli.data.labels import LabelSpace
from hlcli.inspection.findings import Finding, SplitCounts, finding_on
from hlcli.inspection.rows import SplitRows

_GET_MORE = "Get more images of {it, merge it|them, merge them} with others, or do not trust {its|their} scores."


def count_positives(splits: Sequence[SplitRows], num_labels: int) -> dict[str, np.ndarray]:
    """By split: number of positives of every fine label, [L]; indices that are no label are passed over."""
    flat = {rows.split: _flat(rows) for rows in splits}
    return {
        split: np.bincount(labels[(labels >= 0) & (labels < num_labels)], minlength=num_labels)
        for split, labels in flat.items()
    }


def count_split(rows: SplitRows) -> SplitCounts:
    """Images, labels and captions of a split."""
    images, without = len(rows.image_ids), sum(not labels for labels in rows.labels)
    mean = len(_flat(rows)) / images
    return SplitCounts(rows.split, images, mean, without, sum(rows.captions), rows.captions.count(0))


def label_findings(
    splits: Sequence[SplitRows], labels: LabelSpace, positives: Mapping[str, np.ndarray], min_positives: int
) -> list[Finding]:
    """Labels that never or hardly occur, or always, or always together; images without any.

    Args:
        splits: the data set.
        labels: its label space.
        positives: of every split, see `count_positives`.
        min_positives: labels with fewer in train get a warning.
    """
    if not labels.has_labels:
        return []
    return [finding for rows in splits for finding in _of_labels(rows, positives[rows.split], labels, min_positives)]


def caption_findings(splits: Sequence[SplitRows], *, are_needed: bool) -> list[Finding]:
    """Images that nobody says a word about.

    Args:
        splits: the data set.
        are_needed: also of splits without any caption.
    """
    findings: list[Finding] = []
    for rows in splits:
        silent = [rows.name(row) for row, count in enumerate(rows.captions) if not count]
        if len(silent) < len(rows.image_ids) or are_needed:
            what = f"{{}} of {len(rows.image_ids):,} images {{has|have}} no caption with a word."
            mend = "Captioning needs one of each image at least: write {it|them}, or list the images in data.skip."
            findings += finding_on(silent, "warning", "labels", what, mend, (rows.split,))
    return findings


def _of_labels(rows: SplitRows, positives: np.ndarray, labels: LabelSpace, min_positives: int) -> list[Finding]:
    """What is odd about the labels of a split."""
    split, names, all_labels = (rows.split,), labels.label_names, f"{{}} of {labels.num_labels:,} labels"
    images = f"{{}} of {len(rows.image_ids):,} images"
    outside = [
        rows.name(row) for row, own in enumerate(rows.labels) if own and not 0 <= min(own) <= max(own) < len(names)
    ]
    mend = "Run `hlcli preprocess` again, with --overwrite."
    what = f"{images} {{has|have}} labels outside 0..{len(names) - 1}."
    findings = finding_on(outside, "error", "labels", what, mend, split)
    never = [names[label] for label in np.flatnonzero(positives == 0)]
    if rows.split == "train":
        what = f"{all_labels} {{has|have}} no positive in train: {{it|they}} cannot be learnt."
        findings += finding_on(never, "warning", "labels", what, _GET_MORE, split)
        order = [label for label in np.argsort(positives, kind="stable") if 0 < positives[label] < min_positives]
        what = f"{all_labels} {{has|have}} fewer than {min_positives} positives in train."
        few = [f"{names[label]} ({positives[label]})" for label in order]
        findings += finding_on(few, "warning", "labels", what, _GET_MORE, split)
        findings += _degenerate(rows, names)
    else:
        what = f"{all_labels} {{has|have}} no positive in {rows.split}: {{it|they}} cannot be measured, and "
        what += "eval.empty_labels decides."
        findings += finding_on(never, "note", "labels", what, "", split)
    empty = [rows.name(row) for row, own in enumerate(rows.labels) if not own]
    mend = "Right, if {it shows|they show} none of the labels; else label {it|them}, or list {it|them} in data.skip."
    what = f"{images} {{has|have}} no label: all labels are learnt as absent there."
    return findings + finding_on(empty, "note", "labels", what, mend, split)


def _degenerate(rows: SplitRows, names: Sequence[str]) -> list[Finding]:
    """Labels of the training split that say nothing: on every image, or on the same images as another."""
    lengths = np.fromiter(map(len, rows.labels), dtype=np.int64, count=len(rows.labels))
    labels = _flat(rows)
    order = np.argsort(labels, kind="stable")
    owners = np.repeat(np.arange(len(lengths)), lengths)[order]
    edges = np.searchsorted(labels[order], np.arange(len(names) + 1))
    labels_of: dict[bytes, list[str]] = {}  # by the rows of their images
    for label, name in enumerate(names):
        labels_of.setdefault(owners[edges[label] : edges[label + 1]].tobytes(), []).append(name)
    labels_of.pop(b"", None)
    everywhere = labels_of.pop(np.arange(len(lengths)).tobytes(), [])
    what = f"{{}} of {len(names):,} labels {{is|are}} on every image of train: there is nothing to tell apart."
    mend = "Leave {it|them} out, or add images without {it|them}."
    findings = finding_on(everywhere, "warning", "labels", what, mend, (rows.split,))
    together = [" = ".join(group) for group in labels_of.values() if len(group) > 1]
    what = "{} {group of labels always occurs|groups of labels always occur} together in train: "
    what += "a model cannot tell one from another."
    mend = "Merge the labels, unless they are rare and only meet by chance."
    return findings + finding_on(together, "warning", "labels", what, mend, (rows.split,))


def _flat(rows: SplitRows) -> np.ndarray:
    """The labels of all images, one after the other."""
    return np.fromiter(chain.from_iterable(rows.labels), dtype=np.int64)
