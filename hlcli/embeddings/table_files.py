"""The files of label embeddings and label graphs: a tensor with a JSON document on it, or an `.npy` array of others."""

from __future__ import annotations

import json
import tokenize
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hlcli import __version__
from hlcli.errors import DataError
from hlcli.files import check_out_file, sha256_of, whole_file
from hlcli.json_text import parse_json
from hlcli.sections import DataSection

# What NumPy raises for a file that is no array, or whose header promises more than there is.
_NO_ARRAY = (OSError, ValueError, EOFError, MemoryError, ArithmeticError, TypeError, SyntaxError, tokenize.TokenError)

_UNFIT = (SafetensorError, OSError, LookupError, ValueError, TypeError)
"""What reading a file of something else may raise."""


class Content(NamedTuple):
    """What is in a file of either kind: a tensor, lists of words (names and texts), and how they were encoded."""

    tensor: Tensor
    lists: tuple[tuple[str, ...], ...]
    encoder: str
    settings: dict[str, Any]


class FileKind(NamedTuple):
    """A kind of file with a tensor and a JSON document on it.

    Args:
        title: what such a file holds, for messages.
        name: of the file in a data set's folder.
        tensor: name of the tensor.
        lists: keys of the document's lists.
        first: how to get a file that is missing.
        again: how to mend one that does not fit.
    """

    title: str
    name: str
    tensor: str
    lists: tuple[str, ...]
    first: str
    again: str

    def target(self, data: DataSection, out: str | Path | None, *, overwrite: bool) -> Path:
        """The file to write, by default in the data set's folder; refused as `_check_target` says."""
        path = data.folder() / self.name if out is None else Path(out)
        _check_target(path, overwrite=overwrite)
        return path

    def write(self, path: Path, content: Content) -> None:
        """Write a file; it appears when it is whole. Equal content gives equal bytes."""
        document = dict(zip(self.lists, content.lists, strict=True))
        facts = {**document, "encoder": content.encoder, "settings": content.settings, "version": __version__}
        metadata = {"hlcli": json.dumps(facts, ensure_ascii=False)}
        with whole_file(path, "wb") as handle:
            handle.write(save({self.tensor: content.tensor.float().contiguous()}, metadata))

    def read(self, path: Path) -> Content:
        """Read what `write` wrote.

        Raises:
            DataError: when the file is missing, damaged, or something else.
        """
        check_exists(path, hint=self.first)
        try:
            with safe_open(path, framework="pt") as file:
                tensor, document = file.get_tensor(self.tensor).float(), parse_json((file.metadata() or {})["hlcli"])
            lists = tuple(tuple(document[key]) for key in self.lists)
            if (
                any(type(text) is not str for texts in lists for text in texts)
                or type(document["settings"]) is not dict
            ):
                raise TypeError("names, texts or settings are something else")
            return Content(tensor, lists, document["encoder"], document["settings"])
        except _UNFIT as error:
            raise DataError(f"{path} is not a file of {self.title}: {error}", self.again) from error

    def describe(self, path: Path, opened: Callable[[Path], Any]) -> str:
        """File, sha256, and for our own files, as they are `opened`, encoder and settings, in a line."""
        check_exists(path, hint=self.first)
        words = [str(path), f"sha256 {sha256_of(path)}"]
        if path.suffix == ".safetensors":
            made = opened(path)
            facts = (f"{name} {value}" for name, value in made.settings.items() if value is not None)
            words += [made.encoder, ", ".join(facts)]
        return "; ".join(words)


def _check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before any work is done.

    Raises:
        InputError: for a folder, another kind of file, or a place that cannot be written.
        DataError: when it is there and not to be replaced.
    """
    check_out_file(path, (".safetensors",))
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists.", "Give --overwrite to replace it.")


def check_names(path: Path, found: Sequence[str], expected: Sequence[str], *, hint: str, kind: str = "label") -> None:
    """Refuse a file made for other labels, at the first difference."""
    if tuple(found) == tuple(expected):
        return
    other = f"{path} was made for other {kind}s"
    for index, (name, wanted) in enumerate(zip(found, expected, strict=False)):
        if name != wanted:
            raise DataError(f"{other}: {kind} {index} is {name!r} there and {wanted!r} in the data set.", hint)
    raise DataError(f"{other}: it has {len(found)}, the data set {len(expected)}.", hint)


def check_exists(path: Path, *, hint: str) -> None:
    """Refuse a file that is not there.

    Raises:
        DataError: with the hint; its cause, a `FileNotFoundError`, tells it from errors of files that are there.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing.", hint) from FileNotFoundError(path)


def read_array(path: Path) -> np.ndarray:
    """The array of an `.npy` file, read as numbers and never as a program.

    Raises:
        DataError: when there is none in it.
    """
    try:
        with open(path, "rb") as handle, np.errstate(all="ignore"):
            array: np.ndarray = np.lib.format.read_array(handle, allow_pickle=False)
    except _NO_ARRAY as error:
        raise DataError(f"{path} is not an array: {error}") from error
    return array


def to_float32(array: np.ndarray) -> Tensor:
    """An array of numbers; what float32 cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return torch.from_numpy(array.astype(np.float32))
