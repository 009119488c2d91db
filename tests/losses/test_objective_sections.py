"""The `objective` sections of the losses for missing labels."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError
from torch import nn

from hlcli.losses.bce import BceLoss
from hlcli.losses.config import Bce, Objective

NEEDED: dict[str, dict[str, Any]] = {"epr": {"expected_positives": 2.0}, "role": {"expected_positives": 2.0}}
LOSSES = [one.model_fields["loss"].default for one in get_args(get_args(Objective)[0])]
LABELS = 4


def section_of(name: str, **options: Any) -> Any:
    return TypeAdapter(Objective).validate_python({"loss": name, **NEEDED.get(name, {}), **options})


def build(name: str, **options: Any) -> nn.Module:
    return section_of(name, **options).build(num_images=5, num_labels=LABELS)


@pytest.mark.parametrize("name", LOSSES)
def test_every_section_is_reached_by_its_name_and_says_what_its_keys_are(name: str) -> None:
    section = section_of(name)
    fields = type(section).model_fields
    assert section.loss == name
    assert all(field.description for key, field in fields.items() if key != "loss")


def test_sections_hand_on_their_numbers() -> None:
    splc = build("splc", tau=0.7, change_epoch=3, margin=0.5, gamma=1.0)
    assert (splc.tau, splc.change_epoch, splc.margin, splc.gamma) == (0.7, 3, 0.5, 1.0)
    focal = build("focal_margin", margin=0.5, gamma=1.0)
    assert (focal.change_epoch, focal.margin, focal.gamma) == (None, 0.5, 1.0)
    hill = build("hill", lam=2.0, margin=0.5, gamma=1.0)
    assert (hill.lam, hill.margin, hill.gamma) == (2.0, 0.5, 1.0)
    assert build("wan", negative_weight=0.3).negative_weight == 0.3
    assert build("label_smoothing", smoothing=0.3).smoothing == 0.3
    assert build("em", alpha=0.3).alpha == 0.3
    epr = build("epr", expected_positives=1.5, weight=0.3)
    assert (epr.expected_positives, epr.weight, epr.num_labels) == (1.5, 0.3, LABELS)
    role = build("role", expected_positives=1.5, weight=0.3, lr_factor=3)
    assert (role.epr.expected_positives, role.epr.weight, role.lr_factor) == (1.5, 0.3, 3)
    assert [build(name, delta_rel=0.3).delta_rel for name in ("ll_r", "ll_ct", "ll_cp")] == [0.3] * 3
    assert isinstance(Bce().build(10, 20), BceLoss)
    assert isinstance(build("an"), BceLoss)


@pytest.mark.parametrize(
    "bad",
    [
        {"loss": "splc", "tau": 1}, {"loss": "splc", "change_epoch": -1}, {"loss": "hill", "lam": 0.9},
        {"loss": "wan", "negative_weight": 2}, {"loss": "label_smoothing", "smoothing": 1}, {"loss": "em", "alpha": -1},
        {"loss": "epr"}, {"loss": "role"}, {"loss": "role", "expected_positives": 0}, {"loss": "ll_r", "delta_rel": 2},
        {"loss": "focal_margin", "tau": 0.6},
    ],
)  # fmt: skip
def test_senseless_numbers_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Objective).validate_python(bad)
