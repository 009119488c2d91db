"""Numbers that describe SALGL's scenes, against what is worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hlcli.metrics.scenes import distribution_entropy, heat_map, scene_entropy, scene_label_shares

# Scene 0: label 0 in 3 images, with label 1 in 2 of them; scene 1: label 0 in 6. Label 2 was never seen.
COUNTS = np.array([[[3, 2, 0], [2, 2, 0], [0, 0, 0]], [[6, 0, 0], [0, 0, 0], [0, 0, 0]]], dtype=np.float32)


def test_even_scenes_have_the_highest_entropy_and_a_single_one_none() -> None:
    assert distribution_entropy([5, 5, 5]) == pytest.approx(math.log(3), abs=1e-6)
    assert distribution_entropy([7, 0, 0]) == pytest.approx(0, abs=1e-5)
    shares = [0.75 + 1e-8, 0.25 + 1e-8]
    assert distribution_entropy([3, 1]) == pytest.approx(-sum(q * math.log(q) for q in shares), rel=1e-14)


def test_an_image_belongs_to_its_first_most_probable_scene() -> None:
    probs = [[0.5, 0.5, 0], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1], [0.9, 0.1, 0]]
    assert scene_entropy(probs) == distribution_entropy([2, 1, 1])
    assert scene_entropy([[0.5, 0.5, 0], [0.5, 0, 0.5]]) == distribution_entropy([2, 0, 0])


def test_words_are_as_large_as_the_share_of_a_label_in_a_scene() -> None:
    assert scene_label_shares(COUNTS).tolist() == [[66, 200, 0], [133, 0, 0]]  # cut off, and 0 for what is never seen
    assert scene_label_shares(torch.from_numpy(COUNTS), scale=3).tolist() == [[1, 3, 0], [2, 0, 0]]


def test_heat_map_is_conditional_on_the_row_and_empty_on_the_diagonal() -> None:
    probs = heat_map(torch.from_numpy(COUNTS))
    assert probs.dtype == np.float64
    np.testing.assert_allclose(probs[0], [[0, 2 / 3, 0], [1, 0, 0], [0, 0, 0]], rtol=1e-7)
    assert not probs[1].any()
    assert COUNTS[0, 0, 0] == 3  # the counts are not touched


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scene_entropy(np.zeros((0, 3))), r"shape \[N, S\]"),
        (lambda: distribution_entropy([0, 0]), "images per scene"),
        (lambda: heat_map(np.zeros((2, 3))), r"shape \[S, L, L\]"),
        (lambda: scene_label_shares(np.zeros((2, 3, 4))), r"shape \[S, L, L\]"),
    ],
)
def test_other_shapes_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
