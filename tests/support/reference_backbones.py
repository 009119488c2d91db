"""Plain restatements, from the description of the published code, of three backbones under that code's names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Abn(nn.BatchNorm2d):
    """Activated batch norm: its scale is |weight| + 1e-5, its activation a leaky ReLU or none."""

    def __init__(self, width: int, slope: float | None) -> None:
        super().__init__(width)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight.abs() + 1e-5
        x = F.batch_norm(x, self.running_mean, self.running_var, scale, self.bias, self.training, 0.1, 1e-5)
        return x if self.slope is None else F.leaky_relu(x, self.slope)


class Blur(nn.Module):
    """Every second value of a [1 2 1]² / 16 average, edges reflected."""

    def forward(self, x: Tensor) -> Tensor:
        line = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device)
        kernel = (line[:, None] * line / 16).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def conv_abn(inputs: int, outputs: int, size: int, slope: float | None = 1e-3, *, blur: bool = False) -> nn.Sequential:
    unit = nn.Sequential(nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), Abn(outputs, slope))
    return nn.Sequential(unit, Blur()) if blur else unit


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.fc2 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class TResNetBlock(nn.Module):
    """Two 3×3 convolutions, or 1×1, 3×3, 1×1 with four times the width."""

    def __init__(self, inputs: int, planes: int, stride: int, bottleneck: bool, gated: bool) -> None:
        super().__init__()
        outputs = planes * 4 if bottleneck else planes
        halves = stride == 2
        self.downsample = None
        if halves or inputs != outputs:
            pool = [nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)] if halves else []
            self.downsample = nn.Sequential(*pool, conv_abn(inputs, outputs, 1, None))
        if bottleneck:
            self.conv1 = conv_abn(inputs, planes, 1)
            self.conv2 = conv_abn(planes, planes, 3, blur=halves)
            self.conv3 = conv_abn(planes, outputs, 1, None)
        else:
            self.conv1 = conv_abn(inputs, planes, 3, blur=halves)
            self.conv2 = conv_abn(planes, planes, 3, None)
            self.conv3 = None
        self.se = Gate(planes, max(outputs // (8 if bottleneck else 4), 64)) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.conv2(self.conv1(x))
        x = x if self.se is None else self.se(x)
        x = x if self.conv3 is None else self.conv3(x)
        return F.relu(x + shortcut)


class TResNet(nn.Module):
    """Features [B, D, h, w]; `all_bottlenecks` is version 2."""

    def __init__(self, depths: tuple[int, ...], planes: int, *, all_bottlenecks: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential()
        self.body.add_module("conv1", conv_abn(48, planes, 3, 1e-2))
        width = planes
        for stage, depth in enumerate(depths):
            bottleneck = all_bottlenecks or stage > 1
            blocks = []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(TResNetBlock(width, planes << stage, stride, bottleneck, gated=stage < 3))
                width = (planes << stage) * (4 if bottleneck else 1)
            self.body.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.head = nn.Sequential()
        self.head.add_module("fc", nn.Linear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).permute(0, 3, 5, 1, 2, 4).flatten(1, 3))


class WindowAttention(nn.Module):
    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        place = torch.arange(window * window)
        row, column = place // window, place % window
        down, right = (axis[:, None] - axis[None] + window - 1 for axis in (row, column))
        self.register_buffer("relative_position_index", down * (2 * window - 1) + right)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attention inside windows [windows, places, D]; `mask` [windows of one image, places, places]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores + self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        if mask is not None:
            scores = (scores.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int, activation) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class SwinBlock(nn.Module):
    def __init__(self, width: int, heads: int, window: int, side: int, shifted: bool) -> None:
        super().__init__()
        self.side, self.window = side, min(window, side)
        self.shift = self.window // 2 if shifted and side > window else 0
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, self.window)
        self.mlp = Mlp(width, F.gelu)
        self.register_buffer("attn_mask", self._mask() if self.shift else None)

    def _mask(self) -> Tensor:
        """−100 between places that were no neighbours before the shift."""
        bounds = torch.tensor([self.side - self.window, self.side - self.shift])
        part = torch.bucketize(torch.arange(self.side), bounds, right=True)
        parts = self._windows((3 * part[:, None] + part)[None, :, :, None])[..., 0]
        return (parts[:, :, None] != parts[:, None, :]) * -100.0

    def _windows(self, x: Tensor) -> Tensor:
        x = x.unflatten(2, (-1, self.window)).unflatten(1, (-1, self.window))
        return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        grid = self.norm1(x).unflatten(1, (self.side, self.side)).roll((-self.shift, -self.shift), (1, 2))
        out = self.attn(self._windows(grid), self.attn_mask)
        count = self.side // self.window
        out = out.unflatten(1, (self.window, self.window)).unflatten(0, (-1, count, count))
        out = out.transpose(2, 3).flatten(1, 2).flatten(2, 3).roll((self.shift, self.shift), (1, 2))
        x = x + out.flatten(1, 2)
        return x + self.mlp(self.norm2(x))


class SwinMerging(nn.Module):
    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (self.side, self.side))
        x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
        return self.reduction(self.norm(x.flatten(1, 2)))


class SwinStage(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, window: int, side: int, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(SwinBlock(width, heads, window, side, bool(i % 2)) for i in range(depth)))
        self.downsample = SwinMerging(width, side) if merges else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return x if self.downsample is None else self.downsample(x)


class Embedding(nn.Module):
    """A convolution over patches and a layer norm per cell: [B, C, H, W] → [B, D, h, w]."""

    def __init__(self, inputs: int, width: int, size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, size, stride, padding)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1)


class Swin(nn.Module):
    """Tokens [B, N, D]."""

    def __init__(self, size: int, width: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int) -> None:
        super().__init__()
        self.patch_embed = Embedding(3, width, 4, 4, 0)
        last = len(depths) - 1
        self.layers = nn.Sequential(
            *(
                SwinStage(width << i, depth, heads[i], window, (size // 4) >> i, i < last)
                for i, depth in enumerate(depths)
            )
        )
        self.norm = nn.LayerNorm(width << last)
        self.head = nn.Linear(width << last, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layers(self.patch_embed(x).flatten(2).transpose(1, 2)))


class ConvNorm(nn.Sequential):
    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False))
        self.add_module("bn", nn.BatchNorm2d(width))


class CvtAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        for name, stride in (("q", 1), ("k", 2), ("v", 2)):
            self.add_module(f"conv_proj_{name}", ConvNorm(width, stride))
            self.add_module(f"proj_{name}", nn.Linear(width, width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, side: int) -> Tensor:
        first, grid = x[:, : x.shape[1] - side * side], x[:, x.shape[1] - side * side :]
        grid = grid.transpose(1, 2).unflatten(2, (side, side))

        def project(name: str) -> Tensor:
            tokens = getattr(self, f"conv_proj_{name}")(grid).flatten(2).transpose(1, 2)
            tokens = getattr(self, f"proj_{name}")(torch.cat((first, tokens), 1))
            return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        scores = project("q") @ project("k").transpose(-1, -2) * x.shape[-1] ** -0.5  # the whole width, as published
        return self.proj((scores.softmax(-1) @ project("v")).transpose(1, 2).flatten(2))


class CvtBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = CvtAttention(width, heads)
        self.mlp = Mlp(width, lambda x: x * (1.702 * x).sigmoid())

    def forward(self, x: Tensor, side: int) -> Tensor:
        x = x + self.attn(self.norm1(x), side)
        return x + self.mlp(self.norm2(x))


class CvtStage(nn.Module):
    def __init__(self, inputs: int, width: int, depth: int, heads: int, first: bool, last: bool) -> None:
        super().__init__()
        self.patch_embed = Embedding(inputs, width, *((7, 4, 2) if first else (3, 2, 1)))
        self.cls_token = nn.Parameter(torch.randn(1, 1, width)) if last else None
        self.blocks = nn.ModuleList(CvtBlock(width, heads) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        side, x = x.shape[-1], x.flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1)
        for block in self.blocks:
            x = block(x, side)
        return x[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


class CvT(nn.Module):
    """Tokens [B, N, D] without the class token."""

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...], heads: tuple[int, ...]) -> None:
        super().__init__()
        for i, width in enumerate(widths):
            before = (3, *widths)[i]
            self.add_module(f"stage{i}", CvtStage(before, width, depths[i], heads[i], i == 0, i == len(widths) - 1))
        self.norm = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        for stage in (self.stage0, self.stage1, self.stage2):
            x = stage(x)
        return self.norm(x.flatten(2).transpose(1, 2))
