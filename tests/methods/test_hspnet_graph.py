"""What HSPNet makes of graphs whose cosines are not all positive, and of labels that are no words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hlcli.data.labels import LabelSpace
from hlcli.errors import RecipeError
from hlcli.methods.hspnet.config import Hspnet
from hlcli.methods.hspnet.relation import cancelling_rows, label_adjacency

from .hspnet_parts import make, make_clip, tree


def relation_of(first_row: list[float]) -> torch.Tensor:
    """Five labels, of which only the first has a row of its own; the others are alike."""
    relation = torch.full((5, 5), 0.5).fill_diagonal_(1)
    relation[0] = torch.tensor([1.0, *first_row])
    return relation


@pytest.mark.parametrize(
    ("first_row", "expected"),
    [
        ([0.4, 0.3, 0.2, 0.1], []),
        ([0.4, 0.3, -0.2, -0.9], []),  # the last is not among the kept
        ([0.21, -0.1, -0.1, -0.3], [0]),
        ([-0.1, -0.2, -0.3, -0.4], [0]),
        ([0.0, 0.0, 0.0, 0.0], []),
    ],
)
def test_rows_whose_neighbours_nearly_cancel_are_found(first_row: list[float], expected: list[int]) -> None:
    assert cancelling_rows(relation_of(first_row), keep_share=0.8) == expected


def test_weights_stay_shares_of_the_sum_as_published() -> None:
    """Nothing is clamped: neighbours of both signs make huge weights, a sum below zero makes none."""
    huge = label_adjacency(relation_of([0.21, -0.1, -0.1, -0.3]), keep_share=0.8)[0]
    torch.testing.assert_close(huge, torch.tensor([0.8, 4.2, -2.0, -2.0, 0.0]), rtol=1e-4, atol=1e-4)
    none = label_adjacency(relation_of([-0.1, -0.2, -0.3, -0.4]), keep_share=0.8)[0]
    assert none.tolist() == [1, 0, 0, 0, 0]


def test_a_graph_whose_weights_mean_little_is_told_once_per_level(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = tree()
    relation = np.full((9, 9), 0.5, dtype=np.float32)
    relation[2, :6] = relation[:6, 2] = [-0.4, -0.4, 0, 0.2, 0.2, -0.4]
    np.fill_diagonal(relation, 1)
    np.save(tmp_path / "graph.npy", relation)
    model = Hspnet(graph=tmp_path / "graph.npy").build(make_clip(), labels, data_folder=tmp_path).double()
    assert model(torch.zeros(1, 3, 64, 64, dtype=torch.float64)).logits.isfinite().all()
    warnings = [record.getMessage() for record in caplog.records if "cancel" in record.getMessage()]
    assert len(warnings) == 1
    assert "the neighbours of 1 of 6 labels" in warnings[0]
    assert "(kind2 of thing of thing)" in warnings[0]


def test_graphs_of_positive_cosines_and_models_without_one_are_not_warned_of(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    np.save(tmp_path / "graph.npy", np.full((9, 9), 0.3) + 0.7 * np.eye(9))
    Hspnet(graph=tmp_path / "graph.npy").build(make_clip(), tree(), data_folder=tmp_path)
    Hspnet().build(make_clip(), tree())
    make(LabelSpace.flat(["cat"]))
    assert "cancel" not in caplog.text


def test_labels_that_are_bare_numbers_need_words() -> None:
    labels = LabelSpace.from_parents([["pets"], ["0", "1", "cat"]], [[0, 0, 0]])
    with pytest.raises(RecipeError, match=r"^model\.label_texts: 2 of 4 labels are bare numbers \(0, 1\)") as caught:
        Hspnet().build(make_clip(), labels)
    assert "model.label_texts" in str(caught.value.hint)
    assert "--" not in str(caught.value)
    words = json.loads('{"0": "dog", "1": "old_bird"}')
    assert Hspnet(label_texts=words)._texts(["0", "1", "diningtable"]) == ("dog", "old bird", "diningtable")
    with pytest.raises(RecipeError, match=r"model\.label_texts: .*empty text"):
        Hspnet(label_texts={"cat": " "})._texts(["cat"])
