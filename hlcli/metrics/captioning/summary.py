"""All caption metrics of one evaluation, under the names that logs, tables and recipes use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hlcli.metrics.captioning.arguments import Scores, check_captions
from hlcli.metrics.captioning.bleu import bleu
from hlcli.metrics.captioning.cider import cider_d
from hlcli.metrics.captioning.java import check_meteor, check_spice, meteor, spice
from hlcli.metrics.captioning.names import METRICS, WITHOUT_JAVA
from hlcli.metrics.captioning.ptb import ptb_tokenize
from hlcli.metrics.captioning.rouge import rouge_l

_CHECKS: Mapping[str, Callable[[], None]] = {"METEOR": check_meteor, "SPICE": check_spice}
_SINGLE: Mapping[str, Callable[[Sequence[str], Sequence[Sequence[str]]], Scores]] = {
    "METEOR": meteor,
    "ROUGE-L": rouge_l,
    "CIDEr": cider_d,
    "SPICE": spice,
}


@dataclass(frozen=True, eq=False)
class CaptionMetrics:
    """Caption metrics of a set of images; prints as a table.

    Args:
        values: `BLEU-1`…`BLEU-4`, `METEOR`, `ROUGE-L`, `CIDEr` (which is CIDEr-D), `SPICE`: those that were asked
            for, in this order, as fractions; papers multiply them by 100.
        per_image: the same names → [B] the score of each image.
        image_ids: [B] what the images are called, where that is known.

    Examples:
        >>> print(CaptionMetrics({"BLEU-4": 0.25, "CIDEr": 1.5}, {}))
        BLEU-4  0.2500
        CIDEr   1.5000
    """

    values: Mapping[str, float]
    per_image: Mapping[str, NDArray[np.float64]] = field(repr=False)
    image_ids: tuple[str, ...] = field(default=(), repr=False)

    @property
    def num_images(self) -> int:
        """Number of images that were scored."""
        return len(next(iter(self.per_image.values()), ()))

    def __str__(self) -> str:
        width = max(map(len, self.values), default=0)
        return "\n".join(f"{name:{width}}  {value:.4f}" for name, value in self.values.items())

    def to_json(self) -> dict[str, float | None]:
        """Name → number, with None for what is not a number."""
        return {name: None if math.isnan(value) else value for name, value in self.values.items()}


def check_metrics(names: Sequence[str]) -> None:
    """Make sure that metrics are known and can be computed here, before any long work.

    Raises:
        ValueError: when there is none, or one is not among `METRICS`.
        MissingDependencyError: when one needs Java, or models, that are not there.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names or isinstance(names, str):
        raise ValueError(
            f"Expected `names` to be some of {', '.join(METRICS)}, but got {', '.join(unknown) or names!r}"
        )
    for name in names:
        _CHECKS.get(name, lambda: None)()


def caption_metrics(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    names: Sequence[str] = WITHOUT_JAVA,
    tokenized: bool = False,
) -> CaptionMetrics:
    """Score one caption per image.

    Args:
        hypotheses: one caption per image; may be empty.
        references: the true captions of each image, one or more.
        names: which metrics, of `METRICS`; `BLEU` gives all four.
        tokenized: the captions are PTB tokens separated by blanks already; otherwise each is tokenised here by itself.

    Raises:
        ValueError: when hypotheses and references do not fit together, or a metric is not known.
        MissingDependencyError: when a metric cannot be computed here.
        HlcliError: when METEOR's or SPICE's program fails.
    """
    check_metrics(names)
    check_captions(hypotheses, references)
    if not tokenized:
        hypotheses = [ptb_tokenize(caption) for caption in hypotheses]
        references = [[ptb_tokenize(caption) for caption in captions] for captions in references]
    scores: dict[str, Scores] = {}
    for name in METRICS:
        if name == "BLEU" and name in names:
            scores |= {f"BLEU-{n}": score for n, score in enumerate(bleu(hypotheses, references), start=1)}
        elif name in names:
            scores[name] = _SINGLE[name](hypotheses, references)
    return CaptionMetrics(
        {name: score.value for name, score in scores.items()},
        {name: score.per_image for name, score in scores.items()},
    )
