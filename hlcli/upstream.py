"""Read checkpoint files that other programs wrote, without running anything that is in them."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hlcli.errors import CheckpointError, named
from hlcli.torch_files import DAMAGE, check_sums, without_advice

_CONTAINERS = ("state_dict", "model")


class _NumberKind:
    """Takes the place of `numpy.dtype`, whose `__setstate__` dies of values that it does not expect."""

    def __init__(self, kind: str, *_: object) -> None:
        if not re.fullmatch(r"[biuf][1248]", kind):
            raise ValueError(f"a NumPy number of kind {kind!r}")
        self.kind = kind

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.kind = ("<" if state[1] != ">" else ">") + self.kind


class _SomeArray:
    """Takes the place of NumPy arrays, which nobody needs: weights are tensors, scores are numbers."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _number(kind: _NumberKind, content: bytes) -> float | int | bool:
    """Takes the place of NumPy's function that makes a number of bytes."""
    return np.frombuffer(content, np.dtype(kind.kind))[0].item()


_NUMPY_VALUES: list[Any] = [
    (_NumberKind, "numpy.dtype"),
    (_SomeArray, "numpy.ndarray"),
    *((_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_SomeArray, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""A best score may have been saved as a NumPy number, the state of NumPy's random numbers (HIN) as an array; newer and
older NumPy name their makers differently. NumPy's own unpickling is kept out."""


class _Upstream(NamedTuple):
    """A foreign checkpoint: its weights as they are named there, and what else it says of itself."""

    state: dict[str, Tensor]
    info: dict[str, Any]


def read_upstream(path: Path | str) -> _Upstream:
    """Read a torch or safetensors file; tensors stay on disk until they are used where the format allows it.

    The weights may lie under `state_dict` or `model`, or be the whole file. `info` holds the plain values beside
    them (epoch, scores…).

    Raises:
        CheckpointError: when the file is missing, damaged, no checkpoint, or wants to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file.", "Give a checkpoint file, a run folder or a model folder.")
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected a mapping of names to weights.")
    container = next((name for name in _CONTAINERS if isinstance(content.get(name), Mapping)), None)
    state = content if container is None else content[container]
    strangers = [repr(key) for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strangers or not state:
        found = f"{len(strangers)} entries are no weights: {named(strangers)}" if strangers else "it is empty"
        raise CheckpointError(
            f"{path} is not a state dict: {found}.",
            f"The weights are looked for under {' and '.join(map(repr, _CONTAINERS))}, then in the whole file.",
        )
    odd = [f"{name!r} ({value.layout})" for name, value in state.items() if _is_odd(value)]
    if odd:
        raise CheckpointError(
            f"{path}: {len(odd)} weights are sparse, quantised or nested: {named(odd)}.",
            "Ask its authors for plain (dense) weights.",
        )
    return _Upstream(dict(state), {} if container is None else _plain_values(content))


def _is_odd(value: Tensor) -> bool:
    return value.layout != torch.strided or value.is_quantized or value.is_nested


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}.") from error


def _read_torch(path: Path) -> Any:
    try:
        if is_zip := zipfile.is_zipfile(path):  # old ones are none
            check_sums(path)
        with torch.serialization.safe_globals(_NUMPY_VALUES):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))  # torch's other words tell how to run the code all the same
        raise CheckpointError(
            f"{path} is damaged, is no checkpoint, or asks to run code, which is refused"
            f"{f' (it names {foreign[1]})' if foreign else ''}.",
            "Ask its authors for the bare weights, best as safetensors.",
        ) from error
    except DAMAGE as error:
        raise CheckpointError(f"{path} is damaged or no torch checkpoint: {without_advice(error)}.") from error


def _plain_values(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Numbers and texts of the top level."""
    return {
        key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, int | float | str)
    }
