from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hlcli.errors import CheckpointError, InputError
from hlcli.features.detectors import RegionDetector, build_detector

NAME = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def detector() -> RegionDetector:
    torch.manual_seed(0)
    made = build_detector(NAME, max_regions=6).eval()
    heads = made.model.roi_heads
    torch.nn.init.normal_(heads.box_predictor.cls_score.weight)
    for layer in (heads.box_head.fc6, heads.box_head.fc7):  # no constant part: boxes differ in their scores
        torch.nn.init.zeros_(layer.bias)
        layer.weight.data *= 1000
    return made


@pytest.fixture
def images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(3, 60, 90, generator=generator), torch.rand(3, 120, 50, generator=generator)]


@torch.inference_mode()
def test_boxes_lie_in_the_image_that_was_given_surest_first(detector: RegionDetector, images: list[torch.Tensor]):
    for image, found in zip(images, detector(images), strict=True):
        height, width = image.shape[-2:]
        assert found.features.shape == (len(found.boxes), detector.num_features) == (6, 1024)
        assert (found.boxes >= 0).all()
        assert (found.boxes <= torch.tensor([width, height, width, height]) + 1e-3).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


@torch.inference_mode()
def test_features_are_those_that_the_head_pools_from_the_boxes(detector: RegionDetector, images: list[torch.Tensor]):
    (found,) = detector(images[:1])
    model = detector.model
    batch, _ = model.transform(images[:1])
    scale = batch.image_sizes[0][1] / 90, batch.image_sizes[0][0] / 60
    boxes = found.boxes * torch.tensor([scale[0], scale[1]] * 2)
    pooled = model.roi_heads.box_roi_pool(model.backbone(batch.tensors), [boxes], batch.image_sizes)
    torch.testing.assert_close(found.features, model.roi_heads.box_head(pooled), rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_the_surest_box_of_a_class_is_torchvisions_own(detector: RegionDetector, images: list[torch.Tensor]):
    detector.model.roi_heads.score_thresh = 0.0
    (found,), (theirs,) = detector(images[:1]), detector.model(images[:1])
    torch.testing.assert_close(found.boxes[0], theirs["boxes"][0], rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(found.scores[0], theirs["scores"][0])


def test_local_weights_are_taken_with_their_number_of_classes(detector: RegionDetector, tmp_path: Path):
    state = build_detector(NAME).model.state_dict()
    for part, rows in (("cls_score", 3), ("bbox_pred", 12)):
        for name in ("weight", "bias"):
            key = f"roi_heads.box_predictor.{part}.{name}"
            state[key] = state[key][:rows].clone()
    torch.save(state, tmp_path / "weights.pt")
    made = build_detector(NAME, weights=tmp_path / "weights.pt")
    assert made.model.roi_heads.box_predictor.cls_score.out_features == 3
    torch.testing.assert_close(made.model.state_dict()[key], state[key])


def test_weights_of_another_model_are_refused(tmp_path: Path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="does not fit this detector"):
        build_detector(NAME, weights=tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["yolo", "ssd300_vgg16", "resnet18"])
def test_an_unknown_detector_is_refused_with_the_known_ones(name: str):
    with pytest.raises(InputError, match=r"Known: windows, .*fasterrcnn_resnet50_fpn_v2"):
        build_detector(name)
