"""Label embeddings, vectors of label names: making them (`embed_labels`), writing and reading their file.

`label_embeddings.safetensors` holds one tensor, `embeddings` [L, E] float32, and in its metadata, under `hlcli`, a JSON
document with the labels in order, the text that stood for each, encoder, settings and version. See
docs/label_embeddings.md.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.functional import normalize as unit_length

from hlcli.data.data_set_names import as_data_section
from hlcli.data.labels import LabelSpace
from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.embeddings.table_files import Content, FileKind, check_exists, check_names, read_array, to_float32
from hlcli.embeddings.texts import PREPARED_EMBEDDINGS, TextRules, label_texts
from hlcli.embeddings.vectors import (
    Neighbour,
    check_label_embeddings,
    cosines,
    current_labels,
    encode_texts,
    nearest_labels,
    warn_of_equals,
)
from hlcli.errors import DataError
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

_DEFAULT_ENCODER = "bert-base-uncased"

_FILE = FileKind(
    title="label embeddings",
    name=PREPARED_EMBEDDINGS,
    tensor="embeddings",
    lists=("labels", "texts"),
    first="Run `hlcli embed labels DATASET` first, or set model.label_embeddings.",
    again="Run `hlcli embed labels DATASET --overwrite` again, for the data set of the recipe.",
)


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

    def cosines(self) -> Tensor:
        """Cosines [L, L] between all vectors."""
        return cosines(self.vectors)

    def nearest(self, count: int) -> dict[str, list[Neighbour]]:
        """For every label the `count` others whose vectors point most nearly its way, nearest first."""
        return nearest_labels(self.cosines(), self.label_names, count)


def embed_labels(
    data: DataSection | str,
    encoder: str = _DEFAULT_ENCODER,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    normalize: bool = False,
    texts: TextRules | None = None,
    options: EncoderOptions | None = None,
) -> tuple[Path, LabelEmbeddings]:
    """Write the vectors of a data set's fine labels.

    Args:
        data: the data set, or its name; its labels are the store's if it is prepared.
        encoder: see `make_encoder`.
        out: file to write; default `label_embeddings.safetensors` in the data set's folder.
        overwrite: replace it if it is there.
        normalize: give all vectors length 1.
        texts: how labels become text; default: as SALGL and SGRE do it.
        options: what only some encoders know.

    Returns:
        The file and the embeddings in it.

    Raises:
        HlcliError: when the labels, the encoder or the file cannot be used; the kind says why.

    Examples:
        >>> file, embeddings = hlcli.embed_labels("shapes", "glove:vectors.txt", out="labels.safetensors")
        >>> embeddings.label_names[:2], embeddings.vectors.shape
        (('tree', 'fir'), torch.Size([12, 4]))
    """
    data = as_data_section(data)
    path, texts = _FILE.target(data, out, overwrite=overwrite), texts or TextRules()
    label_names = current_labels(data).label_names
    wording = label_texts(label_names, texts)
    made = make_encoder(encoder, wording, options or EncoderOptions())
    vectors = encode_texts(made, wording)
    check_label_embeddings(vectors, label_names, source=encoder)
    warn_of_equals(vectors, label_names)
    settings = {**made.settings, "template": texts.template, "normalize": normalize}
    if normalize:
        vectors = unit_length(vectors, dim=1)
    embeddings = LabelEmbeddings(vectors, label_names, wording, encoder, settings)
    write_label_embeddings(path, embeddings)
    return path, embeddings


def write_label_embeddings(path: Path, embeddings: LabelEmbeddings) -> None:
    """Write the file of label embeddings; it appears when it is whole. Identical vectors give identical bytes."""
    lists = (embeddings.label_names, embeddings.texts)
    _FILE.write(path, Content(embeddings.vectors, lists, embeddings.encoder, embeddings.settings))


def open_label_embeddings(path: Path) -> LabelEmbeddings:
    """Read what `write_label_embeddings` wrote, whatever its labels.

    Raises:
        DataError: when the file is missing, damaged, or something else.
    """
    vectors, (label_names, texts), encoder, settings = _FILE.read(path)
    if vectors.ndim != 2 or len(vectors) != len(label_names):
        raise DataError(f"{path}: {len(label_names)} labels, but vectors of shape {list(vectors.shape)}.", _FILE.again)
    return LabelEmbeddings(vectors, label_names, texts, encoder, settings)


def describe_label_embeddings(path: Path) -> str:
    """File, sha256, and for our own files encoder and settings, in a line.

    Raises:
        DataError: when the file is missing, damaged, or something else.
    """
    return _FILE.describe(path, open_label_embeddings)


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
        vectors = _read_vectors(path, labels.num_labels)
    else:
        made = open_label_embeddings(path)
        check_names(path, made.label_names, labels.label_names, hint=_FILE.again)
        vectors = made.vectors
        used = made.settings.get("variant")
        if variant and used and used != variant:
            logger.warning(
                "%s was made with --variant %s; the published %s has its own: `hlcli embed labels DATASET --variant %s "
                "--overwrite`, or a file of its own with --out.", path, used, variant.upper(), variant,
            )  # fmt: skip
    check_label_embeddings(vectors, labels.label_names, source=path)
    return vectors


def _read_vectors(path: Path, num_labels: int) -> Tensor:
    check_exists(path, hint=_FILE.first)
    array = read_array(path)
    if array.ndim != 2 or len(array) != num_labels or array.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: {num_labels} rows of numbers were expected, got {array.dtype} {list(array.shape)}.", _FILE.again
        )
    logger.warning("%s holds no label names: whether its rows are in the order of the labels cannot be checked.", path)
    return to_float32(array)
