"""Label embeddings, vectors of label names: making them (`embed_labels`), writing and reading their file.

`label_embeddings.safetensors` holds one tensor, `embeddings` [L, E] float32, and in its metadata, under `hlcli`, a JSON
document with the labels in order, the text that stood for each, encoder, settings and version. See
docs/label_embeddings.md.
"""

from __future__ import annotations

import json
import logging
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import normalize as unit_length

from hlcli import __version__
from hlcli.data.checksums import Checksum
from hlcli.data.labels import LabelSpace
from hlcli.data.store import open_label_space, store_folder
from hlcli.errors import DataError, InputError
from hlcli.files import whole_file
from hlcli.label_encoders.choice import EncoderOptions, make_encoder
from hlcli.label_encoders.loading import Encoder
from hlcli.label_texts import TextRules, label_texts
from hlcli.methods.label_attention import PREPARED
from hlcli.progress import Progress
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

TENSOR = "embeddings"
DEFAULT_ENCODER = "bert-base-uncased"
# What NumPy raises for a file that is no array, or whose header promises more than there is.
_NO_ARRAY = (OSError, ValueError, EOFError, MemoryError, ArithmeticError, TypeError, SyntaxError, tokenize.TokenError)


class LabelEmbeddings(NamedTuple):
    """Vectors of labels and how they were made.

    Args:
        vectors: [L, E] float32.
        label_names: the labels, in target order.
        texts: what the encoder read for each.
        encoder: its name, as `--encoder` takes it.
        settings: JSON-ready facts on how it was used.
    """

    vectors: Tensor
    label_names: tuple[str, ...]
    texts: tuple[str, ...]
    encoder: str
    settings: dict[str, Any]


class Neighbour(NamedTuple):
    """A label close to another one."""

    label: str
    cosine: float


def embed_labels(
    data: DataSection,
    encoder: str = DEFAULT_ENCODER,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    normalize: bool = False,
    texts: TextRules | None = None,
    options: EncoderOptions | None = None,
) -> tuple[Path, LabelEmbeddings]:
    """Write the vectors of a data set's fine labels.

    Args:
        data: the data set; its labels are the store's if it is prepared.
        encoder: see `make_encoder`.
        out: file to write; default `label_embeddings.safetensors` in the data set's folder.
        overwrite: replace it if it is there.
        normalize: give all vectors length 1.
        texts: how labels become text; default: as SALGL and SGRE do it.
        options: what only some encoders know.

    Returns:
        The file and what is in it.

    Raises:
        HlcliError: when the labels, the encoder or the file cannot be used; the kind says why.
    """
    path, texts = out or data.folder() / PREPARED, texts or TextRules()
    _check_target(path, overwrite=overwrite)
    label_names = _current_labels(data).label_names
    wording = label_texts(label_names, texts)
    made = make_encoder(encoder, wording, options or EncoderOptions())
    vectors = _encode_all(made, wording)
    _check_vectors(vectors, label_names, source=encoder)
    _warn_of_equals(vectors, label_names)
    settings = {**made.settings, "template": texts.template, "normalize": normalize}
    if normalize:
        vectors = unit_length(vectors, dim=1)
    embeddings = LabelEmbeddings(vectors, label_names, wording, encoder, settings)
    write_label_embeddings(path, embeddings)
    return path, embeddings


def _check_target(path: Path, *, overwrite: bool) -> None:
    if path.suffix != ".safetensors":
        raise InputError(f"--out: a name that ends in .safetensors was expected (got {str(path)!r}).")
    if path.is_dir():
        raise InputError(f"--out: {path} is a folder; a file was expected.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists.", "Give --overwrite to replace it.")


def _current_labels(data: DataSection) -> LabelSpace:
    """The store's labels if there is a store, else the data set's own."""
    if data.store is not None or (store_folder(data) / "labels.json").is_file():
        return open_label_space(data)
    return data.label_space()


