"""Both towers of a CLIP model, from open_clip: images and texts (or prompts made elsewhere) to one space.

Shapes: B images, N texts, T tokens of a text, W width of the text tower, D width of the common space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hlcli.encoders.backbone_weights import freeze_parameters
from hlcli.encoders.clip_models import check_clip_size, clip_tokenizer, find_clip_model, make_clip_model, resnet_grid
from hlcli.errors import RecipeError
from hlcli.layers.attention_pool import AttentionPool, resize_positions

_FITTING_MODELS = "RN50-quickgelu, ViT-B-32-quickgelu, ViT-B-16-quickgelu or ViT-L-14"


class TextTower(nn.Module):
    """A causal transformer that is read at the end of the text; parameters under the published names.

    No position looks at a later one, and only the end is read: prompts may be cut after the longest text of a batch
    without changing anything.

    Args:
        model: the text side of an open_clip model.
    """

    attn_mask: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.positional_embedding: nn.Parameter = model.positional_embedding  # [L, W]
        self.transformer: nn.Module = model.transformer
        self.ln_final: nn.Module = model.ln_final
        self.text_projection: nn.Parameter = model.text_projection  # [W, D]
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)  # [L, L]

    def forward(self, prompts: Tensor, ends: Tensor) -> Tensor:
        """Features [N, D] of prompts, not normalised.

        Args:
            prompts: token embeddings [N, T, W], without positions; T is at most the context length.
            ends: place of the end-of-text token in each prompt [N], below T.
        """
        length = prompts.shape[1]
        features = prompts + self.positional_embedding[:length].to(prompts.dtype)
        features = self.transformer(features, attn_mask=self.attn_mask[:length, :length])
        rows = torch.arange(len(features), device=features.device)
        return self.ln_final(features[rows, ends]) @ self.text_projection


class ClipTowers(nn.Module):
    """An image encoder and a text encoder that were trained together.

    Args:
        visual: images [B, 3, H, W] to features [B, D].
        text: prompts to features.
        token_embedding: the table of the tokens' vectors.
        logit_scale: logarithm of the factor of the cosines.
        tokenizer: texts to token ids [N, L], zeros behind the end; L above the context length shows which do not fit.
        name: what messages call the model.

    Attributes:
        name: as given.
        context_length: L, the most tokens of a text, its start and its end among them.
        embed_dim: D.
        text_width: W.
    """

    def __init__(
        self,
        visual: nn.Module,
        text: TextTower,
        token_embedding: nn.Embedding,
        logit_scale: nn.Parameter,
        *,
        tokenizer: Callable[[list[str]], Tensor],
        name: str = "",
    ) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.token_embedding = token_embedding
        self.logit_scale = logit_scale
        self.name = name
        self.context_length, self.text_width = text.positional_embedding.shape
        self.embed_dim = text.text_projection.shape[1]
        self._tokenizer = tokenizer

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids [N, context_length] on the CPU; the end of each text has the greatest.

        Raises:
            RecipeError: naming the first text that is too long; or when the model knows fewer tokens.
        """
        with torch.device("cpu"):
            tokens = self._tokenizer(list(texts))
        if tokens.numel() and int(tokens.max()) >= self.token_embedding.num_embeddings:
            raise RecipeError(
                f"{self.name or 'This CLIP model'} knows {self.token_embedding.num_embeddings} tokens, and its texts "
                f"need {int(tokens.max()) + 1}.",
                "Set text_cfg.vocab_size of its configuration.",
            )
        for text, end in zip(texts, tokens.argmax(dim=-1).tolist(), strict=True):
            if end >= self.context_length:
                raise RecipeError(
                    f"{self.name or 'This CLIP model'} reads texts of {self.context_length} tokens at most, and this "
                    f"one is longer: {text!r}.",
                    "Shorten the template or the label's name.",
                )
        return tokens[:, : self.context_length]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features [N, D] of token ids [N, context_length] or fewer columns, not normalised."""
        tokens = tokens.to(self.token_embedding.weight.device)
        return self.text(self.token_embedding(tokens), tokens.argmax(dim=-1))


def towers_of(
    model: Any,
    *,
    tokenizer: Callable[[list[str]], Tensor],
    name: str = "",
    image_size: tuple[int, int] | None = None,
) -> ClipTowers:
    """The towers of an open_clip model, which shares its parameters with them.

    Args:
        model: a `CLIP` or `CustomTextCLIP`.
        tokenizer: as for `ClipTowers`.
        name: what messages call it.
        image_size: height and width in pixels that a ResNet is made for; None: the model's own.

    Raises:
        RecipeError: when the text tower is not causal and read at the end, or is not open_clip's own.
    """
    source = getattr(model, "text", model)
    reason = _misfit(source)
    if reason:
        raise RecipeError(
            f"backbone.name: the text tower of {name or 'this model'} cannot be used: {reason}.",
            f"Take a CLIP model such as {_FITTING_MODELS}.",
        )
    if hasattr(model.visual, "attnpool"):
        model.visual.attnpool = _own_pool(model.visual.attnpool, image_size)
    return ClipTowers(
        model.visual, TextTower(source), source.token_embedding, model.logit_scale, tokenizer=tokenizer, name=name
    )


def build_clip(
    name: str,
    image_size: tuple[int, int],
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    frozen: tuple[str, ...] = (),
) -> ClipTowers:
    """Create a CLIP model.

    Args:
        name: `clip:` and an open_clip name (`clip:RN50-quickgelu`), with `/TAG` for other published weights than
            OpenAI's; or `clip:FILE.json`, an open_clip model configuration, or `clip:{…}`, its text; or `clip:tiny`.
        image_size: height and width in pixels.
        pretrained: fetch the published weights.
        weights: a local file instead.
        frozen: name prefixes of parameters of the image tower that are not trained.

    Raises:
        RecipeError: for an unknown name, a size that does not fit, a text tower that does not, or a prefix without
            parameters.
        CheckpointError: when local weights do not fit.
        DownloadError: when published ones cannot be fetched.
        MissingDependencyError: without open_clip.
    """
    source = find_clip_model(name)
    check_clip_size(source, image_size)
    tokenizer = clip_tokenizer(source)
    if pretrained:
        with torch.device("meta"):  # refuse what does not fit before anything is fetched
            towers_of(make_clip_model(source, image_size), tokenizer=tokenizer, name=source.name)
    model = make_clip_model(source, image_size, pretrained=pretrained, weights=weights)
    towers = towers_of(model, tokenizer=tokenizer, name=source.name, image_size=image_size)
    freeze_parameters(towers.visual, f"the image tower of {source.name}", frozen)
    return towers


def _misfit(text: Any) -> str:
    """Why the text side of an open_clip model cannot be a `TextTower`; empty where it can."""
    pool_type = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
    if not isinstance(getattr(text, "positional_embedding", None), Tensor):
        return "it is no transformer of open_clip's own"
    if text.attn_mask is None:
        return "its tokens look at later ones"
    if pool_type != "argmax" or getattr(text, "cls_emb", None) is not None:
        return "its features are not read at the end of the text"
    if not isinstance(text.text_projection, nn.Parameter):
        return "it has no plain projection"
    return ""


def _own_pool(pool: Any, image_size: tuple[int, int] | None) -> AttentionPool:
    """A ResNet's attention pool as a layer of ours with the same parameters, its positions fitted to the images."""
    positions = pool.positional_embedding.detach()  # [1 + side², D]
    side = round((len(positions) - 1) ** 0.5)
    grid = (side, side) if image_size is None else resnet_grid(image_size)
    with torch.device("meta"):  # no numbers are drawn: every parameter comes from the model
        own = AttentionPool(grid, positions.shape[1], pool.num_heads, pool.c_proj.out_features)
    for name in ("q_proj", "k_proj", "v_proj", "c_proj"):
        setattr(own, name, getattr(pool, name))
    own.positional_embedding = nn.Parameter(resize_positions(positions, grid))
    return own
