"""The label-attention scores and their gradients as Triton kernels; the formula is in `bilinear_scores.py`.

Every program makes the tangents of its own block in registers and sums them up at once. The gradient of the rows and
that of labels and weight are two kernels, each making the tangents again: so each result has one writer, no addition
depends on the order in which programs finish, and runs repeat bit for bit.

Shapes: R rows of tokens, L labels, K width.
"""

# mypy: allow-untyped-defs
# (Triton types the arguments of kernels by what they are called with.)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Rows, labels and channels of a block. A block has a number per row, label and channel: 32 for each of a program's 128
# threads. Sums are kept per number and joined once, at the end, because threads are slow to exchange numbers.
_SCORE_BLOCK = {"ROWS": 32, "LABELS": 8, "WIDTH": 16}
_ROW_BLOCK = {"ROWS": 8, "LABELS": 8, "WIDTH": 64}
_LABEL_BLOCK = {"ROWS": 8, "LABELS": 8, "WIDTH": 64}


def scores(rows: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Scores [L, R] of rows [R, K] for labels [L, K]; weight is [K]; all contiguous, of one type."""
    (num_rows, width), num_labels = rows.shape, len(labels)
    result = rows.new_empty(num_labels, num_rows)
    grid = (triton.cdiv(num_rows, _SCORE_BLOCK["ROWS"]), triton.cdiv(num_labels, _SCORE_BLOCK["LABELS"]))
    if result.numel():
        with torch.cuda.device_of(rows):
            _scores[grid](rows, labels, weight, result, num_rows, num_labels, width, **_SCORE_BLOCK)
    return result


def gradients(
    grad: Tensor, rows: Tensor, labels: Tensor, weight: Tensor, *, needed: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of rows [R, K], labels [L, K] and weight [K], where needed, from that of the scores, grad [L, R]."""
    inputs = grad, rows, labels, weight
    (num_rows, width), num_labels = rows.shape, len(labels)
    sizes = num_rows, num_labels, width
    for_rows, for_labels, weight_by_label = torch.zeros_like(rows), torch.zeros_like(labels), torch.zeros_like(labels)
    row_grid = triton.cdiv(num_rows, _ROW_BLOCK["ROWS"]), triton.cdiv(width, _ROW_BLOCK["WIDTH"])
    label_grid = triton.cdiv(num_labels, _LABEL_BLOCK["LABELS"]), triton.cdiv(width, _LABEL_BLOCK["WIDTH"])
    with torch.cuda.device_of(rows):
        if needed[0] and rows.numel():
            _row_gradients[row_grid](*inputs, for_rows, *sizes, **_ROW_BLOCK)
        if (needed[1] or needed[2]) and labels.numel():
            _label_gradients[label_grid](*inputs, for_labels, weight_by_label, *sizes, **_LABEL_BLOCK)
    return (
        for_rows if needed[0] else None,
        for_labels if needed[1] else None,
        weight_by_label.sum(dim=0) if needed[2] else None,
    )


@triton.jit
def _tangents(row_block, label_block):
    """tanh of all products of [ROWS, WIDTH] and [LABELS, WIDTH]: [ROWS, LABELS, WIDTH]."""
    return 2 * tl.sigmoid(2 * row_block[:, None, :] * label_block[None, :, :]) - 1


@triton.jit
def _load(pointer, rows, columns, num_rows, num_columns):
    """A block of a contiguous matrix [num_rows, num_columns]; zeros outside."""
    inside = (rows < num_rows)[:, None] & (columns < num_columns)[None, :]
    return tl.load(pointer + rows.to(tl.int64)[:, None] * num_columns + columns[None, :], mask=inside, other=0.0)


@triton.jit
def _store(pointer, block, rows, columns, num_rows, num_columns):
    """Write a block of a contiguous matrix [num_rows, num_columns]."""
    inside = (rows < num_rows)[:, None] & (columns < num_columns)[None, :]
    tl.store(pointer + rows.to(tl.int64)[:, None] * num_columns + columns[None, :], block, mask=inside)


@triton.jit
def _scores(
    rows, labels, weight, result, num_rows, num_labels, width,
    ROWS: tl.constexpr, LABELS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """A block of the scores [L, R], summed over the width."""
    row_ids = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    label_ids = tl.program_id(1) * LABELS + tl.arange(0, LABELS)
    total = tl.zeros((ROWS, LABELS, WIDTH), dtype=weight.dtype.element_ty)
    for start in range(0, width, WIDTH):
        channels = start + tl.arange(0, WIDTH)
        row_block = _load(rows, row_ids, channels, num_rows, width)
        label_block = _load(labels, label_ids, channels, num_labels, width)
        factor = tl.load(weight + channels, mask=channels < width, other=0.0)
        total += _tangents(row_block, label_block) * factor[None, None, :]
    _store(result, tl.trans(tl.sum(total, axis=2)), label_ids, row_ids, num_labels, num_rows)


@triton.jit
def _row_gradients(
    grad, rows, labels, weight, result, num_rows, num_labels, width,
    ROWS: tl.constexpr, LABELS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """A block of the gradient of the rows [R, K], summed over the labels."""
    row_ids = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channels = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    row_block = _load(rows, row_ids, channels, num_rows, width)
    factor = tl.load(weight + channels, mask=channels < width, other=0.0)
    total = tl.zeros((ROWS, LABELS, WIDTH), dtype=weight.dtype.element_ty)
    for start in range(0, num_labels, LABELS):
        label_ids = start + tl.arange(0, LABELS)
        label_block = _load(labels, label_ids, channels, num_labels, width)
        grad_block = tl.trans(_load(grad, label_ids, row_ids, num_labels, num_rows))  # [ROWS, LABELS]
        tangents = _tangents(row_block, label_block)
        total += grad_block[:, :, None] * (1 - tangents * tangents) * label_block[None, :, :]
    _store(result, tl.sum(total, axis=1) * factor[None, :], row_ids, channels, num_rows, width)


@triton.jit
def _label_gradients(
    grad, rows, labels, weight, result, weight_by_label, num_rows, num_labels, width,
    ROWS: tl.constexpr, LABELS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """A block of the gradient of the labels [L, K], and each label's part in that of the weight, over all rows."""
    label_ids = tl.program_id(0) * LABELS + tl.arange(0, LABELS)
    channels = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    label_block = _load(labels, label_ids, channels, num_labels, width)
    factor = tl.load(weight + channels, mask=channels < width, other=0.0)
    total = tl.zeros((ROWS, LABELS, WIDTH), dtype=weight.dtype.element_ty)
    weight_total = tl.zeros((ROWS, LABELS, WIDTH), dtype=weight.dtype.element_ty)
    for start in range(0, num_rows, ROWS):
        row_ids = start + tl.arange(0, ROWS)
        row_block = _load(rows, row_ids, channels, num_rows, width)
        grad_block = tl.trans(_load(grad, label_ids, row_ids, num_labels, num_rows))  # [ROWS, LABELS]
        tangents = _tangents(row_block, label_block)
        weight_total += grad_block[:, :, None] * tangents
        total += grad_block[:, :, None] * (1 - tangents * tangents) * row_block[:, None, :]
    _store(result, tl.sum(total, axis=0) * factor[None, :], label_ids, channels, num_labels, width)
    _store(weight_by_label, tl.sum(weight_total, axis=0), label_ids, channels, num_labels, width)
