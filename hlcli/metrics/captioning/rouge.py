"""ROUGE-L: the longest common subsequence of a caption and its references."""

from __future__ import annotations

from collections.abc import Sequence

from pycocoevalcap.rouge.rouge import Rouge

from hlcli.metrics.captioning.arguments import Scores, as_documents, check_captions


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """F-measure (beta 1.2) of the best precision and the best recall over the references, as pycocoevalcap has it.

    Captions are split at single blanks and an empty one counts as one empty token, so that an empty hypothesis
    scores 1 against an empty reference. Arguments as of `bleu.bleu`.
    """
    check_captions(hypotheses, references)
    value, per_image = Rouge().compute_score(*as_documents(hypotheses, references))
    return Scores(float(value), per_image)
