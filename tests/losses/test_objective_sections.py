"""The `objective` sections of the losses for missing labels."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_args

import pytest
from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from hlcli.losses.assume_negative import SmoothedNegativeLoss, WeakNegativeLoss
from hlcli.losses.asymmetric import AsymmetricLoss
from hlcli.losses.bce import BceLoss
from hlcli.losses.config import Bce, LabelObjective
from hlcli.losses.entropy import EntropyMaximisationLoss
from hlcli.losses.expected_positives import EprLoss, RoleLoss
from hlcli.losses.hill import HillLoss
from hlcli.losses.large_loss import LargeLossCorrection, LargeLossRejection, PermanentLargeLossCorrection
from hlcli.losses.splc import SplcLoss

SECTIONS = TypeAdapter(Annotated[LabelObjective, Field(discriminator="loss")])

NEEDED: dict[str, dict[str, Any]] = {"epr": {"expected_positives": 2.0}, "role": {"expected_positives": 2.0}}
LOSSES = [one.model_fields["loss"].default for one in get_args(LabelObjective)]
LABELS = 4


def section_of(name: str, **options: Any) -> Any:
    return SECTIONS.validate_python({"loss": name, **NEEDED.get(name, {}), **options})


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
        SECTIONS.validate_python(bad)


# What the papers say, and which class says it again; a loss of no paper need not be here.
FOCAL = {"margin": 1.0, "gamma": 2.0}
DEFAULTS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "asymmetric": (AsymmetricLoss, {"gamma_pos": 0, "gamma_neg": 2, "clip": 0, "eps": 1e-5, "detach_focus": True}),
    "bce": (BceLoss, {}),
    "splc": (SplcLoss, {"tau": 0.6, "change_epoch": 1, **FOCAL}),
    "focal_margin": (SplcLoss, FOCAL),
    "hill": (HillLoss, {"lam": 1.5, **FOCAL}),
    "an": (BceLoss, {}),
    "wan": (WeakNegativeLoss, {"negative_weight": None}),
    "label_smoothing": (SmoothedNegativeLoss, {"smoothing": 0.1}),
    "em": (EntropyMaximisationLoss, {"alpha": 0.1}),
    "epr": (EprLoss, {"weight": 1.0}),
    "role": (RoleLoss, {"weight": 1.0, "lr_factor": 10.0}),
    "ll_r": (LargeLossRejection, {"delta_rel": 0.005}),
    "ll_ct": (LargeLossCorrection, {"delta_rel": 0.002}),
    "ll_cp": (PermanentLargeLossCorrection, {"delta_rel": 0.001}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_defaults_are_the_published_numbers_and_said_alike_by_the_class(name: str) -> None:
    section, needed = section_of(name), NEEDED.get(name, {})
    numbers = section.model_dump(exclude={"loss", *needed})
    kind, expected = DEFAULTS.get(name, (type(build(name)), numbers))
    assert numbers == expected
    assert type(build(name)) is kind
    own = {key: parameter.default for key, parameter in inspect.signature(kind).parameters.items()}
    assert {key: own[key] for key in expected} == expected


def test_every_loss_of_a_paper_is_compared_with_it() -> None:
    without_paper = {"bce"}
    assert set(LOSSES) - without_paper <= set(DEFAULTS)
