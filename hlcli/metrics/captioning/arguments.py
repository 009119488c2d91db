"""What the caption metrics are given, checked, and what they return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Scores(NamedTuple):
    """One metric over a set of images.

    Args:
        value: the score of the whole set.
        per_image: [B] the score of each image's hypothesis, in the order given.
    """

    value: float
    per_image: NDArray[np.float64]


def check_captions(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """One hypothesis and at least one reference per image.

    Raises:
        ValueError: saying what was expected instead.
    """
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise ValueError("Expected `hypotheses` and `references` to hold one entry per image, but got a single string")
    if len(hypotheses) != len(references):
        raise ValueError(
            f"Expected one hypothesis per image, but got {len(hypotheses)} hypotheses and {len(references)} "
            "lists of references"
        )
    if not hypotheses:
        raise ValueError("Expected at least one image, but got none")
    check_references(references)


def check_references(references: Sequence[Sequence[str]]) -> None:
    """A list of at least one reference for every image.

    Raises:
        ValueError: naming the first image for which it is not so.
    """
    for row, captions in enumerate(references):
        if isinstance(captions, str) or not captions:
            raise ValueError(f"Expected `references[{row}]` to be a list of captions, but got {captions!r}")


def as_documents(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """References and hypotheses as pycocoevalcap takes them: number of the image → list of captions."""
    return (
        {row: list(captions) for row, captions in enumerate(references)},
        {row: [caption] for row, caption in enumerate(hypotheses)},
    )
