"""HLEG against the published code's numbers: every case below $HLCLI_GOLDEN, built from its own description."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from torch import nn

from hlcli import sections
from hlcli.backbones import build_backbone
from hlcli.data.augment import apply_operation, draw_cutout, operation_value
from hlcli.data.datasets.intentonomy_labels import SUBSETS
from hlcli.data.labels import LabelSpace
from hlcli.layers.hierarchy import LabelHierarchy
from hlcli.losses.localisation import grad_cam, localisation_loss, normalise_maps
from hlcli.methods.hleg.config import Hleg
from hlcli.metrics import multilabel
from hlcli.models.folder import load_weights
from hlcli.optim import schedule_point

from .cases import IS_DEFAULT_ROOT, ROOT, Case, find_cases, methods_found
from .hleg_network import LEVELS, check_forward, check_training, criterion_of, space_of


def check_schedule(case: Case, _: pytest.MonkeyPatch) -> None:
    config = case.about["config"]
    total_steps = config["spe"] * config["epochs"]
    section = sections.OneCycle(
        warmup_fraction=config.get("pct_start", 0.2),
        start_divisor=config.get("div_factor", 25),
        final_divisor=config.get("final_div_factor", 1e4),
        base_momentum=config.get("base_momentum", 0.85),
        max_momentum=config.get("max_momentum", 0.95),
    )
    points = [schedule_point(section, step, total_steps) for step in range(total_steps)]
    case.expect("out.lr", torch.tensor([config["lr"] * point.lr_factor for point in points], dtype=torch.float64))
    case.expect("out.beta1", torch.tensor([point.momentum for point in points], dtype=torch.float64))


def check_hierarchy(case: Case, _: pytest.MonkeyPatch) -> None:
    fine = (case["in.softprob"] > case.about.get("threshold", 0)).double()
    coarse, middle, _ = LabelHierarchy(space_of(case.about)).lift(fine)
    for name, targets in zip(LEVELS, (fine, middle, coarse), strict=True):
        case.expect(f"out.{name}", targets, rtol=0, atol=0)


def check_asymmetric(case: Case, _: pytest.MonkeyPatch) -> None:
    for name, settings in case.about["settings"].items():
        logits = case["in.logits"].clone().requires_grad_()
        loss = criterion_of(settings)(logits, case["in.labels"]).sum(dim=1)
        case.expect(f"out.{name}.loss_per_sample", loss)
        loss.sum().backward()
        case.expect(f"grad.{name}.logits", logits.grad)


def check_localisation(case: Case, _: pytest.MonkeyPatch) -> None:
    groups = [list(case.about.get(f"{name}_classes", SUBSETS[name])) for name in ("object", "context")]
    regulated = groups[0] + groups[1]
    maps = normalise_maps(grad_cam(case["in.fmap"], case["in.fmap_grad"][:, regulated]))
    all_maps = torch.zeros_like(case["out.cam_normalised"])
    all_maps[:, regulated] = maps
    case.expect("out.cam_normalised", all_maps)
    loss = localisation_loss(
        maps,
        case["in.object_mask"],
        case["in.targets_soft"],
        *groups,
        weight=case.about["cam_alpha"],
        target_threshold=1 / 3 if case.about["binary_target_mask"] else None,
        map_threshold=0.5 if case.about.get("binary_cam", False) else None,
        without_positives=float("nan"),
    )
    case.expect("loss.localisation", loss, rtol=1e-6)


def check_metrics(case: Case, _: pytest.MonkeyPatch) -> None:
    assert list(multilabel.THRESHOLDS) == case.about["thresholds"]
    exact = {"rtol": 0, "atol": 1e-12}
    thresholds = {}
    for split in ("val", "test"):
        scores, targets = case[f"in.{split}_scores"].numpy(), case[f"in.{split}_targets"].numpy()
        precision = 100 * multilabel.average_precision(scores, targets)
        case.expect(f"out.{split}.ap_percent", precision)
        case.expect(f"out.{split}.mAP_percent", multilabel.mean_average_precision(precision, "nan"))
        thresholds[split] = multilabel.tune_threshold(scores, targets)
        case.expect(f"out.{split}.threshold", thresholds[split], **exact)
        f1 = multilabel.f1_scores(scores > thresholds[split], targets)
        case.expect(f"out.{split}.f1_per_class", f1.per_label, **exact)
        for name in ("micro", "macro", "samples"):
            case.expect(f"out.{split}.{name}", getattr(f1, name), **exact)
        curve = multilabel.f1_curve(scores, targets)
        stacked = np.stack((curve.micro, curve.samples, curve.macro), axis=1)
        case.expect(f"out.{split}.f1_curve_micro_samples_macro", stacked, **exact)
        if split == "val" and case.has("out.subset."):
            for name, value in multilabel.subset_means(f1.per_label, SUBSETS).items():
                case.expect(f"out.subset.{name}", value, **exact)
    f1 = multilabel.f1_scores(scores > thresholds["val"], targets)
    for name in ("micro", "macro", "samples"):
        case.expect(f"out.protocol_valthr.test_{name}", getattr(f1, name), **exact)


def check_augmentation(case: Case, _: pytest.MonkeyPatch) -> None:
    for name, value in case.about["magnitude_value"].items():
        operation, level = name.split(".")
        assert operation_value(operation, int(level)) == pytest.approx(value, rel=1e-12, abs=0), name
    image = Image.fromarray(case["in.image"].numpy())
    words = " ".join(case.about.get("tensors", {}).values())  # these alone say what was forced
    coordinate = re.search(r"forced to coordinate (\d+)", words)
    forced_centre = (int(coordinate[1]),) * 2 if coordinate else (11, 11)
    colours = re.search(r"colour \((\d+), ?(\d+), ?(\d+)\)", words)
    red, green, blue = (int(value) for value in colours.groups()) if colours else (10, 200, 30)
    for name in sorted(case.open):
        if match := re.fullmatch(r"out\.(\w+)\.(\d+)\.(neg|pos)", name):
            sign = -1 if match[3] == "neg" else 1
            result = apply_operation(image, match[1], int(match[2]), sign, forced_centre)
        elif match := re.fullmatch(r"out\.cutout_len(\d+)_centre(\d+)", name):
            centre = (int(match[2]), int(match[2]))
            result = draw_cutout(image, int(match[1]), centre, (red, green, blue), (image.height, image.width))
        else:
            continue
        expect_pixels(case, name, np.asarray(result))


def expect_pixels(case: Case, name: str, actual: np.ndarray) -> None:
    """Equal, or under another Pillow at most 1 % of the pixels off by one."""
    expected = case[name].numpy()
    case.open.discard(name)
    assert actual.shape == expected.shape, name
    case.num_compared += 1
    difference = np.abs(actual.astype(int) - expected)
    if PIL.__version__ == case.about["pillow"]:
        assert not difference.any(), name
    assert difference.max() <= 1, name
    assert (difference.max(axis=-1) > 0).mean() <= 0.01, name


CHECKS: dict[str, Callable[[Case, pytest.MonkeyPatch], None]] = {
    "forward_and_losses": check_forward,
    "train_dynamics": check_training,
    "schedule": check_schedule,
    "label_hierarchy": check_hierarchy,
    "loss_asl": check_asymmetric,
    "loss_localisation": check_localisation,
    "metrics": check_metrics,
    "augment_ops": check_augmentation,
}


CASES = find_cases("hleg")
KEY_LISTS = [p for p in sorted(ROOT.rglob("*.json")) if "transformer.pro_m_t.weight" in json.loads(p.read_text())]


def test_cases_are_found() -> None:
    kinds = {json.loads(path.read_text())["kind"] for path in CASES}
    assert CASES or KEY_LISTS or methods_found(), f"{ROOT} holds no golden case"
    assert not IS_DEFAULT_ROOT or (kinds == set(CHECKS) and KEY_LISTS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_matches_published_numbers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(path)
    assert case.about["kind"] in CHECKS, f"{path}: no check for kind {case.about['kind']!r}"
    CHECKS[case.about["kind"]](case, monkeypatch)
    assert case.num_compared > 0
    assert not case.open, f"not compared: {sorted(case.open)[:10]}"


@pytest.mark.parametrize("path", KEY_LISTS, ids=lambda path: path.stem)
def test_published_checkpoint_fits_by_name_and_shape(path: Path) -> None:
    listed = json.loads(path.read_text())
    with torch.device("meta"):
        section, model = build_from_names(listed)
        published = {name: torch.empty(entry["shape"]) for name, entry in listed.items()}
    load_weights(model, section.from_upstream(published, model), path.name)
    exported = section.to_upstream(model.state_dict(), model)
    assert {name: list(value.shape) for name, value in exported.items()} == {k: v["shape"] for k, v in listed.items()}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    renamed = {name.replace("backbone.0.body.", "backbone.model."): entry["kind"] for name, entry in listed.items()}
    assert {name for name, kind in renamed.items() if kind == "frozen"} <= frozen
    assert not frozen & {name for name, kind in renamed.items() if kind == "trainable"}


def build_from_names(listed: dict[str, Any]) -> tuple[Hleg, nn.Module]:
    """Section and network of the full-size model that a list of names and shapes describes."""
    shape = {name: entry["shape"] for name, entry in listed.items()}
    blocks = [1 + max(int(m[1]) for k in shape if (m := re.search(rf"layer{i}\.(\d+)\.", k))) for i in range(1, 5)]
    has_bottlenecks = any(".conv3." in name for name in shape if name.startswith("backbone.0.body.layer"))
    depth = 2 + (3 if has_bottlenecks else 2) * sum(blocks)
    fine, hidden = shape["query_embed.weight"]
    sizes = [shape[f"{name}.b"][1] for name in ("fc_coarse", "fc_middle")] + [fine]
    parents = [[child % above for child in range(below)] for above, below in pairwise(sizes)]
    labels = LabelSpace.from_parents([[f"{i}" for i in range(size)] for size in sizes], parents)
    grid = shape["backbone.1.pe"][2:]
    section = Hleg(
        hidden_dim=hidden,
        feedforward_dim=shape["transformer.decoder.layers.0.linear1.weight"][0],
        encoder_layers=len({m[1] for k in shape if (m := re.match(r"transformer\.encoder\.layers\.(\d+)", k))}),
        pre_norm="transformer.encoder.norm.weight" in shape,
        input_projection="input_proj.weight" in shape,
        keep_first_self_attention="transformer.decoder.layers.0.norm1.weight" in shape,
        keep_other_self_attention="transformer.decoder.layers.1.norm1.weight" in shape,
    )
    image_size = (32 * grid[0], 32 * grid[1])
    frozen = ("conv1", "layer1")
    backbone = build_backbone(f"resnet{depth}", image_size, freeze_batch_norm=True, frozen=frozen)
    return section, section.build(backbone, labels)
