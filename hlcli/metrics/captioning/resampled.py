"""Caption metrics of images that are drawn again, with replacement: what `bootstrap` asks for a thousand times.

BLEU is made of counts that are summed over images; ROUGE-L, CIDEr and SPICE are means over images. How rare an n-gram
is, which CIDEr weighs it by, stays that of the whole split. METEOR's value of a set cannot be made of its images'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hlcli.metrics.captioning.bleu import BleuCounts, bleu_counts, bleu_of_counts
from hlcli.metrics.captioning.ptb import ptb_tokenize
from hlcli.metrics.captioning.summary import CaptionMetrics

_MEANS = ("ROUGE-L", "CIDEr", "SPICE")


def caption_measure(
    metrics: CaptionMetrics, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> Callable[[np.ndarray], dict[str, float]]:
    """What `bootstrap` measures: those of the metrics that can be, under their names.

    Args:
        metrics: of the captions.
        hypotheses: one caption per image, as people write.
        references: the true captions of each image.
    """
    per_image = {name: metrics.per_image[name] for name in _MEANS if name in metrics.values}
    wanted = [name for name in metrics.values if name.startswith("BLEU-")]
    counts: BleuCounts | None = None
    if wanted:
        tokenized = [ptb_tokenize(caption) for caption in hypotheses]
        counts = bleu_counts(tokenized, [[ptb_tokenize(text) for text in texts] for texts in references])

    def measure(rows: NDArray[np.int64]) -> dict[str, float]:
        weights = np.bincount(rows, minlength=metrics.num_images)
        found = {name: float(weights @ scores) / len(rows) for name, scores in per_image.items()}
        if counts is not None:
            values = bleu_of_counts(BleuCounts(*(weights @ part for part in counts)))
            found |= {name: values[int(name[-1]) - 1] for name in wanted}
        return found

    return measure
