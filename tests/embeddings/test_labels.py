from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_models
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.data.store_writing import write_store
from hlcli.embeddings.labels import (
    EncoderOptions,
    LabelEmbeddings,
    TextRules,
    cosines,
    embed_labels,
    open_label_embeddings,
    read_label_embeddings,
    write_label_embeddings,
)
from hlcli.errors import DataError, HlcliError, InputError
from hlcli.recipe import Recipe
from hlcli.sections import DataSection

NAMES = ("cat", "dog", "potted plant")
LABELS = LabelSpace.flat(NAMES)
VECTORS = torch.tensor([[1.0, 0.0, 0.5], [0.75, 0.25, 0.5], [0.125, 3.0, -1.0]])


@pytest.fixture
def glove(tmp_path: Path) -> str:
    return f"glove:{text_models.write_glove(tmp_path / 'words.txt')}"


def made(vectors: torch.Tensor = VECTORS, names: tuple[str, ...] = NAMES) -> LabelEmbeddings:
    return LabelEmbeddings(vectors, names, names, "test", {})


def folder_section(tmp_path: Path, names: tuple[str, ...] = NAMES, **keys: Any) -> DataSection:
    """A data set `folder` with one image per label; labels are in alphabetical order."""
    (tmp_path / "labels.csv").write_text(
        "image,labels\n" + "".join(f"{n}.jpg,{name}\n" for n, name in enumerate(names))
    )
    data = {"dataset": "folder", "root": tmp_path, "images": tmp_path, "labels": tmp_path / "labels.csv", **keys}
    return Recipe.from_dict({"data": data, "model": {"method": "hleg"}}).data


# The file


def test_vectors_come_back_with_names_texts_and_the_way_they_were_made(tmp_path: Path, glove: str):
    path, written = embed_labels(folder_section(tmp_path), glove, options=EncoderOptions(average=True))
    assert path == tmp_path / "folder" / "label_embeddings.safetensors"
    found = open_label_embeddings(path)
    assert_close(found.vectors, written.vectors, rtol=0, atol=0)
    assert found[1:] == (NAMES, NAMES, glove, {"words": "mean", "template": "{}", "normalize": False})
    assert load_file(path)["embeddings"].dtype == torch.float32
    assert_close(read_label_embeddings(path, LABELS), found.vectors, rtol=0, atol=0)


def test_a_network_starts_from_prepared_vectors(tmp_path: Path, glove: str):
    section = folder_section(tmp_path)
    _, written = embed_labels(section, glove)
    recipe = Recipe.from_dict(
        {
            "data": {"dataset": "folder", "images": tmp_path, "labels": tmp_path / "labels.csv", "root": tmp_path},
            "model": {"method": "sgre", "label_embeddings": "prepared", "label_embedding_dim": 3},
        }
    )
    read = recipe.model.read_embeddings(section.label_space(), 3, section.folder())  # type: ignore[union-attr]
    assert_close(read, written.vectors, rtol=0, atol=0)
    with pytest.raises(HlcliError, match=r"have width 3, not 768\. Set model\.label_embedding_dim=3"):
        recipe.model.read_embeddings(section.label_space(), 768, section.folder())  # type: ignore[union-attr]


def test_the_same_vectors_give_the_same_bytes(tmp_path: Path, glove: str):
    section = folder_section(tmp_path)
    first, _ = embed_labels(section, glove)
    second, _ = embed_labels(section, glove, out=tmp_path / "again.safetensors")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat", "potted plant", "dog"), "label 1 is 'dog' there and 'potted plant' in the data set"),
        (("cat", "dog", "Potted plant"), "label 2 is 'potted plant' there and 'Potted plant' in the data set"),
        (("cat", "dog"), "it has 3, the data set 2"),
        (("cat", "dog", "potted plant", "zebra"), "it has 3, the data set 4"),
    ],
)
def test_vectors_of_other_labels_are_refused_at_the_first_difference(
    tmp_path: Path, names: tuple[str, ...], message: str
):
    write_label_embeddings(tmp_path / "v.safetensors", made())
    with pytest.raises(DataError, match=message) as caught:
        read_label_embeddings(tmp_path / "v.safetensors", LabelSpace.flat(names))
    assert "hlcli embed labels" in str(caught.value.hint)


