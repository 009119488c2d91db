"""The SGRE network of a golden case, and the checks of its forward pass, losses, gradients and training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.ema import Ema
from hlcli.layers import attention
from hlcli.layers.bilinear_scores import plain_bilinear_scores
from hlcli.layers.position import sine_position
from hlcli.losses.config import Asymmetric, Bce
from hlcli.losses.masking import label_losses
from hlcli.methods.sgre.config import Sgre
from hlcli.methods.sgre.convert import from_reference
from hlcli.models.folder import load_weights
from hlcli.optim import apply_schedule, build_optimizer, schedule_point

from .cases import Case, assert_near
from .training import momentum_of, optim_of, schedule_of

EMBEDDINGS = "head.label_embeddings"
COUNTER = ".num_batches_tracked"
# Their gradient, like that of the encoder's key biases, is zero but for rounding, which Adam turns into steps.
NOISE = ("attention.hidden_linear.bias", "attention.target_linear.bias")


class Tokens(nn.Module):
    """Stands where the backbone does: its images are what a backbone gives, with or without a class token."""

    def __init__(self, name: str, dim: int, grid: tuple[int, int], *, class_tokens: int, dropped: int) -> None:
        super().__init__()
        self.name, self.num_features, self.grid = name, dim, grid
        self.class_tokens, self.dropped = class_tokens, dropped

    def forward(self, images: Tensor) -> Tensor:
        return images[:, self.dropped :]


def backbone_of(case: Case) -> Tokens:
    """The stand-in for a case: grid by image size and architecture, class token kept or dropped."""
    config, (given, dim) = case.about["config"], case["in.tokens"].shape[-2:]
    side = config["img_size"] // (16 if any(kind in config["arch"].lower() for kind in ("vit", "cvt")) else 32)
    extra = given - side**2
    kept = case.about.get("N_after_cls_removal", given - extra if config["rm_cls"] else given)
    grid = (side, side) if kept - side**2 in (0, 1) else (1, kept)
    class_tokens = kept - grid[0] * grid[1]
    return Tokens(config["arch"], dim, grid, class_tokens=class_tokens, dropped=given - kept)


def build(case: Case) -> tuple[Sgre, Any, Any]:
    """Section, model with the case's weights, and criterion."""
    config, state = case.about["config"], case.group("state")
    is_random = "embeddings" in state
    embeddings = state["embeddings"] if is_random else case["in.embeddings"]
    section = Sgre(
        label_embeddings="random" if is_random else "given.npy",
        label_embedding_dim=embeddings.shape[1],
        attention_dim=case.about.get("att_dim", 1024),
        encoder_layers=config["num_layers"],
        num_heads=config["num_heads"],
        feedforward_dim=case.about.get("dim_feedforward", 2048),
        dropout=0.0,
        classifier_dropout=0.0,
        positions=config["pos"],
        pre_norm=config["normalize_before"],
        temperature=config["tau"],
        branch_weight=config["lamda"],
    )
    labels = LabelSpace.flat([f"{i}" for i in range(len(embeddings))])
    model: Any = section.build(backbone_of(case), labels).double()  # type: ignore[arg-type]
    with torch.no_grad():
        model.head.label_embeddings.copy_(embeddings)
    load_weights(model, section.from_upstream(state, model), "the case")
    return section, model, criterion_of(config)


def criterion_of(config: dict[str, Any]) -> Any:
    if config["loss"] == "bce":
        return Bce().build()
    return Asymmetric(gamma_pos=config["gamma_pos"], gamma_neg=config["gamma_neg"], clip=config["clip"]).build()


def as_batch(images: Tensor, targets: Tensor) -> LabelBatch:
    return LabelBatch(images, targets, None, torch.arange(len(images)), None)


def expect(case: Case, name: str, actual: Tensor) -> None:
    """Compare by the rule of the cases: relative to the largest entry, at least 1."""
    if name in case.tensors:
        case.expect(name, actual, rtol=0, atol=scale(case[name]))


def scale(expected: Tensor) -> float:
    return 1e-9 * max(1.0, float(expected.abs().max()))


