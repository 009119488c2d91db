"""HIN's caption metrics: the text that is scored, and every figure of a case."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hlcli.metrics.captioning.cider import CiderD, cider_d, document_frequencies
from hlcli.metrics.captioning.java import java_version, meteor
from hlcli.metrics.captioning.ptb import ptb_tokenize
from hlcli.metrics.captioning.summary import caption_metrics

from .cases import Case

TOLERANCE = 1e-9
METEOR_TOLERANCE = 1e-6
SCORES = {"BLEU", "ROUGE_L", "CIDEr_D", "METEOR"}
KNOWN = {
    *SCORES, *(f"{name}_per_image" for name in SCORES), "CIDEr_D_reward_df_per_caption",
    "raw_references", "raw_hypotheses", "tokenised_references", "tokenised_hypotheses",
    "method", "kind", "case", "seed", "note", "tolerance",
}  # fmt: skip


def check_caption_metrics(case: Case) -> None:
    about = case.about
    unknown = sorted(name for name in set(about) - KNOWN if not isinstance(about[name], str))
    assert not unknown, f"figures that nothing compares: {unknown}"
    images = list(about["raw_hypotheses"])
    raw_references, references = ([about[f"{kind}_references"][i] for i in images] for kind in ("raw", "tokenised"))
    raw_hypotheses, hypotheses = ([about[f"{kind}_hypotheses"][i][0] for i in images] for kind in ("raw", "tokenised"))
    assert [[ptb_tokenize(caption) for caption in captions] for captions in raw_references] == references
    assert [ptb_tokenize(caption) for caption in raw_hypotheses] == hypotheses
    metrics = caption_metrics(raw_hypotheses, raw_references)
    bleu_names = [f"BLEU-{n}" for n in range(1, 5)]
    expect(case, "BLEU", [metrics.values[name] for name in bleu_names])
    expect(case, "BLEU_per_image", [metrics.per_image[name] for name in bleu_names])
    for key, name in (("ROUGE_L", "ROUGE-L"), ("CIDEr_D", "CIDEr")):
        expect(case, key, metrics.values[name])
        expect(case, f"{key}_per_image", metrics.per_image[name])
    if "CIDEr_D_reward_df_per_caption" in about:
        check_reward(case, about["CIDEr_D_reward_df_per_caption"], hypotheses, references)
    if "METEOR" in about:
        check_meteor(case, hypotheses, references)


def check_reward(
    case: Case, expected: Mapping[str, Any], hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> None:
    """CIDEr-D with every reference caption as a document, for the whole set and as the reward of a batch."""
    frequencies = document_frequencies([caption] for captions in references for caption in captions)
    assert frequencies.num_documents == expected["num_documents"]
    scores = cider_d(hypotheses, references, frequencies)
    compare(case, scores.value, expected["mean"])
    compare(case, scores.per_image, expected["per_image"])
    rows = np.random.default_rng(0).permutation(len(references)).tolist()
    rewards = CiderD(references, frequencies).scores(rows, [hypotheses[row] for row in rows])
    compare(case, rewards, [expected["per_image"][row] for row in rows])


def check_meteor(case: Case, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if java_version() is None:
        warnings.warn("METEOR was not compared: there is no Java that runs on PATH", stacklevel=2)
        return
    scores = meteor(hypotheses, references)
    expect(case, "METEOR", scores.value, METEOR_TOLERANCE)
    expect(case, "METEOR_per_image", scores.per_image, METEOR_TOLERANCE)


def expect(case: Case, key: str, actual: ArrayLike, tolerance: float = TOLERANCE) -> None:
    """Compare with a figure of the description; a case need not have every one."""
    if key in case.about:
        compare(case, actual, case.about[key], tolerance)


def compare(case: Case, actual: ArrayLike, expected: ArrayLike, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-12)
    case.num_compared += 1
