"""Reports of made-up results, and what is in a page."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny_label_models import tiny_label_model

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.evaluation.label_scoring import Scored, SplitScores
from hlcli.evaluation.labels import Evaluation, measure
from hlcli.metrics.hierarchy import lift_scores
from hlcli.report.labels import write_label_report

HOSTILE = "</script><img src=x onerror=\"document.title='broken'\">"
SMALL = ("data.num_train=12", "data.num_val=6", "data.num_test=10")


class Page(HTMLParser):
    """A page's elements in order, as tag and attributes, and its text without style and scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style" and data.strip():
            self.words.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of all elements of that name."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def photo_bytes(colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def made_report(
    path: Path,
    labels: LabelSpace,
    *,
    images: int = 30,
    name: str = "image",
    ignore: bool = False,
    thresholds: Any = None,
) -> Evaluation:
    """A report on made-up scores of made-up photos, by a model without maps."""
    generator = np.random.default_rng(0)
    shape = (images, labels.num_labels)
    targets = generator.random(shape) < min(0.3, 3 / labels.num_labels)
    scores = (0.6 * targets + 0.5 * generator.random(shape)).clip(0, 1).astype(np.float32)
    left_out = generator.random(shape) < 0.1 if ignore else None
    colours = generator.integers(0, 256, (images, 3)).tolist()
    records: Sequence[Record] = [
        Record(f"{name} {row}", photo_bytes(tuple(colour)), tuple(np.flatnonzero(targets[row]).tolist()))
        for row, colour in enumerate(colours)
    ]
    loaded = tiny_label_model("linear", *SMALL)._replace(labels=labels)
    split_scores = SplitScores(list(lift_scores(scores, labels.parents)), None)
    scored = Scored([split_scores], targets, left_out)
    section: Any = loaded.recipe.eval
    metrics = measure(scored, 0, labels, section, thresholds or [0.5] * len(labels.levels))
    evaluation = Evaluation("test", metrics, split_scores, records, targets, left_out)
    write_label_report(path, evaluation, loaded)
    return evaluation
