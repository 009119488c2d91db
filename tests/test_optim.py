"""Optimisers, parameter groups, schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from hlcli import sections
from hlcli.errors import RecipeError
from hlcli.optim import apply_schedule, build_optimizer, schedule_point
from hlcli.sharding import load_optimizer_state


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)


@pytest.mark.parametrize(("total", "fraction"), [(594, 0.2), (10, 0.2), (7, 0.3), (50, 0.5)])
def test_onecycle_equals_torch(total: int, fraction: float):
    section = sections.OneCycle(warmup_fraction=fraction)
    model = Tiny()
    theirs = torch.optim.AdamW(model.parameters(), lr=3e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=3e-4, total_steps=total, pct_start=fraction)
    ours = build_optimizer(sections.AdamW(lr=3e-4), model)
    for step in range(total):
        apply_schedule(ours, schedule_point(section, step, total))
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        assert ours.param_groups[0]["betas"][0] == pytest.approx(theirs.param_groups[0]["betas"][0], rel=1e-12)
        theirs.step()
        if step < total - 1:
            scheduler.step()


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("section", [sections.OneCycle(), sections.Cosine(warmup_steps=2), sections.Constant()])
def test_schedules_are_defined_for_very_short_runs(section, total: int):
    for step in range(total + 2):
        point = schedule_point(section, step, total)
        assert 0 <= point.lr_factor <= 1


def test_cosine_warms_up_and_ends_at_its_share():
    section = sections.Cosine(warmup_steps=10, final_fraction=0.1)
    factors = [schedule_point(section, step, 100).lr_factor for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(factors[10:]))


@pytest.mark.parametrize("section", [sections.OneCycle(), sections.Cosine(final_fraction=0.1)])
def test_steps_behind_the_last_keep_its_value(section):
    assert schedule_point(section, 130, 100) == schedule_point(section, 99, 100)


def test_factors_by_epoch_begin_with_their_epoch():
    section = sections.ByEpoch(factors=((0, 0.25), (2, 1.0), (3, 0.5)))
    factors = [schedule_point(section, step, 8, steps_per_epoch=2).lr_factor for step in range(10)]
    assert factors == [0.25] * 4 + [1.0] * 2 + [0.5] * 4


def test_the_first_group_learns_at_the_recipes_own_rate():
    """It is the one that is reported, whatever share a backbone or a part has."""
    for factor in (0.1, 3.0):
        optimizer = build_optimizer(sections.AdamTwd(lr=1e-2, backbone_lr_factor=factor), Tiny(), {"norm": factor / 2})
        assert optimizer.param_groups[0]["lr"] == 1e-2


def test_adam_twd_decays_matrices_only():
    optimizer = build_optimizer(sections.AdamTwd(weight_decay=0.5), Tiny())
    decayed = {g["weight_decay"]: sorted(p.ndim for p in g["params"]) for g in optimizer.param_groups}
    assert decayed == {0.0: [1, 1, 1, 1], 0.5: [2, 2]}
    assert isinstance(optimizer, torch.optim.Adam)
    assert not isinstance(optimizer, torch.optim.AdamW)


def test_backbone_has_its_own_learning_rate_through_the_schedule():
    optimizer = build_optimizer(sections.Sgd(lr=0.1, backbone_lr_factor=0.01), Tiny())
    apply_schedule(optimizer, schedule_point(sections.OneCycle(cycle_momentum=True), 0, 100))
    assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx([0.1 * 0.01 / 25, 0.1 / 25])
    assert {g["momentum"] for g in optimizer.param_groups} == {0.95}


def test_parts_of_the_network_and_a_loss_with_parameters_have_their_own_learning_rates():
    criterion = nn.Linear(2, 3)
    criterion.lr_factor = 10.0
    section = sections.AdamTwd(lr=0.1, weight_decay=0.5)
    optimizer = build_optimizer(section, Tiny(), {"head.": 5.0}, criterion)
    names = {parameter: name for name, parameter in Tiny().named_parameters()}
    assert names  # the prefix below exists
    rates = {(round(g["peak_lr"], 6), g["weight_decay"]): len(g["params"]) for g in optimizer.param_groups}
    inside = [parameter for name, parameter in Tiny().named_parameters() if name.startswith("head.")]
    matrices = sum(parameter.ndim > 1 for parameter in inside)
    assert rates[0.5, 0.5] == matrices
    assert rates[0.5, 0.0] == len(inside) - matrices
    assert rates[1.0, 0.0] == 2
    assert optimizer.param_groups[0]["peak_lr"] == pytest.approx(0.1)  # the rate that is reported
    assert [id(p) for p in optimizer.param_groups[-1]["params"]] == [id(p) for p in criterion.parameters()]


def test_nothing_to_train_is_an_error():
    with pytest.raises(RecipeError, match="No parameter is trainable"):
        build_optimizer(sections.AdamW(), Tiny().requires_grad_(False))


@pytest.mark.parametrize("section", [sections.Sgd(lr=0.1), sections.AdamW(lr=0.1)])
def test_a_state_kept_in_another_memory_order_goes_on_the_same(section: sections.AnyOptim):
    """As after `train.channels_last`, or after a network that was cut over processes."""
    weights = []
    for order in (torch.channels_last, torch.contiguous_format):
        torch.manual_seed(0)
        layer = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
        images = torch.randn(2, 4, 5, 5)
        optimizer = build_optimizer(section, layer)
        layer(images).square().mean().backward()
        optimizer.step()
        state = optimizer.state_dict()
        for values in state["state"].values():
            for name, value in values.items():
                values[name] = value.contiguous(memory_format=order) if value.ndim == 4 else value
        optimizer = build_optimizer(section, layer)
        load_optimizer_state(optimizer, state)
        optimizer.step()
        weights.append(layer.weight.detach())
    assert torch.equal(*weights)
