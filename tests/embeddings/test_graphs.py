from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_models
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.embeddings.graphs import (
    LabelGraph,
    describe_label_graph,
    embed_graph,
    import_graph,
    nearest_of,
    open_label_graph,
    parents_of,
    read_label_graph,
    write_label_graph,
)
from hlcli.embeddings.texts import TextRules
from hlcli.errors import DataError, InputError
from hlcli.recipe import read_section
from hlcli.sections import DataSection

TREE = {"animal": ["cat", "dog"], "person": ["person"], "thing": ["potted plant"]}
LABELS = LabelSpace.from_tree(TREE)
NAMES = ["cat", "dog", "person", "potted plant", "animal", "person", "thing"]
WORDS = "person 0.5 0.5 1\nanimal 1 0.5 0\nthing -1 2 0\nobject 0 0 1\n"


@pytest.fixture
def glove(tmp_path: Path) -> str:
    return f"glove:{text_models.write_glove(tmp_path / 'words.txt', extra=WORDS)}"


def section(tmp_path: Path, tree: dict[str, list[str]] | None = None, **keys: Any) -> DataSection:
    """A data set `folder` with one image per label, and a tree of them if there is one."""
    names = [name for group in (tree or TREE).values() for name in group]
    (tmp_path / "labels.csv").write_text(
        "image,labels\n" + "".join(f"{n}.jpg,{name}\n" for n, name in enumerate(names))
    )
    if tree is not None:
        (tmp_path / "tree.yaml").write_text(json.dumps(tree))
        keys["hierarchy"] = str(tmp_path / "tree.yaml")
    values = {"dataset": "folder", "root": str(tmp_path), "images": str(tmp_path), **keys}
    return read_section("data", values | {"labels": str(tmp_path / "labels.csv")}, [], source="test")


def published(name: str, *, hierarchy: bool = True) -> LabelSpace:
    return read_section("data", {"dataset": name, "hierarchy": hierarchy}, [], source="test").label_space()


def random_cosines(size: int) -> torch.Tensor:
    directions = torch.nn.functional.normalize(torch.rand(size, 512, generator=torch.manual_seed(0)), dim=1)
    return directions @ directions.T


# Parents


def test_parents_are_the_level_directly_above_the_fine_labels():
    assert parents_of(LABELS) == (("animal", "person", "thing"), (0, 0, 1, 2))
    deep = LabelSpace.from_tree({"all": {"animal": ["cat", "dog"], "plant": ["tree"]}})
    assert parents_of(deep) == (("animal", "plant"), (0, 0, 1))


def test_labels_without_a_level_above_them_have_one_parent():
    assert parents_of(LabelSpace.flat(("a", "b", "c"))) == (("object",), (0, 0, 0))


