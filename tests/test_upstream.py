"""Foreign checkpoint files: read when honest, refused when damaged or hostile."""

from __future__ import annotations

import io
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from hlcli.errors import CheckpointError
from hlcli.upstream import read_upstream

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(4)}


def saved(content: Any, *, is_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("container", ["state_dict", "model", None])
def test_weights_are_found_in_every_usual_place(tmp_path: Path, container: str | None, is_zip: bool) -> None:
    path = tmp_path / "model_best.pth.tar"
    extra = {"epoch": 6, "arch": "Q2L", "optimizer": {"state": {0: {"step": torch.tensor(3)}}, "param_groups": []}}
    path.write_bytes(saved(STATE if container is None else {container: STATE, **extra}, is_zip=is_zip))
    state, info = read_upstream(path)
    assert list(state) == list(STATE)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert info == ({} if container is None else {"epoch": 6, "arch": "Q2L"})


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    state, info = read_upstream(tmp_path / "model.safetensors")
    assert torch.equal(state["a.weight"], STATE["a.weight"])
    assert info == {}


@pytest.mark.parametrize("number", [np.float64(0.451), np.float32(0.451), np.int64(3)])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_score_may_be_a_numpy_number(tmp_path: Path, number: Any, is_zip: bool) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(saved({"state_dict": STATE, "best_f1_samples": number}, is_zip=is_zip))
    value = read_upstream(path).info["best_f1_samples"]
    assert type(value) in (float, int)
    assert value == pytest.approx(float(number))


def test_a_numpy_number_of_damaged_kind_harms_nothing(tmp_path: Path) -> None:
    """NumPy's own reading of it ends the process (segmentation fault)."""
    path = tmp_path / "model.pth"
    content = saved({"state_dict": STATE, "best": np.float64(0.5)}, is_zip=False)
    assert content.count(b"NNNJ\xff") == 1
    path.write_bytes(content.replace(b"NNNJ\xff", b"\x80NNJ\xff"))
    assert read_upstream(path).info == {"best": 0.5}


def test_the_older_numpy_name_is_known_too(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    content = saved({"state_dict": STATE, "best": np.float64(0.5)}, is_zip=False)
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert read_upstream(path).info == {"best": 0.5}


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, is_zip: bool) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "was-run"
    path.write_bytes(saved({"state_dict": STATE, "extra": Bomb(mark)}, is_zip=is_zip))
    with pytest.raises(CheckpointError, match="asks to run code, which is refused"):
        read_upstream(path)
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CheckpointError):
        read_upstream(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"<html>not found</html>", "damaged"),
        (saved(STATE)[:-40], "damaged"),
        (saved(STATE, is_zip=False)[:-8], "damaged"),
        (saved([1, 2]), "holds list"),
        (saved({"epoch": 3, "lr": 0.1}), "2 entries are no weights: 'epoch', 'lr'"),
        (saved({"state_dict": {}}), "it is empty"),
        (saved({"state_dict": {3: torch.ones(1)}}), "1 entries are no weights: 3"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_upstream(path)


def test_missing_files_folders_and_damaged_safetensors(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(CheckpointError, match="is not a file"):
            read_upstream(path)
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        read_upstream(tmp_path / "x.safetensors")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(is_zip=st.booleans(), place=st.floats(0, 1), byte=st.integers(0, 255), cut=st.none() | st.floats(0, 1))
def test_damage_never_ends_in_another_error(
    tmp_path: Path, is_zip: bool, place: float, byte: int, cut: float | None
) -> None:
    content = bytearray(saved({"state_dict": STATE, "epoch": 2, "best": np.float64(1)}, is_zip=is_zip))
    content[int(place * (len(content) - 1))] = byte
    path = tmp_path / "x.pth"
    path.write_bytes(content if cut is None else content[: int(cut * len(content))])
    with suppress(CheckpointError):
        read_upstream(path)


def test_weights_that_are_not_dense_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(saved({"state_dict": {**STATE, "b": torch.eye(3).to_sparse()}}))
    with pytest.raises(CheckpointError, match=r"1 weights are sparse.*'b'"):
        read_upstream(path)
