"""The HLEG network of a golden case, and the checks of its forward pass, losses, gradients and training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hlcli import sections
from hlcli.data.datasets.intentonomy_labels import label_space
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.ema import Ema
from hlcli.layers import attention
from hlcli.layers.position import sine_position
from hlcli.losses.config import Asymmetric
from hlcli.methods.hleg.config import Hleg
from hlcli.methods.hleg.convert import from_reference
from hlcli.methods.hleg.objective import combine_levels, per_level
from hlcli.models.folder import load_weights
from hlcli.optim import apply_schedule, build_optimizer, schedule_point

from .cases import Case, assert_near

LEVELS = ("fine", "middle", "coarse")
TIGHT = {"rtol": 1e-9, "atol": 1e-12}


class FeatureMap(nn.Module):
    """Stands where the backbone does: its images are feature maps [B, C, h, w]."""

    def __init__(self, num_features: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.num_features, self.grid, self.class_tokens = num_features, grid, 0

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(2).transpose(1, 2)


def space_of(about: dict[str, Any]) -> LabelSpace:
    """The label tree of a case; Intentonomy's where it names none."""
    tree = about.get("hierarchy")
    if tree is None:
        return label_space()
    groups = [{int(k): v for k, v in tree[level].items()} for level in ("coarse", "middle")]
    sizes = [len(groups[0]), len(groups[1]), tree["num_fine"]]
    parents = []
    for size, level in zip(sizes[1:], groups, strict=True):
        parent = {child: index for index, children in level.items() for child in children}
        parents.append([parent[child] for child in range(size)])
    return LabelSpace.from_parents([[f"{i}" for i in range(size)] for size in sizes], parents)


def build(case: Case) -> tuple[Hleg, nn.Module, Any]:
    """Section, model with the case's weights, and criterion."""
    dims, loss = case.about["dims"], case.about["loss"]
    section = Hleg(
        hidden_dim=dims["hidden_dim"],
        feedforward_dim=dims["dim_feedforward"],
        num_heads=dims["nheads"],
        encoder_layers=dims["enc_layers"],
        dropout=0.0,
        pre_norm=dims["pre_norm"],
        keep_first_self_attention=dims["keep_first_self_attn_dec"],
        keep_other_self_attention=dims["keep_other_self_attn_dec"],
        input_projection="state.input_proj.weight" in case.tensors,
        alpha_fine=loss.get("alpha_fine", 0.1),
        loss_scale=loss["loss_dev"] if loss.get("loss_dev", -1) > 0 else 1.0,
    )
    backbone = FeatureMap(dims.get("in_channels", dims["hidden_dim"]), tuple(dims["spatial"]))
    model = section.build(backbone, space_of(case.about)).double()
    load_weights(model, section.from_upstream(case.group("state"), model), "the case")
    return section, model, criterion_of(loss)


def criterion_of(loss: dict[str, Any]) -> Any:
    return Asymmetric(
        gamma_pos=loss["gamma_pos"],
        gamma_neg=loss["gamma_neg"],
        clip=loss["clip"],
        eps=loss["eps"],
        detach_focus=loss["dtgfl"],
    ).build()


def as_batch(images: Tensor, targets: Tensor) -> LabelBatch:
    return LabelBatch(images, targets, None, torch.arange(len(images)), None)


