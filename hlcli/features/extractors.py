"""From decoded images to the arrays of a feature file, and the facts that say how."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hlcli.backbones import GridBackbone
from hlcli.clip_grid import (
    ClipGrid,
    build_grid_backbone,
    image_features,
    native_image_size,
    native_normalization,
)
from hlcli.data.transforms import EvalTransform, Normalize, Resize, to_tensor
from hlcli.encoders.clip_models import inline_clip_name
from hlcli.encoders.clip_weights import PREFIX
from hlcli.errors import InputError
from hlcli.features.detectors import RegionDetector, build_detector
from hlcli.features.layout import BYTES_PER_DATASET, FeatureKind
from hlcli.features.windows import WindowPool

_DEFAULT_BACKBONE = "clip:ViT-L-14"
WINDOWS = "windows"
_RANDOM = "random"

BOX_BYTES, SIZE_BYTES, SCORE_BYTES = 16, 16, 4
"""Four float32 of a box, two int64 of an image's size, a float32 of a score."""

_Parts = dict[str, np.ndarray]
"""What is stored of one image: arrays by their names in `hlcli.features.reading.PARTS`."""


@dataclass(frozen=True)
class FeatureOptions:
    """How features are made.

    Args:
        kind: `grid` (with a global vector beside it), `region` or `global`.
        backbone: any timm model, or `clip:NAME`.
        weights: a local file for the backbone.
        pretrained: fetch published weights where there is no local file; else weights are random, the same every time.
        image_size: side in pixels, or (height, width); None: what the backbone was trained with. For detectors the
            shorter side.
        resize: `crop` or `stretch`; None: crop where the backbone is a CLIP model, else stretch.
        normalization: as `data.normalization`; None: what the backbone was trained with.
        detector: `windows` pools regions from the backbone's grid; else a detector of torchvision.
        detector_weights: a local file for the detector.
        max_regions: most regions of an image.
    """

    kind: FeatureKind = "grid"
    backbone: str = _DEFAULT_BACKBONE
    weights: str | Path | None = None
    pretrained: bool = True
    image_size: int | tuple[int, int] | None = None
    resize: Resize | None = None
    normalization: str | None = None
    detector: str = WINDOWS
    detector_weights: str | Path | None = None
    max_regions: int = 50

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], **changes: Any) -> Self:
        """The options with which a file was made, apart from local files of weights, which `changes` may name."""
        given = {
            name: facts[name]
            for name in ("kind", "backbone", "resize", "normalization", "detector", "max_regions")
            if facts.get(name) is not None
        }
        size = facts.get("image_size")
        pretrained = facts.get("weights", facts.get("detector_weights")) != _RANDOM
        return cls(
            **{
                **given,
                "image_size": tuple(size) if isinstance(size, list) else size,
                "pretrained": pretrained,
                **changes,
            }
        )

    @property
    def uses_detector(self) -> bool:
        """Whether regions are found by a detector."""
        return self.kind == "region" and self.detector != WINDOWS

    def resolved(self) -> FeatureOptions:
        """The options with nothing left open: what belongs to the backbone is asked of it.

        Raises:
            HlcliError: for a name that is not known.
        """
        if self.uses_detector:
            return self
        normalization = self.normalization or native_normalization(self.backbone)
        return replace(
            self,
            image_size=_both_sides(self.image_size) or native_image_size(self.backbone),
            normalization=normalization,
            resize=self.resize or ("crop" if normalization == "clip" else "stretch"),
        )


