"""The order of batches is a function of the seed alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hlcli.data.loader import BatchOrder, LabelItem, collate, stack, whole_batches
from hlcli.data.loader_processes import batches, make_loader
from hlcli.errors import DataError


@given(
    rows=st.integers(1, 60),
    processes=st.integers(1, 3),
    parts=st.integers(1, 3),
    share=st.integers(1, 4),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 50),
)
def test_processes_and_parts_share_the_same_global_batches(rows, processes, parts, share, seed, epoch):
    batch = processes * parts * share
    if rows < batch:
        with pytest.raises(DataError, match="fewer than"):
            BatchOrder(rows, batch, seed=seed, num_processes=processes, accumulation_steps=parts)
        return
    alone = BatchOrder(rows, batch, seed=seed)
    alone.start(epoch)
    together = []
    for rank in range(processes):
        order = BatchOrder(rows, batch, seed=seed, rank=rank, num_processes=processes, accumulation_steps=parts)
        order.start(epoch)
        together.append(list(order))
        assert len(together[-1]) == len(order)
    for step, whole in enumerate(alone):
        pieces = [
            row
            for rank in range(processes)
            for part in together[rank][step * parts : (step + 1) * parts]
            for row in part
        ]
        assert pieces == whole
    seen = [row for whole in alone for _, row in whole]
    assert len(seen) == len(set(seen)) == rows // batch * batch


@given(
    rows=st.integers(1, 60),
    processes=st.integers(1, 3),
    parts=st.integers(1, 3),
    share=st.integers(1, 4),
    epoch=st.integers(0, 5),
)
def test_the_rest_of_an_epoch_can_be_a_smaller_batch_of_equal_parts(rows, processes, parts, share, epoch):
    batch, pieces = processes * parts * share, processes * parts
    if rows < pieces:
        with pytest.raises(DataError, match="fewer than"):
            BatchOrder(rows, batch, seed=3, num_processes=processes, accumulation_steps=parts, keep_last=True)
        return
    seen, sizes = [], []
    for rank in range(processes):
        order = BatchOrder(
            rows, batch, seed=3, rank=rank, num_processes=processes, accumulation_steps=parts, keep_last=True
        )
        order.start(epoch)
        own = list(order)
        assert len(own) == len(order) == order.steps_per_epoch * parts
        sizes.append([len(part) for part in own])
        assert min(sizes[-1]) == order.smallest_part > 0
        seen += [row for part in own for _, row in part]
    assert len(seen) == len(set(seen)) == rows - rows % batch % pieces
    assert all(column == sizes[0] for column in sizes)
    assert all(len(set(sizes[0][i : i + parts])) == 1 for i in range(0, len(sizes[0]), parts))


def test_published_steps_per_epoch_count_the_last_small_batch():
    published = {82_081: 642, 5_717: 45, 119_103: 931, 5_994: 47}  # HSPNet's training logs, batches of 128
    assert {rows: BatchOrder(rows, 128, seed=0, keep_last=True).steps_per_epoch for rows in published} == published


def test_starting_in_mid_epoch_gives_the_rest_of_it():
    order = BatchOrder(23, 4, seed=5)
    order.start(3)
    whole = list(order)
    order.start(3, 2)
    assert list(order) == whole[2:]


def test_epochs_and_seeds_differ():
    order = BatchOrder(40, 4, seed=5)
    order.start(0)
    first = list(order)
    order.start(1)
    assert [[row for _, row in b] for b in first] != [[row for _, row in b] for b in order]


@given(rows=st.integers(0, 50), batch=st.integers(1, 9), processes=st.integers(1, 4))
def test_evaluation_batches_are_dealt_out_whole(rows, batch, processes):
    dealt = [whole_batches(rows, batch, rank, processes) for rank in range(processes)]
    assert sorted(row for share in dealt for piece in share for row in piece) == list(range(rows))
    alone = whole_batches(rows, batch, 0, 1)
    assert all(piece in alone for share in dealt for piece in share)


def test_collate_builds_targets_and_ignored_labels():
    image = torch.zeros(3, 2, 2, dtype=torch.uint8)
    batch = stack([LabelItem(image, (0, 2), (), (), 7, 3), LabelItem(image, (), (1,), (), 9, 3)])
    assert batch.targets.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert batch.ignore is not None
    assert batch.ignore.tolist() == [[False, False, False], [False, True, False]]
    assert batch.rows.tolist() == [7, 9]
    assert batch.object_masks is None
    assert stack([LabelItem(image, (1,), (), (0.0, 1.0, 0.5, 0.0), 0, 3)]).object_masks.tolist() == [
        [[[0, 1], [0.5, 0]]]
    ]


class Broken(torch.utils.data.Dataset):
    def __getitem__(self, row: int):
        return DataError(f"Image a.jpg (row {row}) cannot be decoded.", "Replace it.")


@pytest.mark.parametrize("workers", [0, 1])
def test_undecodable_image_is_one_clear_error_from_any_process(workers: int):
    loader = make_loader(Broken(), [[4]], workers=workers, device=torch.device("cpu"))
    with pytest.raises(DataError) as caught:
        next(batches(loader))
    assert (caught.value.message, caught.value.hint) == ("Image a.jpg (row 4) cannot be decoded.", "Replace it.")


def test_collate_hands_an_error_on():
    error = DataError("broken")
    assert collate([error]) is error


def test_the_error_does_not_depend_on_how_torch_ends_its_processes():
    with pytest.raises(DataError, match="row 7"):
        next(batches([DataError("row 7")]))  # no loader of torch's, so none of its private members
