"""Batches of images with captions: stored features in slots, grids that fit together, captions of a selection."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from hlcli.captioning import slots
from hlcli.captioning.batch import CaptionBatch
from hlcli.captioning.loader import CaptionRows, ImageInputs, make_caption_loader
from hlcli.captioning.vocabulary import SPECIAL_TOKENS, Vocabulary
from hlcli.data.loader_processes import batches
from hlcli.data.records import Record
from hlcli.errors import DataError
from hlcli.features.reading import FeatureFile, FeatureWriter
from hlcli.prediction.caption_parts import Photo, fill_slots, stored_grid_part, stored_regions_part

VOCABULARY = Vocabulary((*SPECIAL_TOKENS, "a", "dog"), (0, 0, 0, 0, 2, 2))
RECORDS = [Record(str(number), b"", captions=("a dog", "dog")) for number in (1, 2)]
CPU = torch.device("cpu")

WITH_A_ZERO_ROW = np.array([[1, 2], [0, 0], [3, 4]], dtype=np.float32)
NOTHING = np.zeros((0, 2), dtype=np.float32)


def published(path: Path, *features: np.ndarray) -> Path:
    """A file that does not say what made it."""
    with h5py.File(path, "w") as file:
        for number, found in enumerate(features, 1):
            file[f"{number}_features"] = found
    return path


def our_own(path: Path, *features: np.ndarray) -> Path:
    with FeatureWriter(path, {"kind": "region", "width": 2}) as writer:
        for number, found in enumerate(features, 1):
            writer.write(str(number), {"features": found})
    return path


def no_image(image: object, rng: random.Random) -> torch.Tensor:
    raise AssertionError("no image is read")


def batch_of(inputs: ImageInputs) -> CaptionBatch | DataError:
    return CaptionRows(RECORDS, inputs, VOCABULARY).__getitems__([0, 1])


@pytest.mark.parametrize(
    ("write", "padding"),
    [(published, [False, True, False, True]), (our_own, [False, False, False, True])],
    ids=["published", "our own"],
)
def test_rows_of_zeros_are_padding_in_published_files_alone(
    tmp_path: Path, write: Callable[..., Path], padding: list[bool]
):
    path = write(tmp_path / "regions.hdf5", WITH_A_ZERO_ROW, NOTHING)
    with h5py.File(tmp_path / "grid.hdf5", "w") as file:
        file["1_features"] = file["2_features"] = np.ones((4, 3), dtype=np.float32)
    inputs = ImageInputs(
        no_image, grid=FeatureFile(tmp_path / "grid.hdf5"), regions=FeatureFile(path, "region"), max_regions=4
    )
    batch = batch_of(inputs)
    assert isinstance(batch, CaptionBatch)
    assert batch.inputs.padding_mask is not None
    assert batch.inputs.region_features is not None
    assert batch.inputs.padding_mask.tolist() == [padding, [True] * 4]
    assert batch.inputs.region_features[0].tolist() == [*WITH_A_ZERO_ROW.tolist(), [0, 0]]
    part = stored_regions_part(path, 2, 4, CPU)
    fields = part.compute([part.load(Photo(name, b"")) for name in ("1", "2")])
    assert torch.equal(fields["padding_mask"], batch.inputs.padding_mask)
    assert torch.equal(fields["region_features"], batch.inputs.region_features)


def test_regions_beyond_the_slots_are_left_out():
    regions = torch.arange(10.0).reshape(5, 2)
    kept, padding = slots.fill_slots(regions, 3)
    assert torch.equal(kept, regions[:3])
    assert not padding.any()
    assert fill_slots([torch.zeros(2, 2)], 3, CPU)["padding_mask"].tolist() == [[False, False, True]]


def test_grids_of_different_sizes_are_named_with_both(tmp_path: Path):
    path = published(tmp_path / "grid.hdf5", np.ones((4, 3)), np.ones((9, 3)))
    message = r"grid\.hdf5: image 2 has 9 grid cells, but image 1 has 4"
    found = batch_of(ImageInputs(no_image, grid=FeatureFile(path)))
    assert isinstance(found, DataError)
    part = stored_grid_part(path, 3, CPU)
    assert part.load(Photo("1", b"")).shape == (4, 3)
    with pytest.raises(DataError, match=message):
        part.load(Photo("2", b""))
    with pytest.raises(DataError, match=message):
        raise found


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_hands_on_batches_and_errors(tmp_path: Path, workers: int):
    path = published(tmp_path / "grid.hdf5", np.ones((4, 3)))
    rows = CaptionRows(RECORDS, ImageInputs(no_image, grid=FeatureFile(path)), VOCABULARY, pairs=[(0, 0), (0, 1)])
    (batch,) = batches(make_caption_loader(rows, [[0, 1]], workers=workers, device=CPU))
    assert batch.inputs.grid_features.shape == (1, 4, 3)
    assert batch.token_ids.tolist() == [[2, 4, 5, 3], [2, 5, 3, 1]]
    assert batch.image_index.tolist() == [0, 0]
    rows = CaptionRows(RECORDS, ImageInputs(no_image, grid=FeatureFile(path)), VOCABULARY)
    with pytest.raises(DataError, match="no features of image 2"):
        list(batches(make_caption_loader(rows, [[0, 1]], workers=workers, device=CPU)))
