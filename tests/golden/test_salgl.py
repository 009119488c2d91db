"""SALGL against the published code's numbers: every case below $HLCLI_GOLDEN, built from its own description."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.ema import Ema
from hlcli.layers.bilinear_scores import bilinear_scores
from hlcli.layers.position import sine_position
from hlcli.losses.config import Asymmetric, Bce
from hlcli.methods.salgl.config import Salgl
from hlcli.methods.salgl.convert import from_reference
from hlcli.methods.salgl.cooccurrence import Cooccurrence
from hlcli.metrics import multilabel
from hlcli.metrics.scenes import distribution_entropy, heat_map, scene_label_shares
from hlcli.models.folder import load_weights
from hlcli.optim import apply_schedule, build_optimizer, schedule_point

from .cases import IS_DEFAULT_ROOT, Case, assert_near, find_cases, with_undefined
from .training import momentum_of, optim_of, schedule_of

TIGHT = {"rtol": 1e-9, "atol": 1e-12}
AFTER_STEPS = {"rtol": 1e-9, "atol": 1e-11}
# Their gradient, like that of the encoder's key biases, is zero but for rounding, which Adam turns into steps.
NOISE = ("attention.hidden_linear.bias", "attention.target_linear.bias")


class Tokens(nn.Module):
    """Stands where the backbone does: its images are tokens [B, N, D]."""

    def __init__(self, num_features: int, grid: tuple[int, int], class_tokens: int) -> None:
        super().__init__()
        self.num_features, self.grid, self.class_tokens = num_features, grid, class_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


def build(case: Case) -> tuple[Salgl, nn.Module, Any]:
    """Section, model with the case's weights, and criterion."""
    dims, cfg = case.about["dims"], case.about["cfg"]
    section = Salgl(
        num_scenes=dims["num_scenes"],
        scene_assignment="soft" if cfg["soft"] else "hard",
        graph_steps=cfg["num_steps"],
        two_way_messages=cfg["outmess"],
        ignore_self=cfg["ignore_self"],
        normalize_graph=cfg["normalize"],
        sample_entropy_weight=cfg.get("lamda", 1.0),
        batch_entropy_weight=cfg.get("lamda", 1.0),
        detach_cooccurrence=cfg.get("distributed", False),
        average_cooccurrence=cfg.get("comat_ema", True),
        label_embeddings="random" if cfg["embed_type"] == "random" else "prepared",
        label_embedding_dim=case["state.embeddings"].shape[1],
        attention_dim=dims["att_dim"],
        num_heads=dims["nhead"],
        feedforward_dim=dims["ffn_dim"],
        dropout=0.0,
        positions=cfg["pos"],
    )
    labels = LabelSpace.from_parents([[f"{i}" for i in range(dims["num_classes"])]], [])
    model = section.build(Tokens(dims["d"], *layout(dims["N_tokens"], cfg)), labels).double()  # type: ignore[arg-type]
    load_weights(model, section.from_upstream(case.group("state"), model), "the case")
    return section, model, criterion_of(cfg)


def layout(num_tokens: int, cfg: dict[str, Any]) -> tuple[tuple[int, int], int]:
    """Grid and class tokens."""
    side = cfg["img_size"] // (16 if "vit" in cfg["backbone"] else 32)
    extra = num_tokens - side * side
    return ((side, side), extra) if extra in (0, 1) else ((1, num_tokens), 0)


def criterion_of(cfg: dict[str, Any]) -> Any:
    if cfg.get("loss") == "bce":
        return Bce().build()
    powers = {name: cfg[name] for name in ("gamma_pos", "gamma_neg", "clip") if name in cfg}
    return Asymmetric(**powers).build()


def as_batch(tokens: Tensor, targets: Tensor) -> LabelBatch:
    return LabelBatch(tokens, targets, None, torch.arange(len(tokens)), None)


def check_forward(case: Case) -> None:
    _, model, _ = build(case)
    model.train(not case.about["mode"].startswith("eval"))
    seen = watch(model.head)
    targets = case["in.y"] if "in.y" in case.tensors else None
    output = model(case["in.tokens"], targets)
    for name, value in zip(
        ("logits", "scene_probs", "att_weights", "comat", "sample_en", "batch_en"), output, strict=True
    ):
        case.expect(f"out.{name}", value, **TIGHT)
    check_intermediates(case, model, seen)