VOC = ((0, 0, 2, 0, 1, 0, 0, 2, 1, 2, 1, 2, 2, 0, 3, 1, 2, 1, 0, 1), ("vehicles", "household", "animals", "person"))
PUBLISHED = {
    "voc2007": VOC,
    "voc2012": VOC,
    "nuswide": (
        (
            2, 4, 2, 4, 4, 4, 4, 2, 2, 4, 2, 4, 2, 2, 4, 4, 4, 0, 4, 0, 4, 0, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 4, 2, 2, 4,
            5, 3, 2, 2, 2, 2, 3, 4, 2, 3, 0, 2, 2, 2, 2, 4, 0, 4, 4, 2, 2, 0, 1, 4, 2, 4, 2, 0, 0, 3, 2, 4, 4, 2, 4, 4,
            4, 2, 4, 2, 2, 0, 4, 2, 4,
        ),
        ("activity", "program", "scene", "people", "object", "graphics"),
    ),
    "coco": (
        tuple(np.repeat(range(12), (1, 8, 5, 10, 5, 10, 7, 10, 6, 6, 5, 7)).tolist()),
        (
            "person", "vehicle", "outdoor", "animal", "accessory", "sports", "kitchen", "food", "furniture",
            "electronic", "appliance", "indoor",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_groups_are_numbered_as_in_the_published_index_arrays(name: str):
    index, groups = PUBLISHED[name]
    assert parents_of(published(name)) == (groups, index)


# Making a graph


def test_entries_are_cosines_of_the_texts_labels_first_then_parents(tmp_path: Path, glove: str):
    path, graph = embed_graph(section(tmp_path, TREE), glove, templates=["{}"])
    assert path == tmp_path / "folder" / "label_graph.safetensors"
    assert graph.label_names + graph.parent_names == tuple(NAMES) == graph.texts
    encoder = make_encoder(glove, NAMES, EncoderOptions())
    for row, name in enumerate(NAMES):
        for column, other in enumerate(NAMES):
            expected = cosine_similarity(encoder.encode(name), encoder.encode(other), dim=0)
            assert graph.relation[row, column].item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_clip_model_gives_a_symmetric_graph_in_which_equal_names_have_cosine_one(tmp_path: Path):
    weights = text_models.write_clip(tmp_path / "clip")
    encoder = f"clip:tiny-clip/{weights}"
    _, graph = embed_graph(section(tmp_path, TREE), encoder)
    relation = graph.relation
    assert relation.dtype == torch.float32
    assert relation.shape == (7, 7)
    assert torch.equal(relation, relation.T)
    assert torch.equal(relation.diagonal(), torch.ones(7))
    assert relation[2, 5] == 1  # person, as a label and as a parent
    assert torch.equal(relation[2], relation[5])
    assert torch.linalg.eigvalsh(relation.double()).min() > -1e-6
    cat, dog = (make_encoder(encoder, [], EncoderOptions()).encode(f"a photo of a {name}.") for name in ("cat", "dog"))
    assert_close(relation[0, 1], cosine_similarity(cat, dog, dim=0), rtol=0, atol=1e-6)
    assert graph.settings["templates"] == ["a photo of a {}."]


def test_of_several_templates_the_mean_direction_counts(tmp_path: Path):
    weights = text_models.write_clip(tmp_path / "clip")
    encoder, templates = f"clip:tiny-clip/{weights}", ("{}", "a blurry {}", "many of {} here")
    _, graph = embed_graph(section(tmp_path, TREE), encoder, templates=templates)
    encode = make_encoder(encoder, [], EncoderOptions()).encode
    means = []
    for name in NAMES:
        vectors = [encode(template.format(name)) for template in templates]
        means.append(sum(vector / vector.norm() for vector in vectors) / 3)
    expected = torch.stack([mean / mean.norm() for mean in means])
    assert_close(graph.relation, expected @ expected.T, rtol=0, atol=1e-6)


def test_underscores_become_blanks_and_nothing_else_changes(tmp_path: Path):
    words = tmp_path / "words.txt"
    words.write_text("hot 1 0\ndog 0 1\nhot_dog 2 1\npottedplant -1 1\nfood 1 1\n")
    data = section(tmp_path, {"food": ["hot_dog", "pottedplant"]})
    _, graph = embed_graph(data, f"glove:{words}", templates=["{}"])
    assert graph.texts == ("hot dog", "pottedplant", "food")
    assert graph.relation[0, 2] == 1
    rules = TextRules(verbatim=True)
    _, graph = embed_graph(data, f"glove:{words}", templates=["{}"], texts=rules, overwrite=True)
    assert graph.texts == ("hot_dog", "pottedplant", "food")
    assert graph.relation[0, 2] < 1


def test_texts_of_labels_and_parents_can_be_given(tmp_path: Path, glove: str):
    (tmp_path / "names.yaml").write_text("thing: horse\ncat: dog\n")
    rules = TextRules(tmp_path / "names.yaml")
    _, graph = embed_graph(section(tmp_path, TREE), glove, templates=["{}"], texts=rules)
    assert graph.texts == ("dog", "dog", "person", "potted plant", "animal", "person", "horse")
    (tmp_path / "names.yaml").write_text("things: horse\n")
    with pytest.raises(DataError, match=r"no labels of the data set: things\. Did you mean thing\?"):
        embed_graph(section(tmp_path, TREE), glove, texts=rules, overwrite=True)


def test_words_that_cannot_be_told_apart_are_named_but_not_a_label_and_its_parent(
    tmp_path: Path, glove: str, caplog: pytest.LogCaptureFixture
):
    embed_graph(section(tmp_path, TREE), glove, templates=["{}"])
    assert "apart" not in caplog.text
    (tmp_path / "names.yaml").write_text("cat: dog\n")
    rules = TextRules(tmp_path / "names.yaml")
    embed_graph(section(tmp_path, TREE), glove, templates=["{}"], texts=rules, overwrite=True)
    assert "cannot tell 2 labels apart: cat, dog." in caplog.text


def test_a_flat_data_set_gets_one_parent(tmp_path: Path, glove: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    data = section(tmp_path)
    path, graph = embed_graph(data, glove, templates=["{}"])
    assert "--set hierarchy=FILE.yaml takes a tree" in caplog.text
    assert graph.parent_names == ("object",)
    assert graph.relation.shape == (5, 5)
    assert torch.equal(read_label_graph(path, data.label_space()), graph.relation)


def test_templates_and_vectors_that_make_no_graph_are_refused(tmp_path: Path, glove: str):
    data = section(tmp_path, TREE)
    with pytest.raises(InputError, match=r"--template: one \{\} was expected"):
        embed_graph(data, glove, templates=["{}", "a photo"])
    with pytest.raises(ValueError, match="at least one template"):
        embed_graph(data, glove, templates=[])
    (tmp_path / "names.yaml").write_text("cat: none\n")
    (tmp_path / "words.txt").write_text((tmp_path / "words.txt").read_text() + "none 0 0 0\n")
    with pytest.raises(DataError, match="the vector is zero for 1 of 7 labels: cat"):
        embed_graph(data, glove, templates=["{}"], texts=TextRules(tmp_path / "names.yaml"))
    assert not data.folder().exists()


def test_a_graph_is_not_written_over_unasked(tmp_path: Path, glove: str):
    data = section(tmp_path, TREE)
    path, _ = embed_graph(data, glove, templates=["{}"])
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"exists\. Give --overwrite"):
        embed_graph(data, glove)
    with pytest.raises(DataError, match=r"exists\. Give --overwrite"):
        import_graph(data, tmp_path / "gone.npy")
    embed_graph(data, glove, templates=["{}"], overwrite=True)
    assert path.read_bytes() == before


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


# The rest


def test_neighbours_are_looked_for_on_the_same_level():
    relation = torch.eye(5)
    relation[0, 1] = relation[1, 0] = 0.5
    relation[0, 2] = relation[2, 0] = 0.25
    relation[0, 3] = relation[3, 0] = 0.75
    graph = LabelGraph(relation, ("a", "b", "c"), ("a", "d"), (), "x", {})
    labels, parents = nearest_of(graph, 2)
    assert labels["a"] == [("b", 0.5), ("c", 0.25)]
    assert parents == {"a": [("d", 0.0)], "d": [("a", 0.0)]}


def test_it_is_a_public_name():
    assert hlcli.embed_graph is embed_graph
