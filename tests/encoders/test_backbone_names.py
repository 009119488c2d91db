"""Names and values of backbone weights, between the published code's networks (restated) and ours."""

from __future__ import annotations

import pytest
import reference_backbones as reference
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.tresnet import TResNet
from torch import Tensor, nn

from hlcli.encoders.backbone_names import TIMM_NAMES, family, from_reference_backbone, to_reference_backbone
from hlcli.encoders.cvt import W24, Cvt, build_cvt

DEPTHS, HEADS, WINDOW = (2, 2, 2, 2), (1, 2, 2, 4), 3
CVT_SIZES = {"embed_dim": [8, 16, 24], "depth": [1, 2, 3], "num_heads": [1, 2, 3]}


def tresnets(version_2: bool) -> tuple[nn.Module, nn.Module]:
    depths = (1, 2, 2, 1)
    ours = TResNet(list(depths), width_factor=0.125, v2=version_2, num_classes=0)
    return reference.TResNet(depths, 8, all_bottlenecks=version_2), ours


def swins() -> tuple[nn.Module, nn.Module]:
    ours = SwinTransformer(96, embed_dim=8, depths=DEPTHS, num_heads=HEADS, window_size=WINDOW, num_classes=0)
    return reference.Swin(96, 8, DEPTHS, HEADS, WINDOW), ours


def published_cvt(**fields: int) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    return transformers.CvtForImageClassification(transformers.CvtConfig(**CVT_SIZES, **fields))


def cvts() -> tuple[nn.Module, nn.Module]:
    theirs = reference.CvT(tuple(CVT_SIZES["embed_dim"]), tuple(CVT_SIZES["depth"]), tuple(CVT_SIZES["num_heads"]))
    return theirs, Cvt(published_cvt(), (96, 96))


PAIRS = {
    "tresnet_l.miil_in1k_448": lambda: tresnets(False),
    "tresnet_v2_l.miil_in21k": lambda: tresnets(True),
    "swin_large_patch4_window12_384.ms_in22k": swins,
    W24: cvts,
}


def fill(model: nn.Module) -> nn.Module:
    """Random weights and statistics in float64, scales of norms of either sign."""
    generator = torch.Generator().manual_seed(0)
    model.double().eval()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point() and not name.endswith("attn_mask"):
            scale = 1 if tensor.ndim < 2 else 2 * tensor[0].numel() ** -0.5
            tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * scale)
    return model


def tokens(model: nn.Module, images: Tensor) -> Tensor:
    """Features as a grid [B, N, D]."""
    out = model.forward_features(images) if hasattr(model, "forward_features") else model(images)
    if isinstance(model, Cvt):
        return out[:, 1:]
    if isinstance(model, SwinTransformer):
        return out.flatten(1, 2)
    return out.flatten(2).transpose(1, 2) if out.ndim == 4 else out


def images(size: int = 96) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", PAIRS)
@torch.no_grad()
def test_the_published_networks_compute_the_same_with_their_weights_under_our_names(name: str, training: bool):
    theirs, ours = PAIRS[name]()
    fill(theirs)
    ours.double().load_state_dict(from_reference_backbone(theirs.state_dict(), name))
    for module in (theirs, ours):
        module.train(training)
    for module in ours.modules():  # randomness is not compared
        if "DropPath" in type(module).__name__:
            module.eval()
    expected = tokens(theirs, images())
    assert expected.std() > 0.1
    torch.testing.assert_close(tokens(ours, images()), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PAIRS)
@torch.no_grad()
def test_our_networks_compute_the_same_under_the_published_names(name: str):
    theirs, ours = PAIRS[name]()
    fill(ours)
    state = to_reference_backbone(ours.state_dict(), name)
    own = theirs.double().eval().state_dict()
    absent = {key for key in own if key not in state}
    assert not set(state) - set(own)
    assert not [key for key in absent if not key.startswith("head.") and not key.endswith(("_index", "attn_mask"))]
    theirs.load_state_dict({**own, **state})
    torch.testing.assert_close(tokens(theirs, images()), tokens(ours, images()), rtol=1e-10, atol=1e-10)
    back = from_reference_backbone(state, name)
    assert list(back) == list(ours.state_dict())


