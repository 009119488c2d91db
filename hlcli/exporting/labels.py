"""A label model as a graph: images in, scores of every level out, as `hlcli eval` calculates them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hlcli.building import normalize
from hlcli.data.labels import LabelSpace
from hlcli.errors import HlcliError
from hlcli.exporting.formats import Run
from hlcli.exporting.graphs import Graph, Tensors, on_cpu, refusal, trace
from hlcli.exporting.pictures import noise
from hlcli.exporting.verification import ExportDifference, compare
from hlcli.methods.outputs import level_logits, level_scores, scene_probs_of
from hlcli.metrics.calibration_maps import CalibrationMap
from hlcli.models.folder import LoadedModel

logger = logging.getLogger(__name__)

_SCENES = "scene_probs"
_ALLOWED = 1e-4
"""ExportDifference of scores; single precision differs by some 1e-6, further behind deep networks."""
_ALLOWED_LOGITS = 1e-3
"""The same of their logits, where scores that are all small differ as much as others."""
_LEAST, _MOST = 1e-30, 1 - 1e-5
"""Scores between which logits are compared; nearer to 1 single precision has too few digits left to tell them."""
_BATCH_SIZES = (1, 2, 5)
_GROWTH = ((64, 32), (0, 96))
"""Pixels by which images are higher and wider when another size is tried."""


class _LabelGraph(nn.Module):
    """Normalisation, network, scores of all levels.

    Args:
        network: images to logits.
        normalize: bytes to floats.
        labels: the label space.
        consistent: no label scores above its parent.
        calibration: how raw scores become calibrated ones, if they do.
    """

    def __init__(
        self,
        network: nn.Module,
        normalize: nn.Module,
        labels: LabelSpace,
        *,
        consistent: bool,
        calibration: CalibrationMap | None = None,
    ) -> None:
        super().__init__()
        self.network, self.normalize, self.is_consistent = network, normalize, consistent
        self.is_calibrated = calibration is not None and calibration.method != "none"
        for depth, level in enumerate(calibration.levels if calibration is not None else ()):
            self.register_buffer(f"slopes{depth}", torch.tensor(level.slopes), persistent=False)  # [L] or [1]
            self.register_buffer(f"intercepts{depth}", torch.tensor(level.intercepts), persistent=False)
        self.outputs = output_names(labels)
        self.depth = len(labels.levels)
        for depth, parents in enumerate(labels.parents):
            self.register_buffer(f"parents{depth}", torch.tensor(parents), persistent=False)  # [L_child]
            self.register_buffer(f"children{depth}", _children(parents), persistent=False)  # [L_parent, most children]

    def forward(self, inputs: Tensors) -> dict[str, Tensor]:
        """Scores of images uint8 [B, 3, H, W]: of every level [B, L], of scenes [B, S] where the method tells them."""
        output = self.network(self.normalize(inputs["images"]))
        logits = [part.float() for part in level_logits(output)]
        while len(logits) < self.depth:  # a parent scores as its best child
            children = self.get_buffer(f"children{self.depth - 1 - len(logits)}")
            logits.insert(0, logits[0][:, children].amax(dim=-1))
        if self.is_calibrated:
            logits = [
                part * self.get_buffer(f"slopes{depth}") + self.get_buffer(f"intercepts{depth}")
                for depth, part in enumerate(logits)
            ]
        levels = [_sigmoid(part) for part in logits]
        if self.is_consistent:
            for depth in range(self.depth - 1):
                above = levels[depth][:, self.get_buffer(f"parents{depth}")]
                levels[depth + 1] = torch.minimum(levels[depth + 1], above)
        answer = dict(zip(self.outputs, levels, strict=True))
        scene_probs = scene_probs_of(output)
        return answer if scene_probs is None else {**answer, _SCENES: scene_probs.float()}


def output_names(labels: LabelSpace) -> tuple[str, ...]:
    """`scores` of the finest level and `scores_LEVEL` of those above it, coarse → fine."""
    return (*(f"scores_{level.name}" for level in labels.levels[:-1]), "scores")


def _sigmoid(logits: Tensor) -> Tensor:
    """Exact to a share of small scores too, where onnxruntime's own is off by 1e-7: more than a score below that."""
    return nn.functional.softplus(-logits).neg().exp()