def check_forward(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_folded in (False, True):
        monkeypatch.setattr(attention, "folding_pays", lambda *_, answer=is_folded: answer)
        section, model, criterion = build(case)
        is_eval = case.about["mode"].startswith("eval")
        model.train(not is_eval)
        seen = watch(model.head)
        output = model(case["in.tokens"])
        assert (output.label_logits is None) == is_eval
        check_intermediates(case, model, seen, output)
        if not is_eval and "in.target" in case.tensors:
            check_loss_and_gradients(case, section, model, criterion)


def watch(head: Any) -> dict[str, Tensor]:
    """Record what passes between the parts of the head."""
    seen: dict[str, Tensor] = {}

    def note(module: nn.Module, name: str) -> None:
        def keep(_: nn.Module, __: Any, result: Any) -> None:
            seen[name] = (result[0] if isinstance(result, tuple) else result).detach().clone()

        module.register_forward_hook(keep)

    note(head.encoder, "enc")
    for index, layer in enumerate(head.encoder.layers):
        note(layer, f"enc_layer{index}")
        note(layer.self_attention, f"enc_layer{index}_mha")
    note(head.attention, "f")
    note(head.attention.token_projection, "u_lin1")
    note(head.attention.label_projection, "v_lin2")
    note(head.token_query, "q")
    note(head.label_key, "k")
    note(head.label_value, "f_net3")
    note(head.context_projection.norm, "x_ctx")
    note(head.classifier.output, "logits_per_position")
    return seen


def check_intermediates(case: Case, model: Any, seen: dict[str, Tensor], output: Any) -> None:
    head, batch = model.head, len(case["in.tokens"])
    seen["x_ctx"] = seen["x_ctx"].relu().unflatten(0, (batch, -1))
    seen["v_lin2"] = seen["v_lin2"].expand(batch, -1, -1) if seen["v_lin2"].ndim == 2 else seen["v_lin2"]
    linears = head.attention.hidden_linear, head.attention.target_linear
    weight = (linears[1].weight @ linears[0].weight)[0]
    constant = linears[1](linears[0].bias)
    seen["att_score"] = plain_bilinear_scores(seen["u_lin1"], seen["v_lin2"][0], weight) + constant
    seen["corr"] = (seen["q"] @ seen["k"].mT).softmax(dim=-1)
    seen["logits1"] = head.label_classifier(seen["f"])
    for name, value in seen.items():
        expect(case, f"out.{name}", value)
    expect(case, "out.alpha", output.attention_maps)
    expect(case, "out.logits", output.logits)
    if output.label_logits is not None:
        expect(case, "out.logits1", output.label_logits)
    case.expect("out.argmax_position", seen["logits_per_position"].argmax(dim=1), rtol=0, atol=0)
    check_positions(case, model)


def check_positions(case: Case, model: Any) -> None:
    head, backbone = model.head, model.backbone
    if head.position is not None:
        anew = sine_position(*backbone.grid, backbone.num_features, class_tokens=backbone.class_tokens)
        assert_near("positions made anew", anew.double(), head.position, 0, 1e-6)
    if "out.pos" in case.tensors:
        table = case["state.position_embedding.pe"] if case.has("state.position_embedding.pe") else case["out.pos"]
        side = round((case["out.pos"].shape[1]) ** 0.5)
        anew = sine_position(side, side, table.shape[1] if table.ndim == 4 else table.shape[2])
        case.expect("out.pos", anew[None].double(), rtol=0, atol=1e-6)
        if head.position is not None:
            expect(case, "out.pos", head.position[None, backbone.class_tokens :])


def check_loss_and_gradients(case: Case, section: Sgre, model: Any, criterion: Any) -> None:
    model.load_state_dict({**model.state_dict(), **section.from_upstream(case.group("state"), model)})
    targets = case["in.target"]
    terms = section.training_losses(model, as_batch(case["in.tokens"], targets), criterion, epoch=0)
    after = {name: value.clone() for name, value in model.state_dict().items()}
    expect(case, "loss.main_logits2", terms["classification"])
    total = torch.stack(list(terms.values())).sum()
    expect(case, "loss.total", total)
    with torch.no_grad():
        label_logits = model(case["in.tokens"]).label_logits
    branch = section.scale_of(criterion) * label_losses(criterion, label_logits, targets).mean()
    expect(case, "loss.aux_logits1", branch)
    total.backward()
    check_gradients(case, model)
    for name, buffer in buffers_of(case.group("state_after"), model).items():
        assert_near(f"{name} afterwards", after[name], buffer, 0, scale(buffer.double()))


def buffers_of(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """A part of a published state under our names."""
    return {name: value for name, value in from_reference(state, model).items() if name != EMBEDDINGS}


def check_gradients(case: Case, model: Any) -> None:
    gradients = case.group("grad")
    if not gradients:
        return
    expected = from_reference(gradients, model)
    parameters = dict(model.named_parameters())
    if EMBEDDINGS not in parameters:
        del expected[EMBEDDINGS]
    assert set(expected) == set(parameters)
    for name, gradient in expected.items():
        assert parameters[name].grad is not None, name
        assert_near(f"gradient of {name}", parameters[name].grad, gradient, 0, scale(gradient))


def check_training(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    config = case.about["config"]
    total_steps = config["steps_per_epoch"] * config["max_epochs"]
    schedule = schedule_of(config)
    for is_folded in (False, True):
        monkeypatch.setattr(attention, "folding_pays", lambda *_, answer=is_folded: answer)
        section, model, criterion = build(case)
        model.train()
        optimizer = build_optimizer(optim_of(config), model)
        ema = Ema(model, config["ema_decay"], section.copied_by_average())
        for step in range(len(case["in.tokens"])):
            apply_schedule(optimizer, schedule_point(schedule, step, total_steps))
            case.expect(f"step{step}.lr", optimizer.param_groups[0]["lr"])
            case.expect(f"step{step}.beta1", momentum_of(optimizer))
            batch = as_batch(case["in.tokens"][step], case["in.target"][step])
            loss = torch.stack(list(section.training_losses(model, batch, criterion, epoch=0).values())).sum()
            case.expect(f"step{step}.loss", loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update(model)
        check_end(case, "final", model)
        check_end(case, "ema", ema.model)


def check_end(case: Case, name: str, model: Any) -> None:
    """Weights after training. Batch norms of the published average count 0 (truncated), ours as the trained ones."""
    own, start = model.state_dict(), from_reference(case.group("state"), model)
    expected = {**from_reference(case.group(name), model)}
    if isinstance(own.get(EMBEDDINGS), Tensor) and EMBEDDINGS not in dict(model.named_parameters()):
        expected.pop(EMBEDDINGS)
        own.pop(EMBEDDINGS)
    assert set(expected) == set(own)
    for key, value in own.items():
        if key.endswith(COUNTER):
            assert value == start[key] + len(case["in.tokens"]), key
            continue
        largest = float(expected[key].abs().max())
        parts = 3 if key.endswith("in_proj_bias") else 1  # of queries, keys and values
        for part, (ours, theirs) in enumerate(zip(value.chunk(parts), expected[key].chunk(parts), strict=True)):
            is_noise = key.endswith(NOISE) or (parts, part) == (3, 1)
            assert_near(f"{name} {key}", ours, theirs, 0, 1e-6 * (max(1e-3, largest) if is_noise else largest))
