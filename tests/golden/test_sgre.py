"""SGRE against the published code's numbers: every case below $HLCLI_GOLDEN, built from its own description."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hlcli.metrics import multilabel
from hlcli.visualization.attention import (
    blend,
    is_even,
    jet,
    normalise_map,
    overlay,
    resize_bilinear,
    to_bytes,
    to_pixels,
)

from .cases import IS_DEFAULT_ROOT, Case, assert_near, find_cases, with_undefined
from .sgre_network import check_forward, check_training, criterion_of, expect


def check_loss(case: Case, _: pytest.MonkeyPatch) -> None:
    for name, settings in case.about["variants"].items():
        logits = case["in.logits"].clone().requires_grad_()
        loss_scale = 1.0 if settings["loss"] == "bce" else 1000.0
        loss = loss_scale * criterion_of(settings)(logits, case["in.target"]).mean()
        expect(case, f"loss.{name}", loss)
        loss.backward()
        assert logits.grad is not None
        expect(case, f"grad.logits.{name}", logits.grad)


def check_metrics(case: Case, _: pytest.MonkeyPatch) -> None:
    scores, targets = case["in.scores"].numpy(), case["in.target"].numpy() > 0
    above = multilabel.above_threshold(scores, case.about["threshold"], inclusive=True)
    top = multilabel.top_k_predictions(scores, case.about["topk"]) & above
    ignored = {"noignore": None, "ignore": case["in.ignore"].numpy() > 0 if case.has("in.ignore") else None}
    for suffix, ignore in ignored.items():
        for style, interpolation in (("12", "interpolated"), ("07style", "plain")):
            # The mean of no precisions is not 0 but undefined.
            empty: multilabel.EmptyLabels = "zero" if interpolation == "interpolated" else "nan"
            precision = multilabel.average_precision(
                scores, targets, ignore=ignore, interpolation=interpolation, empty=empty
            )
            case.expect(f"out.ap{style}.{suffix}", precision)
            case.expect(f"out.mAP{style}.{suffix}", multilabel.mean_average_precision(precision, empty))
        counted = np.ones_like(targets) if ignore is None else ~ignore
        for kind, predictions in (("threshold", above & counted), ("topk", top & counted)):
            values = multilabel.precision_recall(predictions, targets & counted, undefined=1.0)
            published = {
                name: f"out.{kind}.{'or_' if name == 'OR' else name.lower()}.{suffix}" for name in values._fields
            }
            stored = torch.stack([case.tensors.get(key, torch.zeros(())).double() for key in published.values()])
            ours = with_undefined(values, stored, predictions, targets & counted)
            for key, value in zip(published.values(), ours, strict=True):
                case.expect(key, value, rtol=1e-6)  # stored as float32


def check_attention_map(case: Case, _: pytest.MonkeyPatch) -> None:
    image = case["in.image_bgr"].numpy()[..., ::-1]
    resized = np.rint(resize_bilinear(image, case.about["img_size"])).astype(np.uint8)
    case.expect("out.image_resized_bgr", torch.from_numpy(resized[..., ::-1].copy()), rtol=0, atol=1)
    resized = case["out.image_resized_bgr"].numpy()[..., ::-1]
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for label, attention_map in enumerate(case["in.alpha"].numpy()):
        weights = normalise_map(attention_map)
        large = resize_bilinear(weights, case.about["img_size"])
        heat = jet(case["out.weight_uint8"][label].numpy())
        found["out.applied"].append(np.array(not is_even(attention_map)))
        found["out.weight_normalised"].append(weights)
        found["out.weight_resized"].append(large)
        found["out.weight_uint8"].append(to_bytes(large))
        found["out.heatmap_bgr"].append(heat[..., ::-1])
        found["out.blend_float"].append(blend(resized, heat)[..., ::-1])
        found["out.blend_saved_uint8"].append(to_pixels(blend(resized, heat))[..., ::-1])
        # A grey level of our own map is up to four colour levels, of which half are seen.
        painted = torch.from_numpy(overlay(resized, attention_map)[..., ::-1].copy())
        assert_near("overlay", painted.int(), case["out.blend_saved_uint8"][label].int(), 0, 2)
    allowed = {"weight_normalised": 1e-6, "weight_resized": 1e-5, "weight_uint8": 1, "blend_saved_uint8": 1}
    for name, values in found.items():
        case.expect(name, torch.from_numpy(np.stack(values)), rtol=0, atol=allowed.get(name.removeprefix("out."), 0))


CHECKS: dict[str, Callable[[Case, pytest.MonkeyPatch], None]] = {
    "forward": check_forward,
    "forward_and_losses": check_forward,
    "train_dynamics": check_training,
    "loss_asl": check_loss,
    "metrics": check_metrics,
    "attention_map": check_attention_map,
}

CASES = find_cases("sgre")


def test_cases_of_every_kind_are_found() -> None:
    kinds = {json.loads(path.read_text())["kind"] for path in CASES}
    assert not IS_DEFAULT_ROOT or kinds == set(CHECKS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_matches_published_numbers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(path)
    assert case.about["kind"] in CHECKS, f"{path}: no check for kind {case.about['kind']!r}"
    CHECKS[case.about["kind"]](case, monkeypatch)
    assert case.num_compared > 0
    assert not case.open, f"not compared: {sorted(case.open)[:10]}"
