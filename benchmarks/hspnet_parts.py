"""What a step and an evaluation of HSPNet consist of, and what follows for larger batches: for hspnet_step.py."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from plain_hspnet import Pair
from torch import Tensor, nn

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

Works = dict[str, Callable[[], object]]


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """The same for both: what is measured is the network."""
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-7, fused=True)


def autocast(device: torch.device, precision: str) -> Any:
    """Mixed precision, or none."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def parts_of(pair: Pair, images: Tensor, precision: str) -> dict[str, Works]:
    """What a training step and the evaluation of a batch consist of, for both sides."""
    grid = pair.side // 32

    def forward_backward(model: nn.Module, compute: Callable[[], Tensor]) -> Callable[[], None]:
        def work() -> None:
            model.train()
            with autocast(images.device, precision):
                features = compute()
            features.float().square().mean().backward()
            model.zero_grad()

        return work

    def forward(model: nn.Module, compute: Callable[[], Tensor]) -> Callable[[], None]:
        def work() -> None:
            model.eval()  # ours forgets its texts
            with torch.inference_mode(), autocast(images.device, precision):
                compute()

        return work

    def optimizer_step(model: nn.Module) -> Callable[[], None]:
        optimizer = optimizer_of(model)

        def work() -> None:
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            optimizer.step()

        return work

    def pooled(model: Any) -> Callable[[], Tensor]:
        pool = model.backbone.attnpool
        cells = torch.randn(len(images), pool.q_proj.in_features, grid, grid, device=images.device, requires_grad=True)
        return lambda: pool(cells)

    def tower(model: Any) -> Callable[[], Tensor]:
        return lambda: model.backbone(images)

    sides: dict[str, Any] = {"plain": pair.plain, "ours": pair.ours}
    return {
        "training: image tower": {k: forward_backward(m, tower(m)) for k, m in sides.items()},
        "training: attention pool": {k: forward_backward(m, pooled(m)) for k, m in sides.items()},
        "training: texts": {k: forward_backward(m, m.label_features) for k, m in sides.items()},
        "training: optimiser": {k: optimizer_step(m) for k, m in sides.items()},
        "evaluation: image tower": {k: forward(m, tower(m)) for k, m in sides.items()},
        "evaluation: attention pool": {k: forward(m, pooled(m)) for k, m in sides.items()},
        "evaluation: texts": {k: forward(m, m.label_features) for k, m in sides.items()},
    }


def extrapolated(parts: dict[str, Any], size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds at `--batch-size` images and their ratio, from parts measured with `size` images."""

    def seconds(side: str, work: str) -> float:
        return parts[work][side]["seconds"]

    found: dict[str, Any] = {}
    for images, name in ((size, "sum_of_parts"), (options.batch_size, "extrapolated")):
        step = {
            side: seconds(side, "training: image tower") * images / size
            + seconds(side, "training: texts")
            + seconds(side, "training: optimiser")
            for side in ("plain", "ours")
        }
        readings = {"plain": options.eval_batches, "ours": 1}  # of the labels' texts
        scoring = {
            side: options.eval_batches * seconds(side, "evaluation: image tower") * images / size
            + times * seconds(side, "evaluation: texts")
            for side, times in readings.items()
        }
        for work, values in (("training step", step), ("evaluation", scoring)):
            ratio = values["plain"] / values["ours"]
            found.setdefault(work, {})[name] = {"batch_size": images, "seconds": values, "ratio": ratio}
    found["attention_pool_share"] = {
        work: {s: seconds(s, f"{work}: attention pool") / seconds(s, f"{work}: image tower") for s in ("plain", "ours")}
        for work in ("training", "evaluation")
    }
    return found
