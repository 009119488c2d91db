"""Scores of the label attention: the formula and its gradients, at any size, without its large tensor."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hlcli.layers import bilinear_scores as module
from hlcli.layers.bilinear_scores import bilinear_scores, plain_bilinear_scores

FLOAT64_CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def inputs(batch: int = 2, num_tokens: int = 5, num_labels: int = 4, width: int = 6, **options: Any) -> list[Tensor]:
    """Tokens, labels and weight that want gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, num_tokens, width), (num_labels, width), (width,)]
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [tensor.to(**({"dtype": torch.float64} | options)).requires_grad_() for tensor in made]


def values_and_gradients(function: Callable[..., Tensor], arguments: list[Tensor]) -> list[Tensor]:
    """Scores and the gradients of all three arguments."""
    scores = function(*arguments)
    return [scores, *torch.autograd.grad(scores, arguments, uneven(scores))]


def uneven(scores: Tensor) -> Tensor:
    """A gradient of the scores that differs everywhere."""
    return torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype, device=scores.device).view_as(scores).cos()


def assert_equals_the_formula(arguments: list[Tensor]) -> None:
    actual = values_and_gradients(bilinear_scores, arguments)
    expected = values_and_gradients(plain_bilinear_scores, arguments)
    for ours, plain in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, plain, **FLOAT64_CLOSE)


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    tile=st.sampled_from([1, 10, 50, 200, 1000]),
    channels=st.sampled_from([1, 2, 8]),
)
@settings(max_examples=40, deadline=None)
def test_any_size_and_any_tile_give_the_formula(sizes: tuple[int, int, int, int], tile: int, channels: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHANNELS", channels)
        patch.setattr(module, "CPU_TILE", tile)
        assert_equals_the_formula(inputs(*sizes))


@pytest.mark.parametrize("num_labels", [2, 6])  # fewer and more than tokens
def test_gradients_are_those_of_differences(monkeypatch: pytest.MonkeyPatch, num_labels: int) -> None:
    monkeypatch.setattr(module, "CPU_TILE", 12)
    assert torch.autograd.gradcheck(bilinear_scores, inputs(1, 4, num_labels, 3))


def test_views_and_expanded_inputs_give_the_formula() -> None:
    tokens, labels, weight = inputs(3, 4, 5, 6)
    turned = [tokens.transpose(0, 1), labels.T.contiguous().T, weight.flip(0)]
    expanded = [tokens[:1].expand(3, -1, -1), labels[:1].expand(5, -1), weight[:1].expand(6)]
    for views in (turned, expanded):
        assert_equals_the_formula([view.detach().requires_grad_() for view in views])


def test_a_gradient_with_stride_zero_is_taken() -> None:
    arguments = inputs()
    actual = torch.autograd.grad(bilinear_scores(*arguments).sum(), arguments)
    expected = torch.autograd.grad(plain_bilinear_scores(*arguments).sum(), arguments)
    for ours, plain in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, plain, **FLOAT64_CLOSE)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_gradients_nobody_asks_for_are_left_out(wanted: tuple[int, ...]) -> None:
    arguments = inputs()
    expected = values_and_gradients(plain_bilinear_scores, arguments)[1:]
    asked = [tensor.detach().requires_grad_(index in wanted) for index, tensor in enumerate(arguments)]
    scores = bilinear_scores(*asked)
    scores.backward(uneven(scores))
    for index, tensor in enumerate(asked):
        if index in wanted:
            torch.testing.assert_close(tensor.grad, expected[index], **FLOAT64_CLOSE)
        else:
            assert tensor.grad is None


@pytest.mark.parametrize("sizes", [(0, 5, 4, 6), (2, 5, 0, 6), (2, 0, 4, 6)])
def test_nothing_in_nothing_out(sizes: tuple[int, int, int, int]) -> None:
    assert_equals_the_formula(inputs(*sizes))


def test_saturated_products_have_weight_as_score_and_no_gradient() -> None:
    tokens, labels, weight = (
        torch.tensor(values).requires_grad_() for values in ([[[1e30]]], [[1e30], [-1e30]], [3.0])
    )
    scores = bilinear_scores(tokens, labels, weight)
    assert scores.flatten().tolist() == [3.0, -3.0]
    assert torch.autograd.grad(scores.sum(), tokens)[0].item() == 0


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_single_precision_is_nearly_as_exact_as_the_formula_in_it(scale: float) -> None:
    arguments = [tensor.detach() * scale for tensor in inputs(2, 30, 20, 256)]
    exact = values_and_gradients(plain_bilinear_scores, [tensor.requires_grad_() for tensor in arguments])
    single = values_and_gradients(bilinear_scores, [tensor.detach().float().requires_grad_() for tensor in arguments])
    for ours, expected in zip(single, exact, strict=True):
        assert (ours - expected).norm() / expected.norm() < 1e-5


