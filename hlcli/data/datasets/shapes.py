"""`shapes`: made-up scenes of simple things, drawn from a seed when they are asked for. Nothing to download.

Twelve labels below five parents, these below three, six kinds of place that make some labels go together, five captions
per image.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from hlcli.data.datasets.shapes_captions import describe
from hlcli.data.datasets.shapes_drawing import SceneDrawing
from hlcli.data.datasets.shapes_scene import TREE, compose_scene
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.errors import DataError
from hlcli.sections import DataSection


class Shapes(DataSection):
    """Made-up scenes of simple things. A record depends on seed, split and number alone, not on the split's size."""

    reads_directly: ClassVar[bool] = True

    dataset: Literal["shapes"] = "shapes"
    num_train: int = Field(4000, ge=0, description="Training images; any number.")
    num_val: int = Field(500, ge=0, description="Validation images.")
    num_test: int = Field(500, ge=0, description="Test images.")
    seed: int = Field(0, ge=0, description="Another seed gives other images.")
    render_size: int | None = Field(
        None, ge=16, le=4096, description="Side of the drawn images in pixels; default the longer one of image_size."
    )

    @model_validator(mode="before")
    @classmethod
    def _forget_single_positive(cls, values: Any) -> Any:
        """Runs of older versions stored a key of that name; `labels_kept: single` says what it said."""
        if not isinstance(values, dict) or "single_positive" not in values:
            return values
        if values["single_positive"]:
            raise ValueError("single_positive is gone; write labels_kept: single, which draws other labels")
        return {key: value for key, value in values.items() if key != "single_positive"}

    def label_space(self) -> LabelSpace:
        """Three levels: 3 coarse, 5 middle, 12 fine labels."""
        return LabelSpace.from_tree(TREE)

    def split_names(self) -> tuple[str, ...]:
        """train, val and test, without those of no image."""
        return tuple(split for split, count in self._counts().items() if count)

    def records(self, split: str) -> Sequence[Record]:
        """The images of a split; each is made up when it is asked for, and drawn when its image is.

        Raises:
            DataError: for a split that does not exist.
        """
        count = self._counts().get(split, 0)
        if not count:
            raise DataError(f"shapes has no split {split!r}; it has {', '.join(self.split_names())}.")
        return _SceneRecords(split, count, seed=self.seed, render_size=self.render_size or max(self.height_width))

    def _counts(self) -> dict[str, int]:
        return {"train": self.num_train, "val": self.num_val, "test": self.num_test}


class _SceneRecords(Sequence[Record]):
    """A split of made-up scenes.

    Args:
        split: name of the split; part of the seed of every image.
        num_images: their number.
        seed: seed of the data set.
        render_size: side of the images in pixels.
    """

    def __init__(self, split: str, num_images: int, *, seed: int, render_size: int) -> None:
        self.split, self.num_images, self.seed, self.render_size = split, num_images, seed, render_size

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, row: int) -> Record:  # type: ignore[override]
        if not 0 <= row < self.num_images:
            raise IndexError(f"row {row} of {self.num_images}")
        rng = random.Random(f"shapes/{self.seed}/{self.split}/{row}")
        scene = compose_scene(rng)
        captions = describe(scene, rng)
        drawing = SceneDrawing(scene, self.render_size)
        return Record(f"shapes-{self.split}-{row:06d}", drawing, scene.labels, captions=captions)
