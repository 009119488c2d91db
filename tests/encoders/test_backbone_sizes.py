"""Image sizes that backbones take."""

from __future__ import annotations

import logging

import pytest
import torch
from pictures import pictures

from hlcli.backbones import build_backbone
from hlcli.errors import RecipeError


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "test_vit",
            (50, 64),
            r"test_vit does not take images of 50×64 pixels: .*of 16, 16 at least. .*: 48×64, 64×64",
        ),
        ("test_vit", (40, 8), r"multiples of 16, 16 at least. The next that fit: 48×16\."),
        ("swin_tiny_patch4_window7_224", (450, 448), r"of 4, 4 at least. The next that fit: 448×448, 452×448\."),
        ("tresnet_m", (16, 64), r"multiples of 4, 20 at least. The next that fit: 20×64\."),
        ("tresnet_m", (66, 64), r"multiples of 4, 20 at least. The next that fit: 64×64, 68×64\."),
    ],
)
def test_sizes_that_a_backbone_cannot_take_are_refused_with_those_that_fit(name: str, size, message: str):
    with torch.device("meta"), pytest.raises(RecipeError, match=message):
        build_backbone(name, size)


def test_the_least_size_of_a_tresnet_works():
    assert build_backbone("tresnet_m", (20, 24)).eval()(pictures(20, 24)).shape == (2, 1, 2048)


@pytest.mark.parametrize(("size", "warned"), [(224, False), (448, False), (256, True), (96, True)])
def test_swin_warns_where_timm_fills_windows_up(caplog: pytest.LogCaptureFixture, size: int, warned: bool):
    with caplog.at_level(logging.WARNING), torch.device("meta"):
        build_backbone("swin_tiny_patch4_window7_224", (size, size))
    messages = [message for message in caplog.messages if "whole windows need multiples of 224" in message]
    assert bool(messages) == warned