def _both_sides(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (image_size, image_size) if isinstance(image_size, int) else image_size


class GridExtractor(nn.Module):
    """Grid, global or window features by a backbone.

    Args:
        backbone: of `build_grid_backbone`, with its global feature.
        options: resolved ones.
        weights: what to call the weights in the facts.
    """

    def __init__(self, backbone: GridBackbone | ClipGrid, options: FeatureOptions, weights: str) -> None:
        super().__init__()
        assert isinstance(options.image_size, tuple)
        height, width = options.image_size
        self.backbone = backbone
        self.kind = options.kind
        self.max_regions = options.max_regions
        self.image_size: tuple[int, int] = (height, width)
        self.resize: Resize = options.resize or "stretch"
        self.transform = EvalTransform(self.image_size, self.resize)
        self.normalize = Normalize.named(options.normalization or "imagenet")
        self.windows = WindowPool(backbone.grid) if options.kind == "region" else None
        self.facts: dict[str, Any] = {
            "kind": options.kind,
            "backbone": inline_clip_name(options.backbone),
            "weights": weights,
            "image_size": [height, width],
            "resize": self.resize,
            "normalization": options.normalization,
        }
        if options.kind != "global":
            self.facts |= {"grid": list(backbone.grid), "width": backbone.num_features}
        if self.windows is not None:
            self.facts |= {"detector": WINDOWS, "max_regions": options.max_regions}

    def forward(self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[_Parts]:
        """Arrays of each image.

        Args:
            images: uint8 [3, H, W] each, as `transform` gives them.
            sizes: height and width of each before that.
        """
        found = image_features(self.backbone, self.normalize(torch.stack(list(images))))
        if self.kind == "global":
            return [{"global": vector} for vector in _arrays(found.global_features)]
        if self.windows is None:
            pairs = zip(_arrays(found.grid_features), _arrays(found.global_features), strict=True)
            return [{"features": cells, "global": vector} for cells, vector in pairs]
        regions = _arrays(self.windows(found.grid_features)[:, : self.max_regions])
        boxes = self.windows.boxes[: self.max_regions].cpu().numpy()
        return [
            {"features": features, "boxes": self._pixels(boxes, size), "size": np.array(size)}
            for features, size in zip(regions, sizes, strict=True)
        ]

    def most_bytes(self, dtype: np.dtype) -> int:
        """Bytes of one image in a file of this precision."""
        row = self.backbone.num_features * dtype.itemsize
        if self.windows is not None:
            regions = min(self.max_regions, self.windows.num_regions)
            return regions * (row + BOX_BYTES) + SIZE_BYTES + 3 * BYTES_PER_DATASET
        with torch.inference_mode():
            images = torch.zeros(1, 3, *self.image_size, device=next(self.backbone.parameters()).device)
            vector = image_features(self.backbone, images).global_features
        num_bytes = vector.shape[1] * dtype.itemsize + BYTES_PER_DATASET
        if self.kind == "global":
            return num_bytes
        return num_bytes + self.backbone.grid[0] * self.backbone.grid[1] * row + BYTES_PER_DATASET

    def _pixels(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Windows [R, 4] of what the network sees, in pixels of the image before it was resized."""
        height, width = size
        scale = np.array([width, height, width, height], dtype=np.float32)
        if self.resize == "stretch":
            return boxes * scale
        factor = min(height / self.image_size[0], width / self.image_size[1])  # pixels of the image per pixel seen
        seen_height, seen_width = self.image_size[0] * factor, self.image_size[1] * factor
        corner = np.array([(width - seen_width) / 2, (height - seen_height) / 2] * 2, dtype=np.float32)
        return boxes * np.array([seen_width, seen_height] * 2, dtype=np.float32) + corner


class _DetectorExtractor(nn.Module):
    """Region features by a detector, which resizes and normalises images itself.

    Args:
        detector: the detector.
        options: resolved ones.
        weights: what to call the weights in the facts.
    """

    def __init__(self, detector: RegionDetector, options: FeatureOptions, weights: str) -> None:
        super().__init__()
        self.detector = detector
        self.transform = to_tensor
        self.facts: dict[str, Any] = {
            "kind": "region",
            "detector": options.detector,
            "detector_weights": weights,
            "image_size": options.image_size,
            "max_regions": options.max_regions,
            "width": detector.num_features,
        }

    def forward(self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[_Parts]:
        """Arrays of images uint8 [3, H, W] of any sizes."""
        regions = self.detector([image.contiguous().float() / 255 for image in images])
        return [
            {
                "features": found.features.cpu().numpy(),
                "boxes": found.boxes.cpu().numpy(),
                "size": np.array(size),
                "cls_prob": found.scores.cpu().numpy(),
            }
            for found, size in zip(regions, sizes, strict=True)
        ]

    def most_bytes(self, dtype: np.dtype) -> int:
        """Bytes of an image with all the regions it may have."""
        row = self.detector.num_features * dtype.itemsize + BOX_BYTES + SCORE_BYTES
        return self.detector.max_regions * row + SIZE_BYTES + 4 * BYTES_PER_DATASET


Extractor = GridExtractor | _DetectorExtractor


def build_extractor(options: FeatureOptions, *, initial_weights: bool = True) -> Extractor:
    """What makes the features, in evaluation mode.

    Args:
        options: how.
        initial_weights: False leaves the weights random, or out: for whoever only asks for sizes.

    Raises:
        HlcliError: when a name, a size or weights cannot be used; the kind says why.
    """
    options = options.resolved()
    if options.max_regions < 1:
        raise InputError(f"--max-regions must be at least 1 (got {options.max_regions}).")
    given = options.detector_weights if options.uses_detector else options.weights
    weights = Path(given) if given is not None and initial_weights else None
    pretrained = options.pretrained and initial_weights
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights are the same in every process, and after a resume
        if options.uses_detector:
            size = options.image_size
            if isinstance(size, tuple):
                raise InputError(f"A detector takes one image size, the shorter side (got {size[0]}×{size[1]}).")
            detector = build_detector(
                options.detector,
                max_regions=options.max_regions,
                pretrained=pretrained,
                weights=weights,
                image_size=size,
            )
            return _DetectorExtractor(detector, options, _weights_sum(detector, weights, pretrained)).eval()
        assert isinstance(options.image_size, tuple)
        is_empty = not initial_weights and options.backbone.startswith(PREFIX)  # large, and asked for its sizes only
        with torch.device("meta" if is_empty else "cpu"):
            backbone = build_grid_backbone(
                options.backbone, options.image_size, pretrained=pretrained, weights=weights, with_global=True
            )
        return GridExtractor(backbone, options, _weights_sum(backbone, weights, pretrained)).eval()


def _weights_sum(model: nn.Module, weights: Path | None, pretrained: bool) -> str:
    return weights_sum(model) if pretrained or weights is not None else _RANDOM


def weights_sum(model: nn.Module) -> str:
    """`sha256:…` of a network's weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"


def _arrays(features: Tensor) -> np.ndarray:
    return features.float().cpu().numpy()
