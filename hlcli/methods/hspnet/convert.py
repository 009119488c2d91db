"""Weights of the published HSPNet code ⇄ ours; its names are on the left of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hlcli.errors import CheckpointError
from hlcli.methods.hspnet.prompts import PARENT_TEMPLATE
from hlcli.methods.reference_names import inverted, rename_all, without_wrapper

if TYPE_CHECKING:
    from hlcli.methods.hspnet.model import Hspnet

NAMES = {
    "logit_scale": "logit_scale",
    "parent_prompt_learner.ctx": "parent_context",
    "parent_prompt_learner.embedding": "parent_prompts",
    "child_prompt_learner.token_prefix": "child_prefix",
    "child_prompt_learner.token_suffix": "child_suffix",
    "child_prompt_learner.meta_net.linear1": "meta_net.hidden",
    "child_prompt_learner.meta_net.linear2": "meta_net.output",
    "image_encoder": "backbone",
    "text_encoder": "text_encoder",
    "gcn.gamma": "gcn.gamma",
    "gcn.gc1.weight": "gcn.weights.0",
    "gcn.gc2.weight": "gcn.weights.1",
    "gcn.gc3.weight": "gcn.weights.2",
}
PARENTS = "parent_prompt_learner"
_PHRASE_WORDS = len(PARENT_TEMPLATE.partition("{}")[0].split())  # a token each, whatever children learn
COMPUTED = ("child_adjacency", "parent_adjacency")
"""What a published checkpoint does not hold."""


def from_reference(state: Mapping[str, Tensor], model: Hspnet) -> dict[str, Tensor]:
    """The reference's weights under our names; what is not in `state` is not in the result.

    Raises:
        CheckpointError: when names are unknown or there twice (with and without `module.`), or when prompts contradict
            each other or are not of the model's labels.
    """
    state = without_wrapper(state)
    ours = rename_all({name: value for name, value in state.items() if name not in _parts(None)}, NAMES, "HSPNet")
    if "parent_prompts" in ours:
        _check_parts(state, ours["parent_prompts"])
        _check_ends(ours, model)
    context = ours.get("parent_context")
    if context is not None and len(context) == _PHRASE_WORDS != model.n_ctx:
        # All words of the parents' phrase there, as many as children have learnt ones here; nobody reads them.
        own, prompts = model.parent_prompts, ours.get("parent_prompts")
        prompts = own if prompts is None or prompts.shape != own.shape else prompts
        ours["parent_context"] = prompts[0, 1 : 1 + model.n_ctx].clone()
    return ours


def to_reference(state: Mapping[str, Tensor], model: Hspnet) -> dict[str, Tensor]:
    """Our weights under the reference's names, such that its strict loader takes them.

    Raises:
        CheckpointError: when a name is not HSPNet's.
    """
    kept = {name: value for name, value in state.items() if name not in COMPUTED}
    theirs = rename_all(kept, inverted(NAMES), "HSPNet")
    if "parent_prompts" in state:
        theirs |= _parts(state["parent_prompts"])
        if model.n_ctx != _PHRASE_WORDS:
            theirs[f"{PARENTS}.ctx"] = state["parent_prompts"][0, 1 : 1 + _PHRASE_WORDS].clone()
    return theirs


def _parts(parent_prompts: Tensor | None) -> dict[str, Tensor]:
    """What the reference keeps of the parents' prompts beside the whole."""
    prompts = torch.empty(0, 0) if parent_prompts is None else parent_prompts  # [P, T, W]
    return {
        f"{PARENTS}.token_prefix": prompts[:, :1],
        f"{PARENTS}.token_middle": prompts[:, 1 : 1 + _PHRASE_WORDS],
        f"{PARENTS}.token_suffix": prompts[:, 1 + _PHRASE_WORDS :],
    }


def _check_parts(state: Mapping[str, Tensor], parent_prompts: Tensor) -> None:
    """The parts must be those of the whole, which alone is read."""
    parts = [state[name] for name in _parts(None) if name in state]
    if parts and not torch.equal(torch.cat(parts, dim=1), parent_prompts):
        raise CheckpointError(
            f"The checkpoint's {PARENTS}.token_prefix, .token_middle and .token_suffix are not its "
            f"{PARENTS}.embedding.",
            "Is it from the published HSPNet code?",
        )


def _check_ends(ours: Mapping[str, Tensor], model: Hspnet) -> None:
    """All texts end in the same token, so it must stand where those of the model's labels end."""
    prompts, suffix = ours["parent_prompts"], ours.get("child_suffix")
    expected = model.parent_prompts.shape, model.child_suffix.shape
    if suffix is None or (prompts.shape, suffix.shape) != expected:
        return  # shapes are compared, and named, when the weights are loaded
    ends = torch.cat(
        (
            prompts[torch.arange(len(prompts)), model.parent_ends.cpu()],
            suffix[torch.arange(len(suffix)), model.child_ends.cpu() - 1 - model.n_ctx],
        )
    )  # [P + L, W]
    wrong = (ends != ends.mode(dim=0).values).any(dim=1)
    if wrong.any():
        raise CheckpointError(
            f"The checkpoint's prompts are not those of these labels: {int(wrong.sum())} of {len(ends)} texts end "
            "elsewhere.",
            "Were labels named otherwise in training? Say how in model.label_texts.",
        )