def full_size(name: str) -> tuple[nn.Module, nn.Module]:
    """The published network and ours as large as they are, without memory."""
    with torch.device("meta"):
        match name:
            case "tresnet_l":
                return reference.TResNet((4, 5, 18, 3), 76), timm.create_model(name, num_classes=0)
            case "tresnet_v2_l":
                theirs = reference.TResNet((3, 4, 23, 3), 64, all_bottlenecks=True)
                return theirs, timm.create_model(name, num_classes=0)
            case "swin_large_patch4_window12_384":
                theirs = reference.Swin(384, 192, (2, 2, 18, 2), (6, 12, 24, 48), 12)
                return theirs, timm.create_model(name, num_classes=0)
            case "cvt_w24_384":
                pytest.importorskip("transformers")
                return reference.CvT((192, 768, 1024), (2, 2, 20), (3, 12, 16)), build_cvt(name, (384, 384))
            case _:  # the names are timm's
                return timm.create_model(name), timm.create_model(name, num_classes=0)


@pytest.mark.parametrize(
    ("name", "published", "ours"),
    [
        ("resnet101", 626, 624),
        ("tresnet_l", 620, 618),
        ("tresnet_v2_l", 746, 744),
        ("vit_large_patch16_224", 296, 294),
        ("swin_large_patch4_window12_384", 364, 327),
        ("cvt_w24_384", 833, 831),
    ],
)
def test_names_and_shapes_fit_at_full_size(name: str, published: int, ours: int):
    theirs, model = full_size(name)
    assert len(theirs.state_dict()) == published
    converted = from_reference_backbone(theirs.state_dict(), name)
    own = model.state_dict()
    assert len(own) == ours
    assert {key: value.shape for key, value in converted.items()} == {key: value.shape for key, value in own.items()}
    back = to_reference_backbone(own, name)
    assert set(back) <= set(theirs.state_dict())


@pytest.mark.parametrize("name", [*PAIRS, "resnet18", "vit_tiny_patch16_224"])
def test_weights_under_our_names_come_through_unchanged(name: str):
    ours = PAIRS[name]()[1] if name in PAIRS else timm.create_model(name, num_classes=0)
    state = ours.state_dict()
    again = from_reference_backbone(state, name)
    assert list(again) == list(state)
    assert all(again[key] is state[key] for key in state)


def test_the_hugging_face_files_of_a_cvt_are_understood():
    ours = Cvt(published_cvt(), (32, 32))
    assert list(from_reference_backbone(published_cvt(num_labels=5).state_dict(), "cvt:x/y")) == list(ours.state_dict())


def test_an_unknown_weight_keeps_its_name_for_the_loader_to_report():
    state = {"stage0.blocks.0.attn.strange.weight": torch.zeros(1), "mean": torch.zeros(3)}
    assert set(from_reference_backbone(state, W24)) == {"encoder.stages.0.layers.0.attn.strange.weight", "mean"}
    assert set(from_reference_backbone(state, "convnext_base")) == set(state)


@torch.no_grad()
def test_a_scale_of_nothing_is_the_smallest_that_the_published_norm_has():
    theirs, ours = tresnets(False)  # timm starts residual branches at 0
    state = to_reference_backbone(ours.state_dict(), "tresnet_l")
    back = from_reference_backbone(state, "tresnet_l")
    scale = "body.layer1.0.conv2.bn.weight"
    assert torch.equal(ours.state_dict()[scale], torch.zeros(8))
    torch.testing.assert_close(back[scale], torch.full((8,), 1e-5))
    assert not (set(theirs.state_dict()) ^ set(state)) - {"head.fc.weight", "head.fc.bias"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet101.tv_in1k", "resnet"),
        ("hf-hub:timm/resnet50.a1_in1k", "resnet"),
        ("tresnet_lv2", "tresnet"),
        ("vit_large_patch16_224.augreg_in21k", "vit"),
        ("swin_large_patch4_window12_384.ms_in22k", "swin"),
        ("swinv2_base_window8_256", "other"),
        ("cvt:microsoft/cvt-13", "cvt"),
        ("resnetv2_50", "other"),
        ("vitamin_small", "other"),
    ],
)
def test_rules_are_chosen_by_the_name(name: str, expected: str):
    assert family(name) == expected


def test_names_to_write_instead_of_the_published_ones_exist():
    timm_names = [name for name in TIMM_NAMES.values() if name != W24]
    assert set(timm_names) <= set(timm.list_pretrained())
