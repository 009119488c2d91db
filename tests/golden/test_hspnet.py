"""HSPNet against the published code's numbers: every case below $HLCLI_GOLDEN, built from its own description."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hlcli.data.transforms import EvalTransform, Normalize
from hlcli.losses.asymmetric import AsymmetricLoss
from hlcli.losses.hill import HillLoss
from hlcli.losses.splc import SplcLoss
from hlcli.methods.hspnet.relation import label_adjacency
from hlcli.metrics import multilabel

from .cases import IS_DEFAULT_ROOT, Case, find_cases, with_undefined
from .hspnet_network import check_forward, check_training, near

GREY_LEVEL = 0.0146


def check_graph(case: Case) -> None:
    for name, entry in case.about["entries"].items():
        relation, p = case[f"in.{name}"], entry["reweight_p"]
        keep_share = entry["k"] / entry["n"] if entry["k"] != 3 * entry["n"] // 4 else 0.75
        for key, values in ((name, relation), (f"{name}_f32", relation.float()), (f"{name}_f64", relation.double())):
            found = label_adjacency(values, reweight_p=p, keep_share=keep_share)
            if f"out.{key}" in case.tensors:
                stored = case[f"out.{key}"]
                assert found.dtype == stored.dtype
                assert torch.equal(found == 0, stored == 0), f"{key}: other neighbours"
                tolerance = 1e-12 if stored.dtype == torch.float64 else 1e-6
                case.expect(f"out.{key}", found, rtol=tolerance, atol=0)


def check_losses(case: Case) -> None:
    targets = case["in.targets"].double()
    for name, entry in case.about["entries"].items():
        logits = case["in.logits"].clone().requires_grad_()
        criterion = criterion_of(entry)
        losses = criterion(logits, targets, epoch=entry.get("epoch", 0))
        is_mean = entry.get("reduction") == "mean" or "mean" in entry["loss"].replace(";", "").split()
        total = losses.mean() if is_mean else losses.sum()
        near(case, f"out.{name}.elementwise", losses)
        near(case, f"loss.{name}", total)
        if isinstance(criterion, SplcLoss):
            corrected = criterion.corrected(logits.detach(), targets, entry["epoch"])
            case.expect(f"out.{name}.targets", corrected, rtol=0, atol=0)
            assert int((corrected != targets).sum()) == entry.get("pseudo_added", int((corrected != targets).sum()))
        total.backward()
        assert logits.grad is not None
        near(case, f"grad.{name}.logits", logits.grad)


def criterion_of(entry: dict[str, Any]) -> Callable[..., Tensor]:
    """The loss that an entry of the description names."""
    match entry["loss"].split()[0]:
        case "SPLC":
            names = ("tau", "change_epoch", "margin", "gamma")
            return SplcLoss(**{name: entry[name] for name in names})
        case "Hill":
            return HillLoss(lam=entry["lambda"], margin=entry["margin"], gamma=entry["gamma"])
        case "AsymmetricLoss" | "AsymmetricLossOptimized" as kind:
            settings = {name: entry[name] or 0.0 for name in ("gamma_pos", "gamma_neg", "clip", "eps")}
            said = {"NOT differentiated": True, "IS differentiated": False}
            detached = [value for words, value in said.items() if words in entry["loss"]]
            return AsymmetricLoss(**settings, detach_focus=detached[0] if detached else kind == "AsymmetricLoss")
        case unknown:
            raise ValueError(f"no loss for {unknown!r}")


def check_metrics(case: Case) -> None:
    scores, targets = case["in.logits"].sigmoid(), case["in.targets"].numpy() > 0
    case.expect("out.scores", scores)
    precision = multilabel.average_precision(scores.numpy(), targets, interpolation="plain", empty="zero")
    positives = targets.sum(axis=0)
    published = precision * positives / (positives + 1e-8)
    case.expect("out.ap_per_class", published)
    case.expect("out.mAP", 100 * multilabel.mean_average_precision(published, "zero"))
    predictions = multilabel.above_threshold(scores.numpy(), case.about["threshold"])
    for name, counted in {
        "tp": predictions & targets,
        "fp": predictions & ~targets,
        "fn": ~predictions & targets,
        "tn": ~predictions & ~targets,
    }.items():
        case.expect(f"out.{name}", counted.sum(axis=0), rtol=0, atol=0)
    check_ratios(case, predictions, targets)


def check_ratios(case: Case, predictions: np.ndarray, targets: np.ndarray) -> None:
    """In percent, and in single precision there; where the pooled ones divide 0 by 0, ours are 0."""
    per_label, f1 = multilabel.label_precision_recall(predictions, targets), multilabel.f1_scores(predictions, targets)
    values = multilabel.precision_recall(predictions, targets)
    pooled = torch.stack([case.tensors.get(f"out.{name}", torch.zeros(())).double() for name in ("P_O", "R_O", "F_O")])
    stored = torch.cat((torch.zeros(3, dtype=torch.float64), pooled))
    op, or_, of1 = with_undefined(values, stored, predictions, targets)[3:]
    for name, value in {
        "p_c": per_label.precision,
        "r_c": per_label.recall,
        "f_c": f1.per_label,
        "P_C": values.CP,
        "R_C": values.CR,
        "F_C": f1.macro,  # the mean of the labels' F1, where CF1 is that of the mean precision and recall
        "P_O": op,
        "R_O": or_,
        "F_O": of1,
    }.items():
        case.expect(f"out.{name}", 100 * value, rtol=1e-5, atol=1e-6)


def check_transform(case: Case) -> None:
    transform, normalize = EvalTransform(case.about["image_size"], resize="crop"), Normalize.named("clip")
    for name in [name for name in case.tensors if name.startswith("in.image")]:
        number = name.removeprefix("in.image").partition("_")[0]
        pixels = transform(Image.fromarray(case[name].numpy()))
        assert pixels.dtype == torch.uint8
        found, stored = normalize(pixels[None])[0], case[f"out.tensor{number}"]
        case.expect(f"out.tensor{number}", found, rtol=0, atol=1.01 * GREY_LEVEL)  # with another Pillow: one level
        assert ((found - stored).abs() > 1e-5).float().mean() < 0.01


CHECKS: dict[str, Callable[[Case], None]] = {
    "forward_and_losses": check_forward,
    "label_graph": check_graph,
    "loss_missing_labels": check_losses,
    "metrics": check_metrics,
    "train_dynamics": check_training,
    "transform": check_transform,
}
CASES = find_cases("hspnet")


def test_cases_of_every_kind_are_found() -> None:
    assert not IS_DEFAULT_ROOT or {json.loads(path.read_text())["kind"] for path in CASES} == set(CHECKS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_matches_published_numbers(path: Path) -> None:
    case = Case(path)
    assert case.about["kind"] in CHECKS, f"{path}: no check for kind {case.about['kind']!r}"
    CHECKS[case.about["kind"]](case)
    assert case.num_compared > 0
    assert not case.open, f"not compared: {sorted(case.open)[:10]}"
