"""Gradient checkpointing changes memory and time, and not one number."""

from __future__ import annotations

import copy

import pytest
import torch
from pictures import pictures
from torch import nn

from hlcli.backbones import GridBackbone, build_backbone
from hlcli.encoders.checkpointing import checkpoint_blocks
from hlcli.errors import RecipeError


def pair(name: str, **options: object) -> tuple[GridBackbone, GridBackbone]:
    """The same backbone with its blocks run once, and twice."""
    given = []
    for twice in (False, True):
        torch.manual_seed(3)
        given.append(build_backbone(name, (64, 96), gradient_checkpointing=twice, **options))  # type: ignore[arg-type]
    return given[0].train(), given[1].train()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_resnet", {}),
        ("test_resnet", {"stage": 3}),
        ("test_resnet", {"freeze_batch_norm": True, "frozen": ("conv1", "layer1")}),
        ("test_efficientnet", {}),  # norms that hold their activation
        ("test_vit", {}),
    ],
)
def test_two_steps_have_the_same_bits(name, options):
    once, twice = pair(name, **options)
    images = pictures(64, 96)
    for _ in range(2):
        for backbone in (once, twice):
            torch.manual_seed(4)
            backbone(images).square().sum().backward()
    gradients = [{name: p.grad for name, p in backbone.named_parameters()} for backbone in (once, twice)]
    for key, expected in gradients[0].items():
        assert (expected is None) == (gradients[1][key] is None), key
        if expected is not None:
            torch.testing.assert_close(gradients[1][key], expected, rtol=0, atol=0)
    for key, expected in once.state_dict().items():  # running statistics, and how many batches they have seen
        torch.testing.assert_close(twice.state_dict()[key], expected, rtol=0, atol=0)
    with torch.no_grad():
        evaluated = [copy.deepcopy(backbone).eval()(images) for backbone in (once, twice)]
    torch.testing.assert_close(evaluated[1], evaluated[0], rtol=0, atol=0)


def test_norms_that_rest_in_evaluation_mode_count_nothing():
    """As HSPNet's do in its first epochs, while all else is trained."""
    once, twice = pair("test_resnet")
    before = {name: value.clone() for name, value in twice.state_dict().items()}
    for backbone in (once, twice):
        backbone.eval()(pictures(64, 96)).square().sum().backward()
    for key, expected in before.items():
        assert torch.equal(twice.state_dict()[key], expected), key
    for (key, theirs), ours in zip(once.named_parameters(), twice.parameters(), strict=True):
        assert torch.equal(theirs.grad, ours.grad), key


def test_blocks_are_forgotten_between_forward_and_backward():
    kept = []
    for backbone in pair("test_resnet"):
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, to=saved: (to.append(t.numel()), t)[1], lambda t: t):
            backbone(pictures(64, 96))
        kept.append(sum(saved))
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize("name", ["cvt", "mine"])
def test_a_model_whose_blocks_cannot_run_twice_is_refused(name):
    class Stubborn(nn.Module):
        def set_grad_checkpointing(self, enable: bool = True) -> None:
            assert not enable, "gradient checkpointing not supported"

    model = nn.Identity() if name == "cvt" else Stubborn()
    with pytest.raises(RecipeError, match=f"backbone.gradient_checkpointing: {name} cannot do it"):
        checkpoint_blocks(model, name)
