"""Files of label graphs: our own, and published arrays without names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hlcli.data.labels import LabelSpace
from hlcli.embeddings.graphs import (
    LabelGraph,
    describe_label_graph,
    embed_graph,
    import_graph,
    open_label_graph,
    parents_of,
    read_label_graph,
    write_label_graph,
)
from hlcli.errors import DataError, InputError
from hlcli.recipe import read_section

from .graph_parts import (
    LABELS,
    NAMES,
    TREE,
    given_glove,  # noqa: F401
    published,
    random_cosines,
    section,
)

# Reading it


def test_a_graph_comes_back_with_names_texts_and_the_way_it_was_made(tmp_path: Path, glove: str):
    path, graph = embed_graph(section(tmp_path, TREE), glove, templates=["{}"])
    found = open_label_graph(path)
    assert torch.equal(found.relation, graph.relation)
    assert found[1:] == graph[1:]
    assert found.settings == {"words": "sum", "templates": ["{}"]}
    assert list(load_file(path)) == ["relation"]
    assert torch.equal(read_label_graph(path, LABELS), graph.relation)
    line = describe_label_graph(path)
    assert line.startswith(f"{path}; sha256 ")
    assert line.endswith(f"; {glove}; words sum, templates ['{{}}']")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"animal": ["dog", "cat"], "person": ["person"], "thing": ["potted plant"]},
            "label 0 is 'cat' there and 'dog'",
        ),
        ({"beast": ["cat", "dog"], "person": ["person"], "thing": ["potted plant"]}, "parent 0 is 'animal' there and"),
        ({"animal": ["cat", "dog", "person", "potted plant"]}, "other parents: it has 3, the data set 1"),
        ({"animal": ["cat", "dog", "person"]}, "other labels: it has 4, the data set 3"),
    ],
)
def test_a_graph_of_other_labels_or_parents_is_refused(tmp_path: Path, tree: dict[str, list[str]], message: str):
    path = tmp_path / "g.safetensors"
    write_label_graph(
        path, LabelGraph(random_cosines(7), *(parts := (tuple(NAMES[:4]), tuple(NAMES[4:]))), (), "x", {})
    )
    assert parts == (LABELS.label_names, parents_of(LABELS)[0])
    with pytest.raises(DataError, match=message) as caught:
        read_label_graph(path, LabelSpace.from_tree(tree))
    assert "hlcli embed graph" in str(caught.value.hint)


def test_files_of_something_else_are_refused(tmp_path: Path):
    path = tmp_path / "g.safetensors"
    with pytest.raises(DataError, match=r"g\.safetensors is missing.*hlcli embed graph"):
        read_label_graph(path, LABELS)
    with pytest.raises(DataError, match=r"g\.safetensors is missing"):
        describe_label_graph(path)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="is not a file of a label graph"):
        read_label_graph(path, LABELS)
    save_file({"relation": torch.eye(7)}, path, {"hlcli": json.dumps({"labels": NAMES[:4]})})
    with pytest.raises(DataError, match="is not a file of a label graph"):
        read_label_graph(path, LABELS)
    write_label_graph(path, LabelGraph(torch.eye(6), tuple(NAMES[:4]), tuple(NAMES[4:]), (), "x", {}))
    with pytest.raises(DataError, match=r"for 4 labels and 3 parents, got shape \[6, 6\]"):
        read_label_graph(path, LABELS)


# Published arrays


@pytest.mark.parametrize(("name", "size"), [("coco", 92), ("voc2012", 24), ("nuswide", 87), ("cub", 332)])
def test_a_published_array_is_taken_bit_for_bit(tmp_path: Path, name: str, size: int, caplog: pytest.LogCaptureFixture):
    relation = random_cosines(size)
    relation = (relation + relation.T) / 2 * (1 - 2e-6)  # their diagonals are off by rounding too
    np.save(tmp_path / "relation.npy", relation.numpy())
    labels = published(name)
    assert torch.equal(read_label_graph(tmp_path / "relation.npy", labels), relation)
    assert "holds no names" in caplog.text
    with pytest.raises(DataError, match=rf"and 1 parents, got shape \[{size}, {size}\]") as caught:
        read_label_graph(tmp_path / "relation.npy", published(name, hierarchy=False))
    assert "data.hierarchy=true" in str(caught.value.hint)
    data = read_section("data", {"dataset": name, "hierarchy": True, "root": str(tmp_path)}, [], source="test")
    path, graph = import_graph(data, tmp_path / "relation.npy")
    assert torch.equal(read_label_graph(path, labels), relation)
    assert graph.encoder == "relation.npy"
    assert describe_label_graph(tmp_path / "relation.npy").endswith(f"; sha256 {graph.settings['sha256']}")


def changed(row: int, column: int, value: float) -> np.ndarray:
    array = random_cosines(7).numpy()
    array[row, column] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.eye(8), r"7 rows and columns were expected, for 4 labels and 3 parents, got shape \[8, 8\]"),
        (np.ones((7, 8)), r"got shape \[7, 8\]"),
        (np.float32(1), r"got shape \[\]"),
        (changed(0, 1, 0.5), "it is not symmetric"),
        (changed(2, 2, 0.9998), "its diagonal is not 1"),
        (np.eye(7) * 4 - 3, "not all entries lie between -1 and 1"),
        (changed(3, 3, np.nan), "not all entries are finite"),
        (np.full((7, 7), 1e300), "not all entries are finite"),
        (np.eye(7) > 0, "an array of numbers was expected, got bool"),
        (np.array([[None]]), "is not an array"),
    ],
)
def test_arrays_that_are_no_cosines_of_the_labels_are_refused(tmp_path: Path, array: np.ndarray, message: str):
    np.save(tmp_path / "r.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_label_graph(tmp_path / "r.npy", LABELS)
    data = section(tmp_path, TREE)
    with pytest.raises(DataError, match=message):
        import_graph(data, tmp_path / "r.npy")
    assert not data.folder().exists()


def test_what_is_imported_is_mended_where_it_comes_from(tmp_path: Path):
    data = section(tmp_path, TREE)
    np.save(tmp_path / "small.npy", np.eye(3))
    np.save(tmp_path / "skew.npy", changed(0, 1, 0.5))
    for name, hint in (
        ("gone.npy", "Is --from its path?"),
        ("small.npy", "Parents are the level above the labels; --set hierarchy=FILE.yaml takes a tree of your own."),
        ("skew.npy", "A graph holds the cosines of all labels, then of their parents, with each other."),
    ):
        with pytest.raises(DataError) as caught:
            import_graph(data, tmp_path / name)
        assert caught.value.hint == hint
    coco = read_section("data", {"dataset": "coco", "root": str(tmp_path)}, [], source="test")
    with pytest.raises(DataError, match="--set hierarchy=true puts the published ones there"):
        import_graph(coco, tmp_path / "small.npy")


def test_a_graph_that_is_missing_can_be_done_without(tmp_path: Path):
    with pytest.raises(DataError, match=r"or set model\.graph: to another file, or to clip, which needs none"):
        read_label_graph(tmp_path / "gone.safetensors", LABELS)


def test_only_an_array_is_imported(tmp_path: Path):
    with pytest.raises(InputError, match=r"--from: the name of an \.npy file was expected \(got 'graph\.csv'\)"):
        import_graph(section(tmp_path, TREE), Path("graph.csv"))
