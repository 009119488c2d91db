from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import text_models
import torch
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.embeddings.graphs import (
    LabelGraph,
    embed_graph,
    import_graph,
    parents_of,
    read_label_graph,
)
from hlcli.embeddings.texts import TextRules
from hlcli.errors import DataError, InputError

from .graph_parts import (
    LABELS,
    NAMES,
    TREE,
    given_glove,  # noqa: F401
    published,
    section,
)

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
def test_parents_are_numbered_as_in_the_published_index_arrays(name: str):
    index, parents = PUBLISHED[name]
    assert parents_of(published(name)) == (parents, index)


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
    with pytest.raises(DataError, match=r"no label of the data set: things\. Did you mean thing\?"):
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


# The rest


def test_neighbours_are_looked_for_on_the_same_level():
    relation = torch.eye(5)
    relation[0, 1] = relation[1, 0] = 0.5
    relation[0, 2] = relation[2, 0] = 0.25
    relation[0, 3] = relation[3, 0] = 0.75
    graph = LabelGraph(relation, ("a", "b", "c"), ("a", "d"), (), "x", {})
    labels, parents = graph.nearest(2)
    assert labels["a"] == [("b", 0.5), ("c", 0.25)]
    assert parents == {"a": [("d", 0.0)], "d": [("a", 0.0)]}


def test_it_is_a_public_name():
    assert hlcli.embed_graph is embed_graph
