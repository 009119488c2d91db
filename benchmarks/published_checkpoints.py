"""What checkpoints of the five published programs hold: names and shapes as their code makes them, not as ours does.

`conversion.py` measures with them, and the tests convert them. The widths are arguments, so that a test can be small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

COUNTER = ".num_batches_tracked"
RESNET101 = (3, 4, 23, 3)
_STEM = 64


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _batch_norm(name: str, width: int, *, counter: bool = True) -> Shapes:
    parts = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return parts | ({name + COUNTER: ()} if counter else {})


def _attention(name: str, width: int) -> Shapes:
    """torch's own, queries, keys and values in one matrix."""
    packed = {f"{name}.in_proj_weight": (3 * width, width), f"{name}.in_proj_bias": (3 * width,)}
    return packed | _linear(f"{name}.out_proj", width, width)


def _feed_forward(name: str, width: int, hidden: int) -> Shapes:
    return _linear(f"{name}.linear1", hidden, width) | _linear(f"{name}.linear2", width, hidden)


def _encoder_layer(name: str, width: int, hidden: int) -> Shapes:
    norms = _norm(f"{name}.norm1", width) | _norm(f"{name}.norm2", width)
    return _attention(f"{name}.self_attn", width) | _feed_forward(name, width, hidden) | norms