class LargestTensor(TorchDispatchMode):
    """Sees the results of every operation, the backward pass included."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]
        self.numel = max([self.numel, *sizes])
        return results


@pytest.mark.parametrize("tile", [500, 2**20])
def test_the_tensor_of_the_formula_is_never_made(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    monkeypatch.setattr(module, "CPU_TILE", tile)
    arguments = inputs(2, 30, 40, 100)
    largest = {}
    for function in (bilinear_scores, plain_bilinear_scores):
        with LargestTensor() as seen:
            values_and_gradients(function, arguments)
        largest[function] = seen.numel
    assert largest[plain_bilinear_scores] == 2 * 30 * 40 * 100
    assert largest[bilinear_scores] <= max(2 * 30 * 100, min(tile, largest[plain_bilinear_scores] / 8))


def test_only_the_inputs_are_kept_for_the_backward_pass() -> None:
    arguments, kept = inputs(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda t: t):
        bilinear_scores(*arguments)
    assert kept == [tensor.data_ptr() for tensor in arguments]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(dtype: torch.dtype) -> None:
    half = inputs(width=300, dtype=dtype)
    single = [tensor.detach().float().requires_grad_() for tensor in half]
    actual, expected = (values_and_gradients(bilinear_scores, arguments) for arguments in (half, single))
    assert actual[0].dtype == torch.float32
    torch.testing.assert_close(actual[0], expected[0], rtol=0, atol=0)
    for ours, exact in zip(actual[1:], expected[1:], strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, exact.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("is_backward_inside", [False, True])
def test_autocast_does_not_reach_the_sums(is_backward_inside: bool) -> None:
    arguments = inputs(width=300, dtype=torch.float32)
    expected = values_and_gradients(bilinear_scores, arguments)
    grad = uneven(expected[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = bilinear_scores(*arguments)
        gradients = torch.autograd.grad(scores, arguments, grad) if is_backward_inside else None
    gradients = gradients or torch.autograd.grad(scores, arguments, grad)
    for ours, exact in zip((scores, *gradients), expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=0, atol=0)


def test_types_may_be_mixed_as_autocast_mixes_them() -> None:
    tokens, labels, weight = inputs(dtype=torch.bfloat16)
    scores = bilinear_scores(tokens, labels, weight.detach().double().requires_grad_())
    assert scores.dtype == torch.float64
    assert torch.autograd.grad(scores.sum(), tokens)[0].dtype == torch.bfloat16


def test_meta_tensors_pass_both_ways() -> None:
    arguments = inputs(2, 196, 80, 64, device="meta", dtype=torch.float32)
    scores, *gradients = values_and_gradients(bilinear_scores, arguments)
    assert scores.is_meta
    assert scores.shape == (2, 80, 196)
    assert [gradient.shape for gradient in gradients] == [argument.shape for argument in arguments]


def test_inference_mode_gives_the_formula() -> None:
    with torch.inference_mode():
        arguments = [tensor.clone() for tensor in inputs()]
        torch.testing.assert_close(bilinear_scores(*arguments), plain_bilinear_scores(*arguments), **FLOAT64_CLOSE)


def test_an_exported_model_gives_the_formula() -> None:
    class Scores(torch.nn.Module):
        def forward(self, tokens: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
            return bilinear_scores(tokens, labels, weight)

    arguments = tuple(tensor.detach() for tensor in inputs())
    exported = torch.export.export(Scores(), arguments).module()
    torch.testing.assert_close(exported(*arguments), bilinear_scores(*arguments), **FLOAT64_CLOSE)


def test_second_derivatives_are_refused() -> None:
    arguments = inputs()
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(bilinear_scores(*arguments).sum(), arguments, create_graph=True)


def test_widths_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"tokens \[B, N, K\].*\(2, 5, 6\), \(4, 7\), \(6,\)"):
        bilinear_scores(torch.ones(2, 5, 6), torch.ones(4, 7), torch.ones(6))


KERNELS_AGAINST_TILES = """
import sys, torch
from hlcli.layers import bilinear_scores_triton as kernels
from hlcli.layers.bilinear_scores import _tiled_gradients, _tiled_scores
torch.manual_seed(0)
device = sys.argv[1]
for rows, labels, width in eval(sys.argv[2]):
    shapes = (rows, width), (labels, width), (width,), (labels, rows)
    *inputs, grad = (torch.randn(*shape, dtype=torch.float64, device=device) for shape in shapes)
    torch.testing.assert_close(kernels.scores(*inputs), _tiled_scores(*inputs), rtol=1e-9, atol=1e-10)
    for needed in ((True, True, True), (True, False, False), (False, False, True)):
        pairs = zip(kernels.gradients(grad, *inputs, needed=needed), _tiled_gradients(grad, *inputs, needed=needed))
        for ours, tiled in pairs:
            assert (ours is None) == (tiled is None)
            if ours is not None:
                torch.testing.assert_close(ours, tiled, rtol=1e-9, atol=1e-10)
    single = [tensor.float() for tensor in inputs]
    torch.testing.assert_close(kernels.scores(*single), _tiled_scores(*single), rtol=1e-4, atol=1e-4)
"""


def check_kernels(device: str, sizes: list[tuple[int, int, int]], **environment: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", KERNELS_AGAINST_TILES, device, repr(sizes)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_in_the_interpreter_give_the_same_numbers() -> None:
    """Triton's interpreter runs the kernels' arithmetic on the CPU; it tells nothing of the compiled code."""
    check_kernels("cpu", [(1, 1, 1), (33, 9, 19)], TRITON_INTERPRET="1")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_on_a_gpu_give_the_same_numbers() -> None:
    check_kernels("cuda", [(1, 1, 1), (33, 9, 19), (392, 80, 1024), (98, 500, 100)])
    arguments = inputs(2, 50, 20, 70, device="cuda")
    assert module._kernels(arguments[0].device) is not None
    assert_equals_the_formula(arguments)