def test_files_of_something_else_are_refused(tmp_path: Path):
    path = tmp_path / "v.safetensors"
    with pytest.raises(DataError, match=r"v\.safetensors is missing.*hlcli embed labels"):
        read_label_embeddings(path, LABELS)
    save_file({"embeddings": VECTORS}, path)
    with pytest.raises(DataError, match="not a file of label embeddings"):
        read_label_embeddings(path, LABELS)
    save_file({"embeddings": VECTORS}, path, {"hlcli": json.dumps({"labels": 3})})
    with pytest.raises(DataError, match="not a file of label embeddings"):
        read_label_embeddings(path, LABELS)
    write_label_embeddings(path, made(VECTORS[:2]))
    with pytest.raises(DataError, match=r"3 labels, but vectors of shape \[2, 3\]"):
        read_label_embeddings(path, LABELS)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="not a file of label embeddings"):
        read_label_embeddings(path, LABELS)


def test_the_papers_arrays_are_read_with_a_word_on_their_missing_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    np.save(tmp_path / "bert.npy", VECTORS.double().numpy())
    vectors = read_label_embeddings(tmp_path / "bert.npy", LABELS)
    assert vectors.dtype == torch.float32
    assert_close(vectors, VECTORS, rtol=0, atol=0)
    assert "holds no label names" in caplog.text


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"3 rows of numbers were expected, got float64 \[2, 3\]"),
        (np.zeros(3), r"got float64 \[3\]"),
        (np.array([["a"], ["b"], ["c"]]), "3 rows of numbers were expected"),
        (np.array([[1, 2], None], dtype=object), "is not an array"),
        (np.array([[1.0], [np.nan], [np.inf]]), "not finite for 2 of 3 labels: dog, potted plant"),
        (np.array([[1.0], [0.0], [2.0]]), "is zero for 1 of 3 labels: dog"),
    ],
)
def test_arrays_that_cannot_be_vectors_of_the_labels_are_refused(tmp_path: Path, array: np.ndarray, message: str):
    np.save(tmp_path / "bert.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_label_embeddings(tmp_path / "bert.npy", LABELS)


# The verb


def test_it_is_a_public_name():
    assert hlcli.embed_labels is embed_labels


def test_a_prepared_store_says_which_labels_there_are(tmp_path: Path, glove: str):
    data = Recipe.from_dict(
        {"data": {"dataset": "intentonomy", "root": str(tmp_path)}, "model": {"method": "hleg"}}
    ).data
    own = data.label_space().label_names
    with pytest.raises(DataError, match=f"no vector for .*{own[0].split()[0]}"):
        embed_labels(data, glove)
    from hlcli.data.records import Record

    record = Record("a", b"", (0,))
    write_store(data.folder() / "store", LABELS, {"train": [record]}, {}, encode=iter)
    path, found = embed_labels(data, glove)
    assert found.label_names == open_label_embeddings(path).label_names == NAMES


def test_texts_are_what_the_rules_say(tmp_path: Path, glove: str):
    section = folder_section(tmp_path, ("cat", "pottedplant"))
    _, found = embed_labels(section, glove, texts=TextRules(template="horse {}"))
    assert found.texts == ("horse cat", "horse potted plant")
    assert found.vectors[0].tolist() == [0.0, 0.0, 0.75]
    assert found.settings["template"] == "horse {}"


def test_normalised_vectors_have_length_one(tmp_path: Path, glove: str):
    _, found = embed_labels(folder_section(tmp_path), glove, normalize=True)
    assert_close(found.vectors.norm(dim=1), torch.ones(3))
    assert_close(found.vectors, VECTORS / VECTORS.norm(dim=1, keepdim=True))


def test_only_the_finest_level_of_a_tree_is_embedded(tmp_path: Path, glove: str):
    (tmp_path / "tree.yaml").write_text("animal: [dog, cat]\nother: [potted plant]\n")
    section = folder_section(tmp_path, hierarchy=tmp_path / "tree.yaml")
    _, found = embed_labels(section, glove)
    assert found.label_names == ("dog", "cat", "potted plant")


def test_labels_that_an_encoder_cannot_use_or_tell_apart_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    words = tmp_path / "words.txt"
    words.write_text("cat 0 0 0\ndog nan 1 1\npotted 1 1 1\nplant 1 1 1\n")
    with pytest.raises(DataError, match=r"words\.txt: the vector is not finite for 1 of 3 labels: dog\."):
        embed_labels(folder_section(tmp_path), f"glove:{words}")
    words.write_text("cat 0 0 0\ndog 2 2 2\npotted 1 1 1\nplant 1 1 1\n")
    with pytest.raises(DataError, match=r"the vector is zero for 1 of 3 labels: cat\."):
        embed_labels(folder_section(tmp_path), f"glove:{words}")
    words.write_text("cat 1 0 0\ndog 2 2 2\npotted 1 1 1\nplant 1 1 1\n")
    embed_labels(folder_section(tmp_path), f"glove:{words}")
    assert "cannot tell 2 labels apart: dog, potted plant." in caplog.text


def test_nothing_is_written_over_and_nothing_half(tmp_path: Path, glove: str):
    section = folder_section(tmp_path)
    path, _ = embed_labels(section, glove)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"exists\. Give --overwrite"):
        embed_labels(section, "glove:gone.txt")
    with pytest.raises(DataError, match=r"gone\.txt cannot be read"):
        embed_labels(section, "glove:gone.txt", overwrite=True)
    assert path.read_bytes() == before
    embed_labels(section, glove, overwrite=True, normalize=True)
    assert path.read_bytes() != before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_target_is_a_safetensors_file(tmp_path: Path, glove: str):
    section = folder_section(tmp_path)
    with pytest.raises(InputError, match=r"--out bert\.npy: the ending must be \.safetensors \(got '\.npy'\)"):
        embed_labels(section, glove, out=Path("bert.npy"))
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        embed_labels(section, glove, out=tmp_path / "d.safetensors", overwrite=True)


