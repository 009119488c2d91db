"""Label graphs, how alike the texts of labels are: making them (`embed_graph`), writing and reading their file.

HSPNet (Wang et al., ACM MM 2023) lets labels, and the parents above them, exchange features along such a graph.
`label_graph.safetensors` holds one tensor, `relation` [L+P, L+P] float32 (L labels, then their P parents), and in its
metadata, under `hlcli`, a JSON document with their names. See docs/label_graphs.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit_length

from hlcli.data.data_set_names import as_data_section
from hlcli.data.datasets.with_parents import DataWithParents
from hlcli.data.labels import LabelSpace
from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.embeddings.table_files import Content, FileKind, check_exists, check_names, read_array, to_float32
from hlcli.embeddings.texts import PHOTO_TEMPLATE, PREPARED_GRAPH, TextRules, label_texts, label_words
from hlcli.embeddings.vectors import (
    Neighbour,
    check_cosines,
    check_label_embeddings,
    current_labels,
    encode_texts,
    nearest_labels,
    warn_of_equals,
)
from hlcli.errors import DataError, InputError
from hlcli.files import sha256_of
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

_DEFAULT_ENCODER = "clip:RN50-quickgelu"
_DEFAULT_TEMPLATE = PHOTO_TEMPLATE
_FLAT_PARENT = "object"
"""What stands above all labels of a data set without parents."""

_FILE = FileKind(
    title="a label graph",
    name=PREPARED_GRAPH,
    tensor="relation",
    lists=("labels", "parents", "texts"),
    first="Run `hlcli embed graph DATASET` first, or set model.graph: to another file, or to clip, which needs none.",
    again="Run `hlcli embed graph DATASET --overwrite`, with the recipe's data keys (--set hierarchy=true or "
    "FILE.yaml, …).",
)
_ARRAY = "A graph holds the cosines of all labels, then of their parents, with each other."
_PARENTS = "Parents are the level above the labels;"
_TREES = "data.hierarchy=true puts published parents there, data.hierarchy=FILE.yaml a tree of your own."


class LabelGraph(NamedTuple):
    """How alike labels are, and their parents, and how that was found.

    Args:
        relation: [L+P, L+P] float32, symmetric, ones on the diagonal; the labels, then the parents.
        label_names: the labels, in target order.
        parent_names: the level above them.
        texts: the words that stood for each of both; none where that is not known.
        encoder: its name, as `--encoder` takes it, or the file of a published graph.
        settings: JSON-ready facts on how it was used.
    """

    relation: Tensor
    label_names: tuple[str, ...]
    parent_names: tuple[str, ...]
    texts: tuple[str, ...]
    encoder: str
    settings: dict[str, Any]

    def nearest(self, count: int) -> tuple[dict[str, list[Neighbour]], dict[str, list[Neighbour]]]:
        """For every label the `count` most similar other labels, and for every parent such other parents."""
        size = len(self.label_names)
        labels = nearest_labels(self.relation[:size, :size], self.label_names, count)
        return labels, nearest_labels(self.relation[size:, size:], self.parent_names, count)


def embed_graph(
    data: DataSection | str,
    encoder: str | None = None,
    *,
    templates: Sequence[str] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    texts: TextRules | None = None,
    options: EncoderOptions | None = None,
) -> tuple[Path, LabelGraph]:
    """Write the graph of a data set's fine labels and their parents: the cosines of their texts.

    Args:
        data: the data set, or its name; its labels are the store's if it is prepared.
        encoder: see `make_encoder`; default CLIP's RN50.
        templates: sentences around every text, which takes the place of `{}`; of several a text's mean counts; default
            `a photo of a {}.`
        out: file to write; default `label_graph.safetensors` in the data set's folder.
        overwrite: replace it if it is there.
        texts: how names become text; underscores become blanks unless `verbatim`, and nothing else is changed.
        options: what only some encoders know.

    Returns:
        The file and the graph in it.

    Raises:
        HlcliError: when the labels, the encoder or the file cannot be used; the kind says why.

    Examples:
        >>> file, graph = hlcli.embed_graph("shapes", "glove:vectors.txt", templates=["{}"], out="graph.safetensors")
        >>> graph.relation.shape  # 12 labels and their 5 parents
        torch.Size([17, 17])
    """
    data = as_data_section(data)
    encoder = encoder or _DEFAULT_ENCODER
    templates = (_DEFAULT_TEMPLATE,) if templates is None else templates
    path = _FILE.target(data, out, overwrite=overwrite)
    labels = _labels_of(data)
    names = (*labels.label_names, *parents_of(labels)[0])
    words = label_words(names, texts)
    directions, facts = _encode(names, words, templates, encoder, options or EncoderOptions())
    count = labels.num_labels
    for level in (slice(count), slice(count, None)):  # a label may well be called as a parent is
        warn_of_equals(directions[level], names[level])
    settings = {**facts, "templates": list(templates)}
    graph = LabelGraph(_cosines(directions), names[:count], names[count:], words, encoder, settings)
    write_label_graph(path, graph)
    return path, graph


def import_graph(
    data: DataSection | str, source: str | Path, *, out: str | Path | None = None, overwrite: bool = False
) -> tuple[Path, LabelGraph]:
    """Write a published graph, an `.npy` array [L+P, L+P] without names, as the graph of a data set.

    Args:
        data: the data set, or its name; its labels are the store's if it is prepared.
        source: the array; its rows must be in the order of the labels, then of their parents.
        out: file to write; default `label_graph.safetensors` in the data set's folder.
        overwrite: replace it if it is there.

    Returns:
        The file and the graph in it.

    Raises:
        HlcliError: when the array is no such graph, or the file cannot be written; the kind says why.
    """
    data, source = as_data_section(data), Path(source)
    path = _FILE.target(data, out, overwrite=overwrite)
    if source.suffix != ".npy":
        raise InputError(f"--from: the name of an .npy file was expected (got {str(source)!r}).")
    labels = _labels_of(data)
    relation = _read_published(
        source, labels, missing="Is --from its path?", other=f"{_PARENTS} {_way_to_parents(data)}."
    )
    settings = {"sha256": sha256_of(source)}
    graph = LabelGraph(relation, labels.label_names, parents_of(labels)[0], (), source.name, settings)
    write_label_graph(path, graph)
    return path, graph


def parents_of(labels: LabelSpace) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the level directly above the fine labels, and the parent index of every fine label.

    Labels without a level above them have one parent, `object`.
    """
    fine = labels.levels[-1]
    if fine.parent_index is None:
        return (_FLAT_PARENT,), (0,) * len(fine)
    return labels.levels[-2].label_names, fine.parent_index