def _encode_all(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """Vectors [L, E], one text at a time as the papers do it: no padding changes a digit."""
    rows = []
    with Progress("Embedding labels", total=len(texts), unit="label") as bar:
        for text in texts:
            rows.append(encoder.encode(text))
            bar.advance()
    return torch.stack(rows).float().cpu()


def _check_vectors(vectors: Tensor, label_names: Sequence[str], *, source: object) -> None:
    """Refuse vectors that a network could not use."""
    finite = vectors.isfinite().all(dim=1)
    for problem, bad in (("is not finite", ~finite), ("is zero", finite & (vectors == 0).all(dim=1))):
        labels = [label_names[row] for row in bad.nonzero().flatten().tolist()]
        if labels:
            shown = ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")
            raise DataError(
                f"{source}: the vector {problem} for {len(labels)} of {len(label_names)} labels: {shown}.",
                "Give other words for these labels: `hlcli embed labels … --names FILE`.",
            )


def _warn_of_equals(vectors: Tensor, label_names: Sequence[str]) -> None:
    groups: dict[bytes, list[str]] = {}
    for name, row in zip(label_names, vectors.numpy(), strict=True):
        groups.setdefault(row.tobytes(), []).append(name)
    for names in groups.values():
        if len(names) > 1:
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            logger.warning("The encoder cannot tell %d labels apart: %s.", len(names), shown)


def write_label_embeddings(path: Path, embeddings: LabelEmbeddings) -> None:
    """Write the file of label embeddings; it appears when it is whole. Identical vectors give identical bytes."""
    document = {
        "labels": embeddings.label_names,
        "texts": embeddings.texts,
        "encoder": embeddings.encoder,
        "settings": embeddings.settings,
        "version": __version__,
    }
    metadata = {"hlcli": json.dumps(document, ensure_ascii=False)}
    with whole_file(path, "wb") as handle:
        handle.write(save({TENSOR: embeddings.vectors.float().contiguous()}, metadata))


def open_label_embeddings(path: Path) -> LabelEmbeddings:
    """Read what `write_label_embeddings` wrote, whatever its labels.

    Raises:
        DataError: when the file is missing, damaged, or something else.
    """
    _check_exists(path)
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {})["hlcli"])
            vectors = file.get_tensor(TENSOR).float()
        label_names, texts = tuple(document["labels"]), tuple(document["texts"])
        made = LabelEmbeddings(vectors, label_names, texts, document["encoder"], document["settings"])
    except (SafetensorError, OSError, LookupError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not a file of label embeddings: {error}", _again()) from error
    if vectors.ndim != 2 or len(vectors) != len(label_names):
        raise DataError(f"{path}: {len(label_names)} labels, but vectors of shape {list(vectors.shape)}.", _again())
    return made


def describe_label_embeddings(path: Path) -> str:
    """File, sha256, and for our own files encoder and settings, in a line.

    Raises:
        DataError: when the file is missing, damaged, or something else.
    """
    _check_exists(path)
    words = [str(path), f"sha256 {Checksum('sha256', '').of_file(path)}"]
    if path.suffix == ".safetensors":
        made = open_label_embeddings(path)
        settings = ", ".join(f"{name} {value}" for name, value in made.settings.items() if value is not None)
        words += [made.encoder, settings]
    return "; ".join(words)


def read_label_embeddings(path: Path, labels: LabelSpace, *, variant: str = "") -> Tensor:
    """Vectors [L, E] float32 of the fine labels, in their order.

    Args:
        path: our own file, or the papers' `.npy` (an array [L, E] without names).
        labels: the label space that they must be made for.
        variant: `--variant` with which BERT's vectors should have been made; another one gets a warning.

    Raises:
        DataError: when the file cannot be read, or belongs to another label space.
    """
    if path.suffix == ".npy":
        vectors = _read_array(path, labels.num_labels)
    else:
        made = open_label_embeddings(path)
        _check_names(path, made.label_names, labels.label_names)
        vectors = made.vectors
        used = made.settings.get("variant")
        if variant and used and used != variant:
            logger.warning(
                "%s was made with --variant %s; the published %s has its own: `hlcli embed labels DATASET --variant %s "
                "--overwrite`, or a file of its own with --out.", path, used, variant.upper(), variant,
            )  # fmt: skip
    _check_vectors(vectors, labels.label_names, source=path)
    return vectors


def _check_names(path: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    if tuple(found) == tuple(expected):
        return
    other = f"{path} was made for other labels"
    for index, (name, wanted) in enumerate(zip(found, expected, strict=False)):
        if name != wanted:
            raise DataError(f"{other}: label {index} is {name!r} there and {wanted!r} in the data set.", _again())
    raise DataError(f"{other}: it has {len(found)}, the data set {len(expected)}.", _again())


def _read_array(path: Path, num_labels: int) -> Tensor:
    _check_exists(path)
    try:
        with open(path, "rb") as handle, np.errstate(all="ignore"):
            array = np.lib.format.read_array(handle, allow_pickle=False)
    except _NO_ARRAY as error:
        raise DataError(f"{path} is not an array: {error}") from error
    if array.ndim != 2 or len(array) != num_labels or array.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: {num_labels} rows of numbers were expected, got {array.dtype} {list(array.shape)}.", _again()
        )
    logger.warning("%s holds no label names: whether its rows are in the order of the labels cannot be checked.", path)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        return torch.from_numpy(array.astype(np.float32))


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing.", "Run `hlcli embed labels DATASET` first, or set model.label_embeddings.")


def _again() -> str:
    return "Run `hlcli embed labels DATASET --overwrite` again, for the data set of the recipe."


def cosines(vectors: Tensor) -> Tensor:
    """Cosines [L, L] between all vectors [L, E]."""
    directions = unit_length(vectors, dim=1)
    return directions @ directions.T


def nearest_labels(embeddings: LabelEmbeddings, count: int) -> dict[str, list[Neighbour]]:
    """For every label the `count` others whose vectors point most nearly its way, nearest first."""
    others = cosines(embeddings.vectors).fill_diagonal_(-torch.inf)
    count = min(count, len(others) - 1)
    names = embeddings.label_names
    found = {}
    for name, row in zip(names, others, strict=True):
        order = row.argsort(descending=True, stable=True)[:count].tolist()
        found[name] = [Neighbour(names[index], row[index].item()) for index in order]
    return found
