"""Feature files in the making: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_disk import small_files

from hlcli.errors import HlcliError
from hlcli.features.reading import FeatureFile, FeatureWriter

from .feature_parts import FACTS, write


def fill(path: Path, *arrays: np.ndarray, dtype: str = "float32", then: type[Exception] | None = None) -> None:
    with FeatureWriter(path, dtype=dtype) as writer:
        for number, array in enumerate(arrays):
            writer.write(str(number), {"features": array})
        if then is not None:
            raise then


def test_an_error_leaves_neither_a_file_nor_a_half_one(tmp_path: Path):
    with pytest.raises(RuntimeError):
        fill(tmp_path / "a.hdf5", np.ones((1, 2)), then=RuntimeError)
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_written_once(tmp_path: Path):
    with pytest.raises(ValueError, match="'0001' again"):
        write(tmp_path / "a.hdf5", "1", "0001")


@pytest.mark.parametrize(("value", "message"), [(1e5, "do not fit float16"), (np.nan, "are not finite")])
def test_numbers_that_cannot_be_stored_are_refused(tmp_path: Path, value: float, message: str):
    with pytest.raises(HlcliError, match=f"image 0 {message}"):
        fill(tmp_path / "a.hdf5", np.full((1, 2), value), dtype="float16")


def test_a_full_disk_is_an_error_and_no_crash(tmp_path: Path):
    images = [np.ones((10, 100))] * 100
    with pytest.raises(HlcliError, match=r"a\.hdf5 cannot be written: File too large"), small_files(40_000):
        fill(tmp_path / "a.hdf5", *images)
    assert list(tmp_path.iterdir()) == []


def test_images_are_copied_from_other_files_in_the_order_asked_for(tmp_path: Path):
    one, two = write(tmp_path / "1.hdf5", "a", "b"), write(tmp_path / "2.hdf5", "c")
    with FeatureWriter(tmp_path / "all.hdf5", FACTS) as writer:
        writer.copy_from(one, ["a", "b"])
        writer.copy_from(two, ["c"])
    file = FeatureFile(tmp_path / "all.hdf5")
    assert file.keys() == ["a", "b", "c"]
    assert file.read("b").tolist() == FeatureFile(one).read("b").tolist()
