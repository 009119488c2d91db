from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.features.windows import WindowPool, window_boxes

GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))


def test_the_default_windows_are_fifty_and_begin_with_the_whole_image():
    boxes = window_boxes()
    assert boxes.shape == (50, 4)
    assert boxes[0].tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(boxes[1], torch.tensor([0, 0, 2 / 3, 2 / 3]))
    torch.testing.assert_close(boxes[2], torch.tensor([1 / 3, 0, 1, 2 / 3]))  # to the right, then down


def test_windows_of_a_scale_overlap_by_half_and_reach_every_edge():
    boxes = window_boxes([4])
    torch.testing.assert_close(boxes[1, 0], (boxes[0, 0] + boxes[0, 2]) / 2)
    assert boxes[:, :2].min() == 0
    assert boxes[:, 2:].max() == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(grid=GRIDS)
def test_every_window_takes_shares_of_cells_that_make_up_one(grid: tuple[int, int]):
    weights = WindowPool(grid).weights
    assert weights.shape == (50, grid[0] * grid[1])
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(50))


def test_a_window_is_the_mean_of_the_cells_under_it():
    pool = WindowPool((3, 3), window_boxes([1, 2]))  # windows of two thirds cover 2×2 cells
    cells = torch.arange(9.0).reshape(1, 9, 1)
    torch.testing.assert_close(pool(cells).flatten(), torch.tensor([4.0, 2.0, 3.0, 5.0, 6.0]))


def test_a_cell_that_is_half_covered_counts_half():
    pool = WindowPool((1, 2), torch.tensor([[0.25, 0.0, 1.0, 1.0]]))
    torch.testing.assert_close(pool.weights, torch.tensor([[1 / 3, 2 / 3]]))


def test_windows_add_nothing_to_the_weights_of_a_network():
    assert WindowPool((2, 2)).state_dict() == {}


def test_half_precision_stays_half():
    assert WindowPool((2, 2))(torch.ones(1, 4, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("scales", [(), (0,), (2, -1)])
def test_scales_below_one_are_refused(scales):
    with pytest.raises(ValueError, match="scales of at least 1"):
        window_boxes(scales)
