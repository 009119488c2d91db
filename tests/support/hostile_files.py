"""Files that want more than to be read: code to run, memory to fill, files of others to open.

Every function gives `{name: bytes}`, or writes into a folder and gives paths. Code that is in them makes a folder: a
test that finds it knows that the code was run.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

_STATE = {"a.weight": torch.arange(6.0).reshape(2, 3)}
_HUGE = 2**40


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


class _Module(torch.nn.Module):
    """The smallest network, for a TorchScript archive."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def pickles(mark: Path) -> dict[str, bytes]:
    """Programs in all the clothes of weights and arrays; `mark` is the folder that they make."""
    bomb, found = Bomb(mark), {}
    for name, is_zip in (("zip", True), ("legacy", False)):
        buffer = io.BytesIO()
        torch.save({"state_dict": {**_STATE, "b": bomb}}, buffer, _use_new_zipfile_serialization=is_zip)
        found[f"torch {name}"] = buffer.getvalue()
    for protocol in (0, 2, 5):
        found[f"pickle {protocol}"] = pickle.dumps(bomb, protocol)
    for content in ([bomb], {"a": bomb}):
        buffer = io.BytesIO()
        np.save(buffer, np.array(content, dtype=object), allow_pickle=True)
        found[f"array of {type(content).__name__}"] = buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([bomb], dtype=object), allow_pickle=True)
    found["arrays"] = buffer.getvalue()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(_Module()), buffer)
    found["TorchScript"] = buffer.getvalue()
    return found


def _safetensors(header: Any, content: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def _entry(shape: list[Any], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def bad_safetensors() -> dict[str, bytes]:
    """Headers that lie."""
    good = _entry([2], 0, 8)
    return {
        "length of 2^63": _safetensors(b"{}", length=2**63),
        "length of 2^64 - 1": _safetensors(b"{}", length=2**64 - 1),
        "length beyond the file": _safetensors(b"{}", length=10**6),
        "header of 101 MB": _safetensors(b"{" + b" " * (101 << 20) + b"}"),
        "no JSON": _safetensors(b"\xff\xfe{{{"),
        "deep JSON": _safetensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "overlapping": _safetensors({"a": good, "b": _entry([2], 4, 12)}, bytes(12)),
        "hole": _safetensors({"a": good, "b": _entry([2], 16, 24)}, bytes(24)),
        "twice": _safetensors(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            bytes(8),
        ),
        "negative shape": _safetensors({"a": _entry([-2], 0, 8)}, bytes(8)),
        "negative offset": _safetensors({"a": _entry([2], -8, 0)}, bytes(8)),
        "overflowing shape": _safetensors({"a": _entry([2**32, 2**32, 2], 0, 8)}, bytes(8)),
        "shape of 2^40": _safetensors({"a": _entry([_HUGE], 0, 4 * _HUGE)}, bytes(8)),
        "fractional shape": _safetensors({"a": _entry([1.5], 0, 6)}, bytes(8)),
        "unknown type": _safetensors({"a": _entry([2], 0, 8, "F99")}, bytes(8)),
        "odd type": _safetensors({"a": _entry([16], 0, 8, "F4")}, bytes(8)),
        "scale type": _safetensors({"a": _entry([8], 0, 8, "F8_E8M0")}, bytes(8)),
        "trailing bytes": _safetensors({"a": good}, bytes(4096)),
        "too short": _safetensors({"a": good}, bytes(4)),
        "a list": _safetensors([good], bytes(8)),
        "metadata of numbers": _safetensors({"__metadata__": {"a": 1}, "a": good}, bytes(8)),
        "empty": b"",
        "seven bytes": bytes(7),
        "pickle inside": _safetensors(b"\x80\x04N.", bytes(8)),
    }


def bad_features(folder: Path, secret: Path) -> dict[str, Path]:
    """HDF5 files of image features in which image 1 is not what it seems; `secret` is a file of somebody else."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Path] = {}
    size = secret.stat().st_size

    def new(name: str) -> h5py.File:
        made[name] = folder / f"{name}.h5"
        return h5py.File(made[name], "w")

    with h5py.File(folder / "other.hdf5", "w") as other:
        other["1_features"] = np.ones((4, 8), np.float32)
    with new("external link") as file:
        file["1_features"] = h5py.ExternalLink(str(folder / "other.hdf5"), "1_features")
    with new("external link to text") as file:
        file["1_features"] = h5py.ExternalLink(str(secret), "a")
    with new("external bytes") as file:
        file.create_dataset("1_features", (4, size // 4), np.uint8, external=[(str(secret), 0, size)])
    with new("virtual") as file:
        layout = h5py.VirtualLayout((4, 8), np.float32)
        layout[:] = h5py.VirtualSource(str(folder / "other.hdf5"), "1_features", (4, 8))
        file.create_virtual_dataset("1_features", layout)
    with new("circle of links") as file:
        file["1_features"], file["2_features"] = h5py.SoftLink("/2_features"), h5py.SoftLink("/1_features")
    with new("group") as file:
        file.create_group("1_features").attrs["shape"] = (4, 8)
    with new("group within itself") as file:
        file["1_features"] = file["/"]
    with new("bomb") as file:
        options: dict[str, Any] = {"chunks": (1, 1 << 20), "compression": "gzip", "fillvalue": 1.0}
        file.create_dataset("1_features", (1 << 20, 1 << 20), np.float32, **options)
    with new("small bomb") as file:
        file.create_dataset("1_features", (1 << 14, 1 << 16), np.float32, chunks=(1, 1 << 16), compression="gzip")
    for name, values in {
        "objects": np.array([["a"] * 8] * 4, dtype=object),
        "text": np.array([[b"a"] * 8] * 4),
        "complex": np.ones((4, 8), np.complex64),
        "compound": np.zeros((4, 8), [("a", "f4"), ("b", "i4")]),
        "one number": np.float32(1),
        "no row": np.zeros((0, 8), np.float32),
        "no width": np.zeros((4, 0), np.float32),
        "three axes": np.zeros((2, 4, 8), np.float32),
        "not a number": np.full((4, 8), np.nan, np.float32),
        "too large": np.full((4, 8), 1e300),
    }.items():
        with new(name) as file:
            kind = h5py.string_dtype() if values.dtype == object else values.dtype
            file.create_dataset("1_features", data=values, dtype=kind)
    with new("nothing") as file:
        file.create_dataset("1_features", data=h5py.Empty("f4"))
    with new("no image") as file:
        file["other"] = np.ones(3)
    with new("facts that are a bomb") as file:
        file["1_features"] = np.ones((4, 8), np.float32)
        file.attrs.create("hlcli", "[" * 60_000, dtype=h5py.string_dtype())
    return made


@contextmanager
def watched_files() -> Iterator[list[str]]:
    """The names of all files that this process opens, and the hosts that it calls, while the block runs."""
    seen: list[str] = []
    _watchers.append(seen)
    if len(_installed) == 0:
        sys.addaudithook(_note)  # stays for ever; it does nothing while nobody watches
        _installed.append(True)
    try:
        yield seen
    finally:
        _watchers.remove(seen)


_watchers: list[list[str]] = []
_installed: list[bool] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watchers and event in ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo"):
        for seen in _watchers:
            seen.append(f"{event} {arguments[0] if event != 'socket.connect' else arguments[1]!s}")
