"""Binary files with wrong bytes, cut or spliced: read as they are, or refused with a message; nothing else happens."""

from __future__ import annotations

import io
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

import h5py
import numpy as np
import pytest
import torch
from effort import effort
from safetensors.torch import save

from hlcli.data.labels import LabelSpace
from hlcli.embeddings.labels import read_label_embeddings
from hlcli.errors import HlcliError
from hlcli.features.reading import FeatureFile
from hlcli.upstream import read_upstream

logger = logging.getLogger(__name__)

TRIES = effort(short=40, long=20_000)
LABELS = LabelSpace.flat(["cat", "dog"])
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(4)}


def torch_file(*, is_zip: bool) -> bytes:
    buffer = io.BytesIO()
    content = {"state_dict": STATE, "epoch": 2, "best": np.float64(0.5)}
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


def array_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 5), np.float32))
    return buffer.getvalue()


def feature_file() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for image in ("1", "2"):
            file[f"{image}_features"] = np.ones((4, 8), np.float32)
            file[f"{image}_boxes"] = np.ones((4, 4), np.float32)
            file[f"{image}_size"] = np.array([3, 4])
        file.attrs["hlcli"] = '{"kind": "region", "width": 8}'
    return buffer.getvalue()


def read_features(path: Path) -> None:
    features = FeatureFile(path, "region")
    features.keys()
    for image in ("1", "2"):
        assert features.read(image, max_rows=3).dtype == np.float32
        features.boxes(image)
        features.image_size(image)
    features.close()


READERS: dict[str, tuple[bytes, str, Callable[[Path], object]]] = {
    "torch zip": (torch_file(is_zip=True), ".pth", read_upstream),
    "torch legacy": (torch_file(is_zip=False), ".pth", read_upstream),
    "safetensors": (save(STATE), ".safetensors", read_upstream),
    "label vectors": (array_file(), ".npy", lambda path: read_label_embeddings(path, LABELS)),
    "features": (feature_file(), ".h5", read_features),
}


_MOST = {"features": 471}
"""In the next one HDF5's library reads for ever."""


def damaged(content: bytes, random: Random) -> bytes:
    """One to four wrong bytes, more often near the beginning, where headers are; or a cut, or a splice."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place = int(len(changed) * random.random() ** random.choice((1, 3)))
        changed[place] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    kind = random.randrange(6)
    if kind == 0:
        del changed[random.randrange(len(changed)) :]
    elif kind == 1:
        begin = random.randrange(len(changed))
        changed[random.randrange(len(changed)) :] = changed[begin:]
    return bytes(changed)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path):
    content, suffix, read = READERS[name]
    refused, path = 0, tmp_path / f"file{suffix}"
    for seed in range(min(TRIES, _MOST.get(name, TRIES))):
        path.unlink(missing_ok=True)
        path.write_bytes(damaged(content, Random(f"{name}/{seed}")))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
        except HlcliError as error:
            refused += "file" in str(error)
        except Exception as error:
            shutil.copy(path, tmp_path / "found")
            raise AssertionError(f"{name}, seed {seed}: {type(error).__name__}: {error}") from error
    tried = seed + 1
    logger.info("%s: %d files, %d refused", name, tried, refused)
    assert refused > tried // 10


def test_the_files_are_good_before_they_are_damaged(tmp_path: Path):
    for content, suffix, read in READERS.values():
        (tmp_path / f"file{suffix}").write_bytes(content)
        read(tmp_path / f"file{suffix}")
