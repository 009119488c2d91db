"""Regions from torchvision's detectors: the surest boxes of an image and the features pooled from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import detection, get_model, list_models
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import batched_nms, clip_boxes_to_image

from hlcli.errors import CheckpointError, DownloadError, InputError
from hlcli.upstream import read_upstream

_SMALLEST_SIDE = 1e-2
"""Boxes thinner than this many pixels hold nothing."""


class _Regions(NamedTuple):
    """The regions of one image, surest first: features [R, D], boxes [R, 4] in its pixels, scores [R] in 0…1."""

    features: Tensor
    boxes: Tensor
    scores: Tensor


class RegionDetector(nn.Module):
    """The R surest boxes of an image, and what the detector's own head makes of them.

    Each proposal counts for its most probable object class; overlapping boxes of a class are reduced to the surest.
    The features are pooled from the refined boxes.

    Args:
        model: a Faster, Mask or Keypoint R-CNN of torchvision.
        max_regions: R; fewer when there are not so many.
    """

    def __init__(self, model: GeneralizedRCNN, *, max_regions: int = 50) -> None:
        super().__init__()
        self.model = model
        self.max_regions = max_regions

    @property
    def num_features(self) -> int:
        """Feature width D."""
        predictor: Any = self.model.roi_heads.box_predictor
        return int(predictor.cls_score.in_features)

    def forward(self, images: Sequence[Tensor]) -> list[_Regions]:
        """Regions of images [3, H, W] of any sizes, floats in 0…1."""
        heads: Any = self.model.roi_heads
        batch, _ = self.model.transform(list(images))
        maps = self.model.backbone(batch.tensors)
        maps = {"0": maps} if isinstance(maps, Tensor) else maps
        proposals, _ = self.model.rpn(batch, maps)
        pooled = heads.box_head(heads.box_roi_pool(maps, proposals, batch.image_sizes))
        logits, offsets = heads.box_predictor(pooled)
        decoded = heads.box_coder.decode(offsets, proposals)  # [P of all images, classes, 4]
        counts = [len(boxes) for boxes in proposals]
        chosen = [
            self._choose(scores, boxes, size)
            for scores, boxes, size in zip(
                logits.softmax(dim=-1).split(counts), decoded.split(counts), batch.image_sizes, strict=True
            )
        ]
        boxes = [boxes for boxes, _ in chosen]
        features = heads.box_head(heads.box_roi_pool(maps, boxes, batch.image_sizes)).split([len(b) for b in boxes])
        return [
            _Regions(feature, _rescale(own, size, image), scores)
            for feature, (own, scores), size, image in zip(features, chosen, batch.image_sizes, images, strict=True)
        ]

    def _choose(self, scores: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The surest boxes [R, 4] with their scores [R], of scores [P, classes] and boxes [P, classes, 4]."""
        best, label = scores[:, 1:].max(dim=1)  # class 0 is the background
        own = boxes[torch.arange(len(boxes), device=boxes.device), label + 1]
        own = clip_boxes_to_image(own, image_size)
        sides = own[:, 2:] - own[:, :2]
        solid = (sides.min(dim=1).values >= _SMALLEST_SIDE).nonzero().flatten()
        own, best, label = own[solid], best[solid], label[solid]
        kept = batched_nms(own, best, label, float(self.model.roi_heads.nms_thresh))[: self.max_regions]
        return own[kept], best[kept]


def _rescale(boxes: Tensor, size: tuple[int, int], image: Tensor) -> Tensor:
    """Boxes of a resized image in pixels of the original."""
    height, width = image.shape[-2] / size[0], image.shape[-1] / size[1]
    return boxes * boxes.new_tensor([width, height, width, height])


def _detector_names() -> list[str]:
    """The detectors of torchvision that pool features of their boxes."""
    return [name for name in list_models(module=detection) if "rcnn" in name]


def build_detector(
    name: str,
    *,
    max_regions: int = 50,
    pretrained: bool = False,
    weights: Path | None = None,
    image_size: int | None = None,
) -> RegionDetector:
    """Create a detector.

    Args:
        name: torchvision's name, e.g. `fasterrcnn_resnet50_fpn_v2`.
        max_regions: regions kept per image.
        pretrained: fetch torchvision's weights.
        weights: a local file instead, a state dict of the same model.
        image_size: shorter side in pixels to which images are resized; None: the model's own.

    Raises:
        InputError: for an unknown name, naming those that are known.
        CheckpointError: when local weights do not fit.
        DownloadError: when the published ones cannot be fetched.
    """
    if name not in _detector_names():
        raise InputError(
            f"--detector {name}: there is no such detector.", f"Known: windows, {', '.join(_detector_names())}."
        )
    options: dict[str, Any] = {} if image_size is None else {"min_size": image_size}
    state = None if weights is None else read_upstream(weights).state
    if state is not None and "roi_heads.box_predictor.cls_score.weight" in state:
        options["num_classes"] = len(state["roi_heads.box_predictor.cls_score.weight"])
    try:
        model: Any = get_model(
            name, weights="DEFAULT" if pretrained and state is None else None, weights_backbone=None, **options
        )
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise DownloadError(
            f"The weights of {name} cannot be fetched: {error}", "Go online once, or give --detector-weights FILE."
        ) from error
    if state is not None:
        _load(model, state, weights)
    return RegionDetector(model, max_regions=max_regions)


def _load(model: nn.Module, state: dict[str, Tensor], source: object) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source} does not fit this detector: {' '.join(str(error).split())[:300]}",
            "Is --detector the model that these weights are of?",
        ) from error
