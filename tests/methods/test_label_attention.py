"""What the sections of SALGL and SGRE share."""

from __future__ import annotations

import json

import pytest
import torch
from tiny import TINY

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.embeddings.labels import LabelEmbeddings, write_label_embeddings
from hlcli.errors import RecipeError
from hlcli.methods.salgl.config import Salgl
from hlcli.recipe import Recipe

SMALL = {"attention_dim": 16, "feedforward_dim": 32}


@pytest.mark.parametrize("method", ["salgl", "sgre"])
def test_a_misspelt_source_of_embeddings_is_no_file(method: str) -> None:
    with pytest.raises(RecipeError, match=r"random, prepared, or a file: \*\.safetensors or \*\.npy \(got 'prepard'\)"):
        Recipe.from_dict({**TINY, "model": {"method": method, "label_embeddings": "prepard"}})


@pytest.mark.parametrize("method", ["salgl", "sgre"])
def test_a_run_remembers_which_vectors_it_was_given(method: str, tmp_path) -> None:
    labels = Recipe.from_dict(TINY).data.label_space()
    names = labels.label_names
    made = LabelEmbeddings(torch.randn(len(names), 5), names, names, "glove:words.txt", {"average": True})
    write_label_embeddings(tmp_path / "vectors.safetensors", made)
    model = {"method": method, "label_embeddings": str(tmp_path / "vectors.safetensors"), "label_embedding_dim": 5}
    tree = {**TINY, "model": {**model, **SMALL}, "train": {**TINY["train"], "epochs": 1}}
    run = hlcli.train(Recipe.from_dict(tree), tmp_path / "run")
    files = json.loads((run.folder / "environment.json").read_text())["files"]
    assert "glove:words.txt; average True" in files["label_embeddings"]
    assert "sha256 " in files["label_embeddings"]
    (tmp_path / "vectors.safetensors").unlink()  # a finished model needs nothing but its folder
    head = hlcli.load(run.folder).model.head
    torch.testing.assert_close(head.label_embeddings.cpu(), made.vectors, rtol=0, atol=0)


def test_vectors_of_another_width_say_which_key_to_set(tmp_path) -> None:
    made = LabelEmbeddings(torch.randn(3, 5), ("a", "b", "c"), ("a", "b", "c"), "glove:words.txt", {})
    write_label_embeddings(tmp_path / "vectors.safetensors", made)
    section = Salgl(label_embeddings=tmp_path / "vectors.safetensors")
    with pytest.raises(RecipeError, match=r"have width 5, not 768"):
        section.read_embeddings(LabelSpace.flat("abc"), section.embedding_dim(16), tmp_path)
