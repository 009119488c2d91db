"""Scores of every token for every label, without ever holding a number per image, label, token and channel.

The tensor of hyperbolic tangents, [B, L, N, K], would be larger than all else in a head taken together. Here a small
tile of it is made, summed up and overwritten by the next; the backward pass makes every tile once more. On a GPU with
Triton, kernels do the same in registers (`bilinear_scores_triton.py`).

The tangents are made as tanh(x) = 2 sigmoid(2 x) - 1: on a CPU torch's sigmoid takes a third of the time of its tanh.

Shapes: B batch, N tokens, L labels, K width, R = B N rows of tokens.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import shutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from hlcli.layers.precision import without_autocast

CPU_TILE = 2**21  # numbers in a tile: the shared cache holds them, and each step is worth waking the threads (measured)
_DEVICE_TILE = 2**24  # on other devices: few and long kernels
CHANNELS = 8  # at least, in a tile of full size: sums over channels then cost little beside making them

_Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]  # None where nobody asks


def bilinear_scores(tokens: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Scores [B, L, N] = sum_k weight_k tanh(tokens_bnk labels_lk).

    Half precision is computed and returned in float32, inside autocast too; gradients have their inputs' own types.
    There are no second derivatives. A compiler or an export is given the formula as it is written.

    Args:
        tokens: [B, N, K].
        labels: [L, K].
        weight: [K].
    """
    shapes = [tuple(tensor.shape) for tensor in (tokens, labels, weight)]
    if [len(shape) for shape in shapes] != [3, 2, 1] or len({shape[-1] for shape in shapes}) > 1:
        raise ValueError(f"Expected tokens [B, N, K], labels [L, K] and weight [K], but got shapes {shapes}.")
    if torch.compiler.is_compiling():  # compilers fuse it themselves, and cannot look into ours
        return plain_bilinear_scores(tokens, labels, weight)
    return _BilinearScores.apply(tokens, labels, weight)