def resnet(prefix: str, blocks: Sequence[int] = RESNET101, *, bottleneck: bool = True, counter: bool = True) -> Shapes:
    """torchvision's ResNet without its classifier; `bottleneck` is False for 18 and 34 layers."""
    shapes: Shapes = {"conv1.weight": (_STEM, 3, 7, 7), **_batch_norm("bn1", _STEM, counter=counter)}
    inputs = _STEM
    for stage, count in enumerate(blocks, start=1):
        width = _STEM * 2 ** (stage - 1)
        outputs = width * (4 if bottleneck else 1)
        for block in range(count):
            name = f"layer{stage}.{block}"
            plan = ((width, inputs, 1), (width, width, 3), (outputs, width, 1))
            if not bottleneck:
                plan = ((width, inputs, 3), (outputs, width, 3))  # type: ignore[assignment]
            for number, (rows, columns, side) in enumerate(plan, start=1):
                shapes[f"{name}.conv{number}.weight"] = (rows, columns, side, side)
                shapes |= _batch_norm(f"{name}.bn{number}", rows, counter=counter)
            if block == 0 and (stage > 1 or inputs != outputs):
                shapes[f"{name}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= _batch_norm(f"{name}.downsample.1", outputs, counter=counter)
            inputs = outputs
    return {prefix + name: shape for name, shape in shapes.items()}


def hleg(
    backbone: Shapes, levels: Sequence[int] = (28, 15, 9), *, features: int = 2048, width: int = 2048,
    hidden: int = 8192, grid: tuple[int, int] = (7, 7),
) -> Shapes:  # fmt: skip
    """HLEG: `levels` from fine to coarse; a decoder layer that is never run; frozen batch norms without counters."""
    shapes = backbone | {"backbone.1.pe": (1, width, *grid), "query_embed.weight": (levels[0], width)}
    if features != width:
        shapes |= {"input_proj.weight": (width, features, 1, 1), "input_proj.bias": (width,)}
    shapes |= _encoder_layer("transformer.encoder.layers.0", width, hidden)
    template = "transformer.decoder.decoder_layer"
    shapes |= _attention(f"{template}.self_attn", width) | _norm(f"{template}.norm1", width)
    for name in (template, *(f"transformer.decoder.layers.{level}" for level in range(3))):
        shapes |= _attention(f"{name}.multihead_attn", width) | _feed_forward(name, width, hidden)
        shapes |= _norm(f"{name}.norm2", width) | _norm(f"{name}.norm3", width)
    shapes |= _norm("transformer.decoder.norm", width)
    places = ("transformer.pro_m_t", "transformer.decoder.proj_m_t1", "transformer.decoder.proj_m_t2")
    for name, count in zip(places, levels, strict=True):
        shapes |= _linear(name, count, math.prod(grid))
    for name, count in zip(("fc_num_class", "fc_middle", "fc_coarse"), levels, strict=True):
        shapes |= {f"{name}.W": (1, count, width), f"{name}.b": (1, count)}
    return shapes


def _label_attention(features: int, embeddings: int, width: int) -> Shapes:
    name = "attention"
    return {
        f"{name}.linear1.weight": (width, features),
        f"{name}.linear2.weight": (width, embeddings),
        **_linear(f"{name}.hidden_linear", width, width),
        **_linear(f"{name}.target_linear", 1, width),
    }


def salgl(
    backbone: Shapes, labels: int = 80, *, features: int = 2048, embeddings: int = 768, width: int = 1024,
    hidden: int = 2048, scenes: int = 4, grid: tuple[int, int] | None = None,
) -> Shapes:  # fmt: skip
    """SALGL with given label embeddings; `grid` with positions."""
    shapes = {"embeddings": (labels, embeddings), "comatrix": (scenes, labels, labels), **backbone}
    if grid is not None:
        shapes["position_embedding.pe"] = (1, features, *grid)
    shapes |= _encoder_layer("tb.layers.0", features, hidden) | {"scene_linear.weight": (scenes, features)}
    for gate in (1, 2, 3):
        shapes |= _linear(f"ggnn.fc{gate}_w", features, features) | _linear(f"ggnn.fc{gate}_u", features, features)
    shapes |= _label_attention(features, embeddings, width)
    return shapes | _linear("fc.0", features, 2 * features) | _linear("classifier", labels, features)


def sgre(
    backbone: Shapes, labels: int = 80, *, features: int = 2048, embeddings: int = 768, width: int = 1024,
    hidden: int = 2048, grid: tuple[int, int] = (14, 14),
) -> Shapes:  # fmt: skip
    """SGRE with given label embeddings, which it does not keep; its positions are there whether used or not."""
    shapes = backbone | {"position_embedding.pe": (1, features, *grid)}
    shapes |= _encoder_layer("encoder.layers.0", features, hidden)
    shapes |= _label_attention(features, embeddings, width) | _linear("fc", labels, features)
    shapes |= _linear("fc2.0", 2 * features, 2 * features) | _linear("fc2.3", labels, 2 * features)
    for number in (1, 2, 3, 4):
        shapes[f"net{number}.0.weight"] = (features, features, 1)
        shapes |= _batch_norm(f"net{number}.1", features)
    return shapes


def _clip_resnet(prefix: str, blocks: Sequence[int], stem: int, places: int, common: int) -> Shapes:
    """CLIP's ResNet: three convolutions first, attention instead of pooling."""
    shapes: Shapes = {}
    for number, (rows, columns) in enumerate(((stem // 2, 3), (stem // 2, stem // 2), (stem, stem // 2)), start=1):
        shapes[f"conv{number}.weight"] = (rows, columns, 3, 3)
        shapes |= _batch_norm(f"bn{number}", rows)
    inputs = stem
    for stage, count in enumerate(blocks):
        width, outputs = stem * 2**stage, 4 * stem * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            plan = ((width, inputs, 1), (width, width, 3), (outputs, width, 1))
            for number, (rows, columns, side) in enumerate(plan, start=1):
                shapes[f"{name}.conv{number}.weight"] = (rows, columns, side, side)
                shapes |= _batch_norm(f"{name}.bn{number}", rows)
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                shapes |= _batch_norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    shapes["attnpool.positional_embedding"] = (places, inputs)
    for name in ("k_proj", "q_proj", "v_proj"):
        shapes |= _linear(f"attnpool.{name}", inputs, inputs)
    shapes |= _linear("attnpool.c_proj", common, inputs)
    return {prefix + name: shape for name, shape in shapes.items()}


def hspnet(
    labels: int = 80, parents: int = 12, *, common: int = 1024, text: int = 512, length: int = 77,
    text_layers: int = 12, blocks: Sequence[int] = (3, 4, 6, 3), stem: int = 64, places: int = 50, context: int = 4,
) -> Shapes:  # fmt: skip
    """HSPNet: CLIP's towers of `common` and `text` width, four context words."""
    shapes: Shapes = {"logit_scale": ()}
    learner = "parent_prompt_learner"
    shapes |= {
        f"{learner}.ctx": (context, text),
        f"{learner}.token_prefix": (parents, 1, text),
        f"{learner}.token_middle": (parents, context, text),
        f"{learner}.token_suffix": (parents, length - 1 - context, text),
        f"{learner}.embedding": (parents, length, text),
        "child_prompt_learner.token_prefix": (labels, 1, text),
        "child_prompt_learner.token_suffix": (labels, length - 1 - context, text),
        **_linear("child_prompt_learner.meta_net.linear1", context * text, common),
        **_linear("child_prompt_learner.meta_net.linear2", context * text, context * text),
        **_clip_resnet("image_encoder.", blocks, stem, places, common),
        "text_encoder.positional_embedding": (length, text),
        "text_encoder.text_projection": (text, common),
        **_norm("text_encoder.ln_final", text),
        "gcn.gamma": (1,),
        "gcn.gc1.weight": (common, 2 * common),
        "gcn.gc2.weight": (2 * common, 2 * common),
        "gcn.gc3.weight": (2 * common, common),
    }
    for layer in range(text_layers):
        name = f"text_encoder.transformer.resblocks.{layer}"
        shapes |= _attention(f"{name}.attn", text) | _norm(f"{name}.ln_1", text) | _norm(f"{name}.ln_2", text)
        shapes |= _linear(f"{name}.mlp.c_fc", 4 * text, text) | _linear(f"{name}.mlp.c_proj", text, 4 * text)
    return shapes


_HIN_ENCODER = ("self_grid", "self_region", "global_grid", "global_region", "golbal_cls_grid", "golbal_cls_region")
_HIN_DECODER = (
    "self_att", "grid_att", "region_att", "grid_cross_region", "region_cross_grid", "self_cross_enc",
    "self_cross_enc_cross",
)  # fmt: skip


def hin(
    words: int = 10_201, *, width: int = 512, grid: int = 1024, region: int = 2048, hidden: int = 2048, layers: int = 3,
    positions: int = 55,
) -> Shapes:  # fmt: skip
    """HIN: encoder, decoder, and the empty buffers that its search begins with."""
    encoder, decoder = ([f"{part}.layers.{n}" for n in range(layers)] for part in ("encoder", "decoder"))
    shapes: Shapes = {}
    for part, inputs in (("grid", grid), ("region", region)):
        shapes |= _linear(f"encoder.{part}_proj.0", width, inputs) | _norm(f"encoder.{part}_proj.3", width)
    attentions = [f"{layer}.{part}" for layer in encoder for part in _HIN_ENCODER]
    attentions += [f"encoder.quer2att_{part}.{n}" for part in ("region", "grid") for n in range(layers - 1)]
    attentions += [f"{layer}.{part}" for layer in decoder for part in _HIN_DECODER]
    for name in attentions:
        for part in "qkvo":
            shapes |= _linear(f"{name}.attention.fc_{part}", width, width)
        shapes |= _norm(f"{name}.layer_norm", width)
    forwards = [f"{layer}.pwff_{part}" for layer in encoder for part in ("grid", "region")]
    for name in (*forwards, *(f"{layer}.pwff" for layer in decoder)):
        shapes |= _linear(f"{name}.fc1", hidden, width) | _linear(f"{name}.fc2", width, hidden)
        shapes |= _norm(f"{name}.layer_norm", width)
    for name in encoder:
        shapes |= {f"{name}.cls_grid": (1, 1, width), f"{name}.cls_region": (1, 1, width)}
        shapes |= _linear(f"{name}.gate_golbal_cls", 2, 2 * width) | _norm(f"{name}.middle_LN", width)
        shapes |= _linear(f"{name}.middle_fc.0", width, width)
    for name in decoder:
        for part in ("gate.0", "proj1", "proj2"):
            shapes |= _linear(f"{name}.{part}", width, width)
        shapes |= _norm(f"{name}.lnorm2", width)
        shapes |= {f"{name}.self_att.{part}": (0, width) for part in ("running_keys", "running_values")}
    return shapes | {
        "decoder.word_emb.weight": (words, width),
        "decoder.pos_emb.weight": (positions, width),
        "decoder.fc.weight": (words, width),
        "decoder.running_mask_self_attention": (1, 1, 0),
        "decoder.running_seq": (1,),
    }


def random_state(shapes: Mapping[str, tuple[int, ...]], *, seed: int = 0) -> dict[str, Tensor]:
    """Weights of those names and shapes: all different, of the types that the programs save, variances above zero."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name.endswith(COUNTER):
            state[name] = torch.full(shape, 7)
        elif name == "decoder.running_seq":
            state[name] = torch.zeros(shape, dtype=torch.long)
        elif name == "decoder.running_mask_self_attention":
            state[name] = torch.zeros(shape, dtype=torch.uint8)
        else:
            state[name] = torch.rand(shape, generator=generator) * 0.1 + 0.01
    return state


def with_prompts(state: Mapping[str, Tensor], parents: Tensor, children: Tensor, context: int = 4) -> dict[str, Tensor]:
    """An HSPNet state whose prompts are the rows of one random token table.

    Args:
        state: the random state.
        parents: token ids [P, T] of the parents' sentences, `a photo of a {parent}.`
        children: token ids [L, T] of the labels', `X X X X {child}.`
        context: words in front of the names.
    """
    width = state["text_encoder.positional_embedding"].shape[1]
    table = torch.rand(int(parents.max()) + 1, width, generator=torch.Generator().manual_seed(3))
    above, below = table[parents], table[children]  # [P, T, W], [L, T, W]
    learner = "parent_prompt_learner"
    return {
        **state,
        f"{learner}.ctx": above[0, 1 : 1 + context].clone(),
        f"{learner}.embedding": above,
        f"{learner}.token_prefix": above[:, :1].clone(),
        f"{learner}.token_middle": above[:, 1 : 1 + context].clone(),
        f"{learner}.token_suffix": above[:, 1 + context :].clone(),
        "child_prompt_learner.token_prefix": below[:, :1].clone(),
        "child_prompt_learner.token_suffix": below[:, 1 + context :].clone(),
    }
