"""BLEU-1 to BLEU-4: n-gram precision over a whole set of captions, with a penalty for short ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu

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
