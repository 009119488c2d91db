"""CvT, the convolutional vision transformer: transformers' layers, put together as the published code does.

What differs from transformers' own model, with which it shares all weights: QuickGELU instead of the exact GELU, a
final layer norm on every token, and stochastic depth that grows from layer to layer and drops a branch only, never
the residual stream.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from timm.layers import DropPath
from timm.layers.activations import QuickGELU
from torch import Tensor, nn

from hlcli.encoders.loading import is_cached, reach_hub
from hlcli.errors import MissingDependencyError, RecipeError

if TYPE_CHECKING:
    from transformers import CvtConfig, CvtForImageClassification

STRIDE = 16
_FREE_NAME = "cvt:"
W24 = "cvt_w24_384.in22k"
_W24_ON_THE_HUB = "microsoft/cvt-w24-384-22k"
_W24_SIZES: dict[str, Any] = {
    "num_labels": 0,
    "embed_dim": [192, 768, 1024],
    "depth": [2, 2, 20],
    "num_heads": [3, 12, 16],
    "drop_path_rate": [0.0, 0.0, 0.3],
}


class Cvt(nn.Module):
    """The encoder of a CvT with its final layer norm.

    Args:
        published: transformers' model for classification; its classifier is left behind.
        image_size: height and width of the images in pixels.

    Attributes:
        grid_size: height and width of the grid.
        num_prefix_tokens: 1 if the last stage has a class token, else 0.
    """

    def __init__(self, published: CvtForImageClassification, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.encoder: Any = published.cvt.encoder
        self.layernorm = published.layernorm
        self.grid_size = (image_size[0] // STRIDE, image_size[1] // STRIDE)
        self.num_prefix_tokens = int(published.config.cls_token[-1])
        for stage, rate in zip(self.encoder.stages, published.config.drop_path_rate, strict=True):
            _follow_the_published_code(stage.layers, rate)

    @property
    def cls_token(self) -> nn.Parameter | None:
        """The class token [1, 1, D] of the last stage."""
        return getattr(self.encoder.stages[-1], "cls_token", None)

    def forward_features(self, images: Tensor) -> Tensor:
        """Tokens [B, 1 + N, D] of images [B, 3, H, W], the class token first if there is one."""
        output = self.encoder(images)
        tokens = output.last_hidden_state.flatten(2).transpose(1, 2)  # [B, D, h, w] → [B, N, D]
        if output.cls_token_value is not None:
            tokens = torch.cat((output.cls_token_value, tokens), dim=1)
        return self.layernorm(tokens)

    forward = forward_features


def _follow_the_published_code(layers: Any, drop_path: float) -> None:
    """QuickGELU; stochastic depth from 0 in the first layer to `drop_path` in the last, on branches."""
    rates = torch.linspace(0, drop_path, len(layers), device="cpu").tolist()
    for layer, rate in zip(layers, rates, strict=True):
        layer.intermediate.activation = QuickGELU()
        layer.drop_path = nn.Identity()
        for branch in (layer.attention.output, layer.output):  # their dropout comes right before the sum
            branch.dropout = nn.Sequential(branch.dropout, DropPath(rate))


def is_cvt(name: str) -> bool:
    """Whether a backbone's name is for this module: `cvt_w24_384.in22k` or `cvt:FOLDER_OR_HUB_NAME`."""
    return name.startswith((_FREE_NAME, "cvt_"))


def build_cvt(name: str, image_size: tuple[int, int], *, pretrained: bool = False) -> Cvt:
    """Create a CvT.

    Args:
        name: `cvt_w24_384.in22k`, or `cvt:` and a folder or Hugging Face name of a CvT.
        image_size: height and width in pixels, multiples of 16.
        pretrained: start from published weights, or from the folder's; else random ones.

    Raises:
        MissingDependencyError: when transformers is not installed.
        RecipeError: for an unknown name, or weights that cannot be fetched.
    """
    try:
        from transformers import CvtForImageClassification
    except ImportError as error:
        raise MissingDependencyError(
            f"backbone.name: {name} needs the package transformers.", 'Run: pip install "hlcli[cvt]"'
        ) from error
    if not name.startswith(_FREE_NAME) and name not in (W24, W24.partition(".")[0]):
        raise RecipeError(
            f"backbone.name: no CvT is named {name!r}.", f"Write {W24}, or {_FREE_NAME}FOLDER_OR_HUGGING_FACE_NAME."
        )
    source = name.removeprefix(_FREE_NAME) if name.startswith(_FREE_NAME) else _W24_ON_THE_HUB
    try:
        if pretrained:
            _reach(source)
            published = CvtForImageClassification.from_pretrained(source, config=_read_config(source))
        else:
            published = CvtForImageClassification(_config(name))
    except (OSError, ValueError) as error:  # the hub's errors are OSErrors
        raise RecipeError(
            f"backbone.name: {source} could not be read: {error}",
            "Go online once, name a folder, or set backbone.weights: FILE, or backbone.pretrained: false.",
        ) from error
    return Cvt(published.float(), image_size)  # files may hold half precision


def _reach(source: str) -> None:
    """Ask the hub whether it is there, before transformers does; not for a folder, or what was fetched before.

    Raises:
        ConnectionError: when it does not answer.
    """
    if not Path(source).is_dir() and not is_cached(source, ("config.json",)):
        reach_hub()


def _config(name: str) -> CvtConfig:
    """The sizes of a named CvT; those of a folder or a Hugging Face name are read there."""
    from transformers import CvtConfig

    if name.startswith(_FREE_NAME):
        return _read_config(name.removeprefix(_FREE_NAME))
    return CvtConfig(**_W24_SIZES)


def _read_config(source: str) -> CvtConfig:
    from transformers import CvtConfig

    values, _ = CvtConfig.get_config_dict(source)
    if values.get("model_type") != "cvt":
        raise RecipeError(f"backbone.name: {source} is no CvT but {values.get('model_type')!r}.")
    return CvtConfig.from_dict(values)