def _logits(scores: Tensors) -> dict[str, Tensor]:
    return {f"logits of {name}": one.double().clamp(_LEAST, _MOST).logit() for name, one in scores.items()}


def _children(parents: Sequence[int]) -> Tensor:
    """Children of every parent, [L_parent, most children]; rows are filled up with the first child."""
    rows = [[child for child, one in enumerate(parents) if one == parent] for parent in range(max(parents) + 1)]
    longest = max(map(len, rows))
    return torch.tensor([row + row[:1] * (longest - len(row)) for row in rows])


class LabelExport:
    """A label model's graph, traced, and what it must answer.

    Args:
        loaded: the model.

    Attributes:
        graph: what is written.
        program: its operations.
        any_size: whether images may have any size.

    Raises:
        HlcliError: when torch cannot follow the network.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        recipe = loaded.recipe
        self.loaded = loaded._replace(model=on_cpu(loaded.model))
        self.normalize = normalize(recipe.data)
        network = recipe.model.for_export(copy.deepcopy(self.loaded.model))
        module = _LabelGraph(
            network,
            self.normalize,
            loaded.labels,
            consistent=recipe.eval.consistent,
            calibration=loaded.calibration,
        ).eval()
        self.image_size = recipe.data.height_width
        images = {"images": noise(2, self.image_size)}
        self.graph = Graph("scores", module, images, {"images": {0: "batch", 2: "height", 3: "width"}})
        program, reason = self._trace_any_size()
        self.any_size = program is not None
        if program is None:
            logger.debug("Images keep the size %d×%d: %s", *self.image_size, reason)
            self.graph = self.graph._replace(axes={"images": {0: "batch"}})
            program = trace(self.graph)
        self.program: ExportedProgram = program

    def _trace_any_size(self) -> tuple[ExportedProgram | None, str | None]:
        """The operations for images of any size; None where the network, or torch, wants one size, and why."""
        others = [{"images": noise(2, size)} for size in self._other_sizes()]
        reason = refusal(self.graph.module, others)
        if reason is not None:
            return None, reason
        try:
            program = trace(self.graph)
        except HlcliError as error:
            return None, error.message
        reason = refusal(program.module(), others)
        return (program if reason is None else None), reason

    def _other_sizes(self) -> list[tuple[int, int]]:
        height, width = self.image_size
        return [(height + down, width + right) for down, right in _GROWTH]

    def verify(self, file: str, run: Run, pictures: Tensor) -> Iterator[ExportDifference]:
        """Run a file on noise and on pictures uint8 [B, 3, H, W].

        Raises:
            HlcliError: when it answers something else than PyTorch.
        """
        tried = [(f"noise {_shown(size, self.image_size)}", noise(size, self.image_size)) for size in _BATCH_SIZES]
        if self.any_size:
            tried += [(f"noise {_shown(2, size)}", noise(2, size)) for size in self._other_sizes()]
        tried += [(f"pictures {_shown(len(part), self.image_size)}", part) for part in pictures.split(4)]
        for inputs, images in tried:
            found, expected = run({"images": images}), self._expected(images)
            yield from compare(file, inputs, found, expected, allowed=_ALLOWED)
            compare(file, inputs, _logits(found), _logits(expected), allowed=_ALLOWED_LOGITS)

    @torch.inference_mode()
    def _expected(self, images: Tensor) -> dict[str, Tensor]:
        """What `hlcli eval` calculates, in full precision."""
        output: Any = self.loaded.model(self.normalize(images))
        levels = level_scores(
            output,
            self.loaded.labels,
            consistent=self.loaded.recipe.eval.consistent,
            calibration=self.loaded.calibration,
            dtype=torch.float32 if self.loaded.calibration is None else torch.float64,
        )
        names = output_names(self.loaded.labels)
        scores = {name: torch.from_numpy(level).float() for name, level in zip(names, levels, strict=True)}
        scene_probs = scene_probs_of(output)
        return scores if scene_probs is None else {**scores, _SCENES: scene_probs}


def _shown(batch_size: int, image_size: tuple[int, int]) -> str:
    return f"{batch_size} × {image_size[0]}×{image_size[1]}"
