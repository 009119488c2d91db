"""What the heads of SALGL and SGRE share: label embeddings, positions, encoder and label attention.

Shapes: B batch, N tokens (h * w grid cells, after a class token if there is one), D width, L labels, E width of the
label embeddings.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from hlcli.layers.label_attention import LabelAttention
from hlcli.layers.position import check_num_tokens
from hlcli.layers.transformer import Encoder


class HeadParts(NamedTuple):
    """The parts of a head, and the tokens that it is made for."""

    encoder: Encoder
    attention: LabelAttention
    label_embeddings: Tensor  # [L, E]; trained if it is a parameter, else kept as it is
    position: Tensor | None  # [N, D], added to queries and keys of the encoder
    grid: tuple[int, int]  # height and width of the feature map
    class_tokens: int  # tokens before the grid, 0 or 1


class LabelAttentionHead(nn.Module):
    """The parts, by the names that checkpoints know; what labels find in the tokens is up to the method.

    Args:
        parts: see there.
    """

    label_embeddings: Tensor
    position: Tensor | None

    def __init__(self, parts: HeadParts) -> None:
        super().__init__()
        self.grid, self.class_tokens = parts.grid, parts.class_tokens
        if isinstance(parts.label_embeddings, nn.Parameter):
            self.label_embeddings = parts.label_embeddings
        else:
            self.register_buffer("label_embeddings", parts.label_embeddings)
        self.register_buffer("position", parts.position)
        self.encoder = parts.encoder
        self.attention = parts.attention

    def check_size(self, tokens: Tensor) -> None:
        """Refuse tokens [B, N, D] of images of another size than the head was made for.

        Raises:
            ValueError: when there are more or fewer of them.
        """
        check_num_tokens(tokens.shape[1], self.grid, self.class_tokens)

    def on_grid(self, attention_maps: Tensor) -> Tensor:
        """Attention maps [B, L, N] as pictures [B, L, h, w], without the class token."""
        return attention_maps[..., self.class_tokens :].unflatten(-1, self.grid)
