"""The average of weights."""

from __future__ import annotations

import torch
from torch import nn

from hlcli.backbones import freeze_batch_norms
from hlcli.ema import Ema


def test_average_follows_the_formula_for_weights_and_running_statistics():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).double()
    ema = Ema(model, 0.9)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(4):
        with torch.no_grad():
            for value in model.state_dict().values():
                value.add_(1)
        ema.update(model)
        for name, value in model.state_dict().items():
            moved = 0.9 * expected[name] + 0.1 * value if value.is_floating_point() else value
            expected[name] = moved.clone()
    for name, value in ema.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_frozen_parts_stay_bit_identical_and_average_is_not_trained():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 3))
    freeze_batch_norms(model)
    model[0].requires_grad_(False)
    ema = Ema(model, 0.5)
    before = ema.model[0].weight.clone()
    with torch.no_grad():
        model[2].weight.add_(1)
    ema.update(model)
    assert torch.equal(ema.model[0].weight, before)
    assert not torch.equal(ema.model[2].weight, model[2].weight)
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())


def test_restart_takes_the_weights_as_they_are():
    model = nn.Linear(2, 2)
    ema = Ema(model, 0.99)
    with torch.no_grad():
        model.weight.fill_(7)
    ema.restart(model)
    assert torch.equal(ema.model.weight, model.weight)


def test_named_buffers_are_copied_instead_of_averaged():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ema = Ema(model, 0.9, copied=("1.running_mean",))
    with torch.no_grad():
        model[1].running_mean.fill_(5.0)
        model[1].running_var.fill_(11.0)
    ema.update(model)
    assert torch.equal(ema.model[1].running_mean, torch.full((3,), 5.0))
    torch.testing.assert_close(ema.model[1].running_var, torch.full((3,), 2.0))
    model[1].running_mean.zero_()
    assert torch.equal(ema.model[1].running_mean, torch.full((3,), 5.0)), "it must be a copy, not the same tensor"


def test_statistics_of_frozen_weights_are_averaged_while_they_move():
    model = nn.Sequential(nn.BatchNorm1d(3))
    model.requires_grad_(False)
    ema = Ema(model, 0.9)
    with torch.no_grad():
        model[0].running_var.fill_(11.0)
    ema.update(model)
    torch.testing.assert_close(ema.model[0].running_var, torch.full((3,), 2.0))


def test_buffers_of_layers_without_weights_are_averaged():
    model = nn.Sequential(nn.Linear(2, 2), nn.Module())
    model[1].register_buffer("counts", torch.zeros(2))
    ema = Ema(model, 0.9)
    model[1].counts.fill_(10.0)
    ema.update(model)
    torch.testing.assert_close(ema.model[1].counts, torch.ones(2))


def test_a_buffer_that_is_put_in_anothers_place_is_followed():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = Ema(model, 0.5)
    ema.update(model)
    model[1].running_mean = torch.full((2,), 8.0)
    ema.update(model)
    torch.testing.assert_close(ema.model[1].running_mean, torch.full((2,), 4.0))


def test_another_model_can_be_trailed_from_any_step_on():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    ema = Ema(first, 0.5)
    ema.update(first)
    expected = torch.lerp(first.weight, second.weight, 0.5)
    ema.update(second)
    torch.testing.assert_close(ema.model.weight, expected)