def check_forward(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_folded in (False, True):
        monkeypatch.setattr(attention, "folding_pays", lambda *_, answer=is_folded: answer)
        section, model, criterion = build(case)
        model.train(not case.about.get("mode", "eval").startswith("eval"))
        seen = watch(model.head)
        output = model(case["in.fmap"])
        check_intermediates(case, model, seen)
        for name, logits in zip(LEVELS, reversed(output.level_logits), strict=True):
            case.expect(f"out.{name}", logits, **TIGHT)
        targets = model.head.hierarchy.lift(case["in.labels"])
        case.expect("out.labels_middle", targets[1], rtol=0, atol=0)
        case.expect("out.labels_coarse", targets[0], rtol=0, atol=0)
        losses = per_level(output.level_logits, targets, criterion)
        for name, loss in zip(LEVELS, reversed(losses), strict=True):
            case.expect(f"loss.{name}_per_sample", loss)
        case.expect("loss.fine_mean", losses[-1].mean())
        case.expect("loss.hard_first", combine_levels(losses, "hard_first_sample"))
        if (winners := case.about.get("hard_first_level_per_sample")) is not None:
            assert torch.stack(losses[::-1]).argmax(dim=0).tolist() == winners
        terms = section.training_losses(model, as_batch(case["in.fmap"], case["in.labels"]), criterion, epoch=0)
        total = sum(terms.values())
        case.expect("loss.total", total)
        total.backward()
        check_gradients(case, model)


def watch(head: nn.Module) -> dict[str, Tensor]:
    """Record what passes between the parts of the head."""
    seen: dict[str, Tensor] = {}
    head.encoder.register_forward_hook(lambda _, args, result: seen.update(memory=result))
    for level, layer in enumerate(head.decoder):

        def note(_: nn.Module, args: tuple[Tensor, ...], result: tuple[Tensor, Any], level: int = level) -> None:
            seen.update({f"tgt{level}": args[0], f"query{level}": args[1].expand_as(args[0]), f"dec{level}": result[0]})

        layer.register_forward_hook(note)
    head.final_norm.register_forward_hook(lambda _, args, result: seen.update(hs=result))
    return seen


def check_intermediates(case: Case, model: nn.Module, seen: dict[str, Tensor]) -> None:
    head = model.head
    position = head.position[None].expand(len(case["in.fmap"]), -1, -1)
    case.expect("out.pos", position.transpose(0, 1))
    if "state.backbone.1.pe" in case.tensors:
        regenerated = sine_position(*head.grid, position.shape[-1]).double()
        assert_near("positions made anew", regenerated, head.position, 0, 1e-5)
    for level, features in enumerate(seen.pop("hs").split(head.sizes, dim=1)):
        case.expect(f"out.hs{level}", features[None])
    for name, features in seen.items():
        case.expect(f"out.{name}", features.transpose(0, 1))


def check_gradients(case: Case, model: nn.Module) -> None:
    gradients = case.group("grad")
    if not gradients:
        return
    expected = from_reference(gradients)
    parameters = dict(model.named_parameters())
    assert set(expected) == set(parameters)
    for name, gradient in expected.items():
        assert_near(f"gradient of {name}", parameters[name].grad, gradient, **TIGHT)
    unused = sum(case[f"state.{name}"].numel() for name in case.about.get("params_without_gradient", ()))
    positions = case.tensors.get("state.backbone.1.pe", torch.empty(0)).numel()
    published = sum(value.numel() for value in case.group("state").values())
    assert published - positions - unused == sum(parameter.numel() for parameter in parameters.values())


def check_training(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    about = case.about
    for is_folded in (False, True):
        monkeypatch.setattr(attention, "folding_pays", lambda *_, answer=is_folded: answer)
        section, model, criterion = build(case)
        model.train()
        optimizer = build_optimizer(optim_of(about["optim"]), model)
        schedule, total_steps = schedule_of(about["schedule"]), about["schedule"]["total_steps"]
        first_average = about["ema"]["ema_epoch"] * about["schedule"]["steps_per_epoch"]
        ema = Ema(model, about["ema"]["decay"])
        for step in range(about["nsteps"]):
            if step == first_average:
                ema.restart(model)
            apply_schedule(optimizer, schedule_point(schedule, step, total_steps))
            batch = as_batch(case[f"in.fmap{step}"], case[f"in.labels{step}"])
            check_step(case, f"step{step}", model, batch, criterion, optimizer)
            loss = sum(section.training_losses(model, batch, criterion, epoch=0).values())
            case.expect(f"step{step}.loss", loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step >= first_average:
                ema.update(model)
        for name, trained in (("final", model), ("ema", ema.model)):
            expected = from_reference(case.group(name))
            assert set(expected) == set(trained.state_dict())
            for key, value in trained.state_dict().items():
                assert_near(f"{name} {key}", value, expected[key], 0, 1e-9)


def check_step(case: Case, step: str, model: nn.Module, batch: LabelBatch, criterion: Any, optimizer: Any) -> None:
    group = optimizer.param_groups[0]
    case.expect(f"{step}.lr", group["lr"])
    case.expect(f"{step}.beta1", group["betas"][0])
    with torch.no_grad():
        losses = per_level(model(batch.images).level_logits, model.head.hierarchy.lift(batch.targets), criterion)
    case.expect(f"{step}.hard_first", combine_levels(losses, "hard_first_sample"))
    for name, loss in zip(LEVELS, reversed(losses), strict=True):
        case.expect(f"{step}.{name}", loss.mean())


def optim_of(about: dict[str, Any]) -> Any:
    kind = {"AdamW": sections.AdamW, "Adam": sections.Adam, "Adam_twd": sections.AdamTwd}[about["name"]]
    beta1, beta2 = about["betas"]
    return kind(lr=about["lr"], weight_decay=about["weight_decay"], beta1=beta1, beta2=beta2, eps=about["eps"])


def schedule_of(about: dict[str, Any]) -> sections.OneCycle:
    assert about["name"] == "OneCycle"
    assert about["anneal"] == "cos"
    assert not about["three_phase"]
    return sections.OneCycle(
        warmup_fraction=about["pct_start"],
        start_divisor=about["div_factor"],
        final_divisor=about["final_div_factor"],
        cycle_momentum=about["cycle_momentum"],
        base_momentum=about["base_momentum"],
        max_momentum=about["max_momentum"],
    )