def plain_bilinear_scores(tokens: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """The formula as it is written, with its tensor [B, L, N, K]."""
    tangents = torch.tanh(tokens[:, None] * labels[:, None])
    return (tangents * weight).sum(dim=-1)  # compilers fuse this, but not a product with a vector


class _BilinearScores(torch.autograd.Function):
    """Keeps the inputs alone, in the types they came in."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, labels, weight)
        with without_autocast(tokens.device):
            inputs = _at_least_float32(tokens.flatten(0, 1), labels, weight)
            kernels = _kernels(tokens.device)
            scores = kernels.scores(*inputs) if kernels else _tiled_scores(*inputs)  # [L, R]
            return scores.unflatten(1, tokens.shape[:2]).transpose(0, 1).contiguous()  # [B, L, N]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> _Gradients:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "bilinear_scores has no second derivatives, which create_graph=True asks for; "
                "plain_bilinear_scores has, at the price of memory."
            )
        tokens, labels, weight = ctx.saved_tensors
        with without_autocast(tokens.device):
            inputs = _at_least_float32(tokens.flatten(0, 1), labels, weight)
            kernels = _kernels(tokens.device)
            gradients = kernels.gradients if kernels else _tiled_gradients
            by_label = grad.transpose(0, 1).flatten(1).contiguous()  # [L, R]
            rows_grad, labels_grad, weight_grad = gradients(by_label, *inputs, needed=ctx.needs_input_grad)
            return (
                None if rows_grad is None else rows_grad.view(tokens.shape).to(tokens.dtype),
                None if labels_grad is None else labels_grad.to(labels.dtype),
                None if weight_grad is None else weight_grad.to(weight.dtype),
            )


def _tiled_scores(rows: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Scores [L, R] of rows [R, K] for labels [L, K], tile by tile; weight is [K]."""
    scores = rows.new_empty(len(labels), len(rows))
    rows, labels = 2 * rows.T.contiguous(), labels.T.contiguous()  # [K, R], [K, L]
    for part, tiles in _tiles(rows, labels):
        total = scores.new_zeros(scores[:, part].numel())  # [L * R of the part]
        for channels, tile in tiles:
            _tangents(rows[channels, part], labels[channels], out=tile)
            total.addmv_(tile.flatten(1).T, weight[channels])
        scores[:, part] = total.view_as(scores[:, part])
    return scores


def _tiled_gradients(
    grad: Tensor, rows: Tensor, labels: Tensor, weight: Tensor, *, needed: tuple[bool, ...]
) -> _Gradients:
    """Gradients of rows [R, K], labels [L, K] and weight [K] from that of the scores, grad [L, R], tile by tile."""
    rows, labels = 2 * rows.T.contiguous(), labels.T.contiguous()  # [K, R], [K, L]
    for_rows, for_labels, for_weight = (
        torch.zeros_like(of) if wanted else None for of, wanted in zip((rows, labels, weight), needed, strict=True)
    )
    for part, tiles in _tiles(rows, labels):
        part_grad = grad[:, part].contiguous()
        for channels, tile in tiles:
            part_rows, all_labels = rows[channels, None, part], labels[channels, None]  # [C, 1, R], [C, 1, L]
            _tangents(part_rows[:, 0], all_labels[:, 0], out=tile)
            if for_weight is not None:
                for_weight[channels].addmv_(tile.flatten(1), part_grad.flatten())
            torch.ops.aten.tanh_backward.grad_input(part_grad, tile, grad_input=tile)
            if for_rows is not None:
                for_rows[channels, None, part].baddbmm_(all_labels, tile)
            if for_labels is not None:
                for_labels[channels, None].baddbmm_(part_rows, tile.mT)
    return (
        None if for_rows is None else for_rows.mul_(weight[:, None]).T,
        None if for_labels is None else for_labels.mul_(weight[:, None] / 2).T,  # rows are doubled here
        for_weight,
    )


def _tiles(rows: Tensor, labels: Tensor) -> Iterator[tuple[slice, Iterator[tuple[slice, Tensor]]]]:
    """Parts of rows [K, R]; for each, slices of the K channels, with room [C, L, R of the part] that all share."""
    width, num_labels, num_rows = len(rows), labels.shape[1], rows.shape[1]
    size = CPU_TILE if rows.device.type == "cpu" else _DEVICE_TILE
    part_size = max(1, min(num_rows, size // max(1, CHANNELS * num_labels)))
    num_channels = max(1, min(width // CHANNELS, size // max(1, num_labels * part_size)))
    room = rows.new_empty(num_channels * num_labels * part_size)

    def tiles(length: int) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, width, num_channels):
            shape = min(num_channels, width - start), num_labels, length
            yield slice(start, start + num_channels), room[: math.prod(shape)].view(shape)

    for start in range(0, num_rows, part_size):
        yield slice(start, start + part_size), tiles(min(part_size, num_rows - start))


def _tangents(twice_rows: Tensor, labels: Tensor, *, out: Tensor) -> None:
    """tanh(rows * labels) = 2 sigmoid(2 rows * labels) - 1 for [C, R] and [C, L], written to out [C, L, R]."""
    torch.mul(labels[:, :, None], twice_rows[:, None], out=out).sigmoid_()
    torch.add(out.new_full((), -1), out, alpha=2, out=out)


def _at_least_float32(*tensors: Tensor) -> list[Tensor]:
    """Contiguous tensors of one type, in which sums of many numbers keep their precision."""
    dtype = functools.reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return [tensor.to(dtype).contiguous() for tensor in tensors]


def _kernels(device: torch.device) -> ModuleType | None:
    """The fused kernels, where there is a GPU that Triton can compile for."""
    if device.type != "cuda" or not _can_compile():
        return None
    from hlcli.layers import bilinear_scores_triton

    return bilinear_scores_triton


@functools.cache
def _can_compile() -> bool:
    """Whether Triton is there, and the C compiler that it needs."""
    compilers = (os.environ.get("CC") or "cc", "gcc", "clang")
    return importlib.util.find_spec("triton") is not None and any(map(shutil.which, compilers))