def watch(head: nn.Module) -> dict[str, Tensor]:
    """Record what passes between the parts of the head."""
    seen: dict[str, Tensor] = {}
    for part in ("encoder", "scene_classifier", "attention", "graph", "fusion"):
        getattr(head, part).register_forward_hook(
            lambda _, __, result, part=part: seen.__setitem__(part, result[0] if part == "attention" else result)
        )
    return seen


def watch_entropies(model: nn.Module) -> dict[str, Tensor]:
    """Record the entropies before they are weighted."""
    seen: dict[str, Tensor] = {}
    model.register_forward_hook(
        lambda _, __, output: seen.update(sample_en=output.sample_entropy, batch_en=output.batch_entropy)
    )
    return seen


def check_intermediates(case: Case, model: nn.Module, seen: dict[str, Tensor]) -> None:
    head = model.head
    tokens, attention = seen["encoder"], head.attention
    case.expect("out.encoder_tokens", tokens, **TIGHT)
    case.expect("out.image_context", tokens.mean(dim=1), **TIGHT)
    case.expect("out.scene_scores", seen["scene_classifier"], **TIGHT)
    case.expect("out.label_visual", seen["attention"], **TIGHT)
    case.expect("out.ggnn_out", seen["graph"], **TIGHT)
    case.expect("out.fc_out", seen["fusion"].tanh(), **TIGHT)
    case.expect("out.comatrix_after", head.cooccurrence.counts, **TIGHT)
    case.expect("out.comat_prob_per_scene", head.cooccurrence.probabilities(), **TIGHT)
    if head.position is not None:
        case.expect("out.pos", head.position[None], **TIGHT)
        anew = sine_position(*head.grid, tokens.shape[-1], class_tokens=head.class_tokens).double()
        assert_near("positions made anew", anew, head.position, 0, 1e-6)
    target = attention.target_linear.weight[0]
    scores = bilinear_scores(
        attention.token_projection(tokens),
        attention.label_projection(head.label_embeddings),
        attention.hidden_linear.weight.T @ target,
    )
    constant = attention.hidden_linear.bias @ target + attention.target_linear.bias
    case.expect("out.att_scores", scores + constant, **TIGHT)


def check_losses(case: Case) -> None:
    check_forward(case)
    for group in ("grad", "grad_dist"):
        section, model, criterion = build(case)
        entropies = watch_entropies(model)
        model.train(not case.about["mode"].startswith("eval"))
        model.head.cooccurrence.is_detached |= group == "grad_dist"
        terms = section.training_losses(model, as_batch(case["in.tokens"], case["in.y"]), criterion, epoch=0)
        total = sum(terms.values())
        case.expect("loss.cls", terms["classification"], **TIGHT)
        for name, entropy in entropies.items():
            case.expect(f"loss.{name}", entropy, **TIGHT)
        case.expect("loss.total", total, **TIGHT)
        total.backward()
        check_gradients(case, model, case.group(group), has_all=group == "grad")


def check_gradients(case: Case, model: nn.Module, stored: dict[str, Tensor], *, has_all: bool) -> None:
    expected = from_reference(stored, model)
    parameters = dict(model.named_parameters())
    idle = set(from_reference(dict.fromkeys(case.about.get("params_without_grad", ()), torch.zeros(1)), model))
    if has_all:
        assert set(expected) == set(parameters) - idle
    assert all(parameters[name].grad is None for name in idle)
    for name, gradient in expected.items():
        assert_near(f"gradient of {name}", parameters[name].grad, gradient, **TIGHT)