# Neighbours


def test_neighbours_are_ordered_by_cosine_and_never_the_label_itself():
    vectors = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 5.0], [-3.0, 0.0]])
    found = made(vectors, ("a", "b", "c", "d")).nearest(2)
    root = 0.5**0.5
    assert [(near.label, pytest.approx(near.cosine, abs=1e-6)) for near in found["a"]] == [("b", root), ("c", 0.0)]
    assert [near.label for near in found["b"]] == ["a", "c"]  # equal: the first one first
    assert [near.label for near in found["d"]] == ["c", "b"]
    assert_close(cosines(vectors).diagonal(), torch.ones(4))


def test_there_are_no_more_neighbours_than_other_labels():
    assert made(VECTORS[:1], ("cat",)).nearest(3) == {"cat": []}
    assert [len(near) for near in made().nearest(9).values()] == [2, 2, 2]


def test_vectors_made_for_the_other_paper_get_a_warning(tmp_path, caplog):
    made = LabelEmbeddings(torch.randn(2, 3), ("a", "b"), ("a", "b"), "bert-base-uncased", {"variant": "salgl"})
    write_label_embeddings(tmp_path / "vectors.safetensors", made)
    with caplog.at_level("WARNING", "hlcli"):
        read_label_embeddings(tmp_path / "vectors.safetensors", LabelSpace.flat("ab"), variant="salgl")
        assert not caplog.records
        read_label_embeddings(tmp_path / "vectors.safetensors", LabelSpace.flat("ab"), variant="sgre")
    assert "was made with --variant salgl; the published SGRE has its own" in caplog.text


@pytest.mark.filterwarnings("error")
def test_files_that_only_look_like_arrays_are_refused(tmp_path: Path):
    path = tmp_path / "bert.npy"
    np.savez(tmp_path / "a.npz", a=np.ones((3, 2)))
    (tmp_path / "a.npz").rename(path)
    headers = [f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({n}, 2)}}".encode() for n in (10**12, 10**40)]
    headers += [b"{'descr': '<f8', 'fortran_order': False, 'shape': (((", b"x" * 20_000]
    contents = [path.read_bytes(), b"", b"\x93NUMPY"]
    contents += [b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header for header in headers]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(DataError, match="is not an array"):
            read_label_embeddings(path, LABELS)
    np.save(path, np.float64(1))
    with pytest.raises(DataError, match="3 rows of numbers were expected"):
        read_label_embeddings(path, LABELS)
    np.save(path, np.full((3, 2), 1e300))
    with pytest.raises(DataError, match="is not finite for 3 of 3 labels"):
        read_label_embeddings(path, LABELS)
