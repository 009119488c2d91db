"""A person's own photos with captions in COCO's form: a folder of images and a JSON file for each split."""

from __future__ import annotations

import logging
import os
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from hlcli.data.coco_captions import CaptionedImage, read_caption_annotations
from hlcli.data.datasets.base import check_disjoint
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record, Records
from hlcli.errors import DataError, named
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)


class Captions(DataSection):
    """Images in a folder, captions in JSON files as COCO's `captions_train2014.json`, one for each split."""

    reads_directly: ClassVar[bool] = True

    dataset: Literal["captions"] = "captions"
    images: Path = Field(description="Folder of the images; names in the files are relative to it.")
    train: Path | None = Field(None, description="JSON file of the split train.")
    val: Path | None = Field(None, description="JSON file of the split val.")
    test: Path | None = Field(None, description="JSON file of the split test.")

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        if not self._files():
            raise ValueError("data.train, data.val or data.test must name a JSON file of captions")
        return self

    @property
    def title(self) -> str:
        """The name of the folder of images."""
        return os.path.basename(os.path.abspath(self.images)) or self.name

    def _files(self) -> dict[str, Path]:
        files = {"train": self.train, "val": self.val, "test": self.test}
        return {split: path for split, path in files.items() if path is not None}

    def label_space(self) -> LabelSpace:
        """No label."""
        return LabelSpace.empty()

    def split_names(self) -> tuple[str, ...]:
        """The splits that have a file."""
        return tuple(self._files())

    def records(self, split: str) -> Records:
        """The images of a split that have captions, in the order of the file.

        Raises:
            DataError: for a split without a file, damaged files, missing images, or splits that share images.
        """
        if split not in self._files():
            raise DataError(f"data.{split}: no file was named for split {split!r}.")
        return self._splits[split]

    @cached_property
    def _splits(self) -> dict[str, list[Record]]:
        splits = {split: self._read(path) for split, path in self._files().items()}
        check_disjoint(splits)
        return splits

    def _read(self, path: Path) -> list[Record]:
        images = read_caption_annotations(path)
        captioned = [image for image in images if image.captions]
        if not captioned:
            raise DataError(f"{path}: no image has a caption.")
        if len(captioned) < len(images):
            text = "%s: %d of %d images have no caption and are left out."
            logger.warning(text, path, len(images) - len(captioned), len(images))
        self._check_images(path, captioned)
        return [Record(image.image_id, self.images / image.file, captions=image.captions) for image in captioned]

    def _check_images(self, path: Path, images: list[CaptionedImage]) -> None:
        if not self.images.is_dir():
            raise DataError(
                f"{self.images} is not a folder of images.", "Give the folder that the images are in (data.images)."
            )
        missing = [image.file for image in images if not os.path.isfile(self.images / image.file)]
        if missing:
            raise DataError(
                f"{path}: {len(missing):,} of {len(images):,} images are not in {self.images}: {named(missing)}.",
                "Names in the file are relative to the folder of images (data.images).",
            )