def check_training(case: Case) -> None:
    cfg, steps_per_epoch = case.about["cfg"], case.about["steps_per_epoch"]
    section, model, criterion = build(case)
    entropies = watch_entropies(model)
    model.train()
    optimizer = build_optimizer(optim_of(cfg), model)
    schedule = schedule_of(cfg)
    ema = Ema(model, cfg["ema_decay"], section.copied_by_average())
    for step, (tokens, targets) in enumerate(zip(case["in.tokens"], case["in.y"], strict=True)):
        apply_schedule(optimizer, schedule_point(schedule, step, steps_per_epoch * cfg["max_epochs"]))
        case.expect(f"step{step}.lr", optimizer.param_groups[0]["lr"])
        case.expect(f"step{step}.beta1", momentum_of(optimizer))
        terms = section.training_losses(model, as_batch(tokens, targets), criterion, epoch=0)
        case.expect(f"step{step}.cls", terms["classification"], **AFTER_STEPS)
        for name, entropy in entropies.items():
            case.expect(f"step{step}.{name}", entropy, **AFTER_STEPS)
        loss = sum(terms.values())
        case.expect(f"step{step}.loss", loss, **AFTER_STEPS)
        optimizer.zero_grad()
        loss.backward()
        norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        case.expect(f"step{step}.grad_norm", torch.stack(norms).norm(), **AFTER_STEPS)
        optimizer.step()
        ema.update(model)
    for name, trained in (("final", model), ("final_ema", ema.model)):
        expected = from_reference(case.group(name), trained)
        assert set(expected) == set(trained.state_dict())
        for key, value in trained.state_dict().items():
            parts = 3 if key.endswith("in_proj_bias") else 1  # of queries, keys and values
            for part, (ours, theirs) in enumerate(zip(value.chunk(parts), expected[key].chunk(parts), strict=True)):
                is_noise = key.endswith(NOISE) or (parts, part) == (3, 1)
                tolerance = {"rtol": 1e-9, "atol": 1e-8} if is_noise else AFTER_STEPS
                assert_near(f"{name} {key}", ours, theirs, **tolerance)


def check_cooccurrence(case: Case) -> None:
    counts = case["in.comatrix"]
    for name in [name for name in case.tensors if name.startswith("out.ignore_self")]:
        options = re.fullmatch(r"out\.ignore_self(\d)_normalize(\d)", name)
        assert options is not None, name
        graph = Cooccurrence(*counts.shape[:2], ignore_self=options[1] == "1", normalize=options[2] == "1").double()
        case.expect(name, graph.probabilities(counts))
    case.expect("out.heatmap_prob", heat_map(counts))
    case.expect("out.labelcloud_freq", scene_label_shares(counts), rtol=0, atol=0)


def check_metrics(case: Case) -> None:
    scores, targets = case["in.scores"].numpy(), case["in.targets"].numpy() > 0
    ignore = case["in.ignore"].numpy() > 0 if case.about["ignore"] else None
    for name, interpolation, empty in (("voc2012", "interpolated", "zero"), ("voc2007", "plain", "nan")):
        precision = multilabel.average_precision(
            scores,
            targets,
            ignore=ignore,
            interpolation=interpolation,  # type: ignore[arg-type]
            empty=empty,  # type: ignore[arg-type]
        )
        case.expect(f"out.{name}_ap", precision)
        case.expect(f"out.{name}_map", multilabel.mean_average_precision(precision, empty))  # type: ignore[arg-type]
    predicted = multilabel.above_threshold(scores, case.about["threshold"], inclusive=True)
    best = predicted & multilabel.top_k_predictions(scores, case.about["topk"])
    known = True if ignore is None else ~ignore
    for name, predictions in (("threshold", predicted), (f"top{case.about['topk']}", best)):
        counted = predictions & known, targets & known
        values = multilabel.precision_recall(*counted, undefined=1.0)
        if f"out.{name}" in case.tensors:
            case.expect(f"out.{name}", with_undefined(values, case[f"out.{name}"], *counted))
    case.expect("out.scene_distribution_entropy", distribution_entropy(case["in.scene_counts"]))


CHECKS: dict[str, Callable[[Case], None]] = {
    "forward": check_forward,
    "forward_and_losses": check_losses,
    "cooccurrence": check_cooccurrence,
    "metrics": check_metrics,
    "train_dynamics": check_training,
}
CASES = find_cases("salgl")


def test_cases_are_found() -> None:
    assert not IS_DEFAULT_ROOT or {json.loads(path.read_text())["kind"] for path in CASES} == set(CHECKS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_matches_published_numbers(path: Path) -> None:
    case = Case(path)
    assert case.about["kind"] in CHECKS, f"{path}: no check for kind {case.about['kind']!r}"
    CHECKS[case.about["kind"]](case)
    assert case.num_compared > 0
    assert not case.open, f"not compared: {sorted(case.open)[:10]}"
