"""BLEU-1 to BLEU-4: n-gram precision over a whole set of captions, with a penalty for short ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from hlcli.metrics.captioning.arguments import Scores, as_documents, check_captions

MAX_N = 4


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Scores, Scores, Scores, Scores]:
    """BLEU-1, BLEU-2, BLEU-3 and BLEU-4, as pycocoevalcap counts them.

    Of several references, the one closest in length decides the penalty. `per_image` takes each image for a whole
    set; its mean is not `value`.

    Args:
        hypotheses: one tokenised caption per image, tokens separated by blanks.
        references: the tokenised true captions of each image, one or more.

    Raises:
        ValueError: when the two do not fit together.
    """
    check_captions(hypotheses, references)
    values, per_image = Bleu(MAX_N).compute_score(*as_documents(hypotheses, references), verbose=0)
    one, two, three, four = (
        Scores(float(value), np.array(scores)) for value, scores in zip(values, per_image, strict=True)
    )
    return one, two, three, four


class BleuCounts(NamedTuple):
    """All that BLEU is made of: of each image, or summed over images.

    Args:
        correct: n-grams of one to four words that a reference has too, [B, 4] or [4].
        guessed: n-grams that the caption has, [B, 4] or [4].
        length: words of the caption, [B] or one number.
        reference_length: words of the reference closest in length.
    """

    correct: NDArray[np.int64]
    guessed: NDArray[np.int64]
    length: NDArray[np.int64]
    reference_length: NDArray[np.int64]


def bleu_counts(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> BleuCounts:
    """What each image adds to BLEU; arguments as of `bleu`."""
    check_captions(hypotheses, references)
    scorer = BleuScorer(n=MAX_N)
    for hypothesis, texts in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, list(texts))
    rows = scorer.ctest
    closest = [min((abs(length - row["testlen"]), length) for length in row["reflen"])[1] for row in rows]
    return BleuCounts(
        correct=np.array([row["correct"] for row in rows]),
        guessed=np.array([row["guess"] for row in rows]),
        length=np.array([row["testlen"] for row in rows]),
        reference_length=np.array(closest),
    )


def bleu_of_counts(total: BleuCounts) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 of a set of images from its summed counts, as pycocoevalcap has it."""
    few, fewer = 1e-9, 1e-15  # its guards against empty sets
    precisions = np.cumprod((total.correct + fewer) / (total.guessed + few))
    ratio = (float(total.length) + fewer) / (float(total.reference_length) + few)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    one, two, three, four = (float(value) ** (1 / n) * penalty for n, value in enumerate(precisions, start=1))
    return one, two, three, four