def _labels_of(data: DataSection) -> LabelSpace:
    labels = current_labels(data)
    if len(labels.levels) == 1:
        text = "%s has no level above its labels: one parent, %r. For others, %s."
        logger.info(text, data.name, _FLAT_PARENT, _way_to_parents(data))
    return labels


def _way_to_parents(data: DataSection) -> str:
    """How a data set gets a level above its labels."""
    if "hierarchy" not in type(data).model_fields:
        return f"that of {data.name} is fixed"
    if isinstance(data, DataWithParents):
        return "--set hierarchy=true puts the published ones there"
    return "--set hierarchy=FILE.yaml takes a tree of your own"


def _encode(
    names: Sequence[str], words: Sequence[str], templates: Sequence[str], encoder: str, options: EncoderOptions
) -> tuple[Tensor, dict[str, Any]]:
    """Directions [L+P, E] float64 of length 1, and how the encoder works; every sentence is encoded once."""
    if not templates:
        raise ValueError("Expected at least one template, but got none.")
    sentences = [label_texts(words, TextRules(template=one, verbatim=True, numbers=True)) for one in templates]
    different = tuple(dict.fromkeys(text for row in sentences for text in row))
    made = make_encoder(encoder, different, options)
    vectors = encode_texts(made, different)
    place = {text: index for index, text in enumerate(different)}
    total = torch.zeros(len(names), vectors.shape[1], dtype=torch.float64)
    for row in sentences:
        rows = vectors[[place[text] for text in row]]
        check_label_embeddings(rows, names, source=encoder)
        total += unit_length(rows.double(), dim=1)
    check_label_embeddings(total, names, source=encoder)
    return unit_length(total, dim=1), made.settings


def _cosines(directions: Tensor) -> Tensor:
    """Cosines [N, N] float32 of vectors of length 1; exactly symmetric, with ones on the diagonal."""
    products = directions @ directions.T
    return ((products + products.T) / 2).clamp(-1, 1).fill_diagonal_(1).float()


def write_label_graph(path: Path, graph: LabelGraph) -> None:
    """Write the file of a label graph; it appears when it is whole. Identical graphs give identical bytes."""
    lists = (graph.label_names, graph.parent_names, graph.texts)
    _FILE.write(path, Content(graph.relation, lists, graph.encoder, graph.settings))


def open_label_graph(path: Path) -> LabelGraph:
    """Read what `write_label_graph` wrote, whatever its labels.

    Raises:
        DataError: when the file is missing, damaged, or something else.
    """
    relation, (label_names, parent_names, texts), encoder, settings = _FILE.read(path)
    _check_relation(relation, len(label_names), len(parent_names), source=path, hint=_FILE.again, other=_FILE.again)
    return LabelGraph(relation, label_names, parent_names, texts, encoder, settings)


def describe_label_graph(path: Path) -> str:
    """File, sha256, and for our own files encoder and settings, in a line.

    Raises:
        DataError: when the file is missing, damaged, or something else.
    """
    return _FILE.describe(path, open_label_graph)


def read_label_graph(path: Path, labels: LabelSpace) -> Tensor:
    """How alike the fine labels and their parents are, [L+P, L+P] float32, in their order.

    Args:
        path: our own file, or a published `.npy` (an array without names).
        labels: the label space that it must be made for.

    Raises:
        DataError: when the file cannot be read, or belongs to another label space.
    """
    if path.suffix == ".npy":
        return _read_published(path, labels, missing=_FILE.first, other=f"{_PARENTS} {_TREES}")
    graph = open_label_graph(path)
    check_names(path, graph.label_names, labels.label_names, hint=_FILE.again)
    check_names(path, graph.parent_names, parents_of(labels)[0], hint=_FILE.again, kind="parent")
    return graph.relation


def _read_published(path: Path, labels: LabelSpace, *, missing: str, other: str) -> Tensor:
    """An array without names as a graph; hints for a file that is missing, and for one of other labels."""
    check_exists(path, hint=missing)
    array = read_array(path)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: an array of numbers was expected, got {array.dtype}.", _ARRAY)
    relation = to_float32(array)
    _check_relation(relation, labels.num_labels, len(parents_of(labels)[0]), source=path, hint=_ARRAY, other=other)
    logger.warning(
        "%s holds no names: that its rows are the labels in order, then their parents, is not checked.", path
    )
    return relation


def _check_relation(
    relation: Tensor, num_labels: int, num_parents: int, *, source: Path, hint: str, other: str
) -> None:
    """Refuse what cannot be the cosines of that many labels and parents; hints for no cosines and for other labels."""
    size = num_labels + num_parents
    if relation.shape != (size, size):
        raise DataError(
            f"{source}: {size} rows and columns were expected, for {num_labels} labels and {num_parents} parents, got "
            f"shape {list(relation.shape)}.",
            other,
        )
    check_cosines(relation, source=source, hint=hint)
