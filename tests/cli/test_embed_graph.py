from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import text_models
from command_line import failed, run

from hlcli.embeddings.graphs import open_label_graph


@pytest.fixture
def data(work_folder: Path) -> Path:
    """A folder to work in, with GloVe vectors and a label file of four labels below two parents."""
    text_models.write_glove(Path("words.txt"), extra="animal 1 0.25 0.5\nthing 0 1 0\nobject 1 1 1\na 0 0 1\n")
    Path("labels.csv").write_text("image,labels\na.jpg,cat;dog\nb.jpg,potted_plant;horse\n")
    Path("tree.yaml").write_text("animal: [cat, dog, horse]\nthing: [potted_plant]\n")
    return work_folder


FLAT = ("--set", "images=.", "--set", "labels=labels.csv")
SET = (*FLAT, "--set", "hierarchy=tree.yaml")
GLOVE = ("--encoder", "glove:words.txt", "--template", "{}")


def test_the_nearest_labels_and_parents_are_shown_then_the_file(data: Path):
    done = run("embed", "graph", "folder", *SET, *GLOVE)
    assert done.exit_code == 0, done.output
    lines = [re.sub(r"[│ ]+", " ", line).strip() for line in done.stdout.splitlines()]
    assert "cat dog 0.96, potted_plant -0.11, horse -0.76" in lines
    assert "potted_plant (potted plant) dog 0.12, cat -0.11, horse -0.11" in lines
    assert "animal thing 0.22" in lines
    assert lines[-1] == "data/folder/label_graph.safetensors: 4 labels and 2 parents by glove:words.txt"


def test_labels_without_parents_have_no_table_of_parents(data: Path):
    done = run("embed", "graph", "folder", *FLAT, *GLOVE)
    assert done.exit_code == 0, done.output
    assert "┃ parent" not in done.stdout
    assert done.stdout.rstrip().endswith("4 labels and 1 parent by glove:words.txt")
    assert "folder has no level above its labels: one parent, 'object'" in done.stderr


def test_json_is_one_document(data: Path):
    done = run(
        "embed", "graph", "folder", *SET, *GLOVE, "--template", "a {}", "--root", "r", "--json", "--neighbours", 1
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    labels, parents = document.pop("labels"), document.pop("parents")
    assert document == {
        "file": "r/folder/label_graph.safetensors",
        "encoder": "glove:words.txt",
        "settings": {"words": "sum", "templates": ["{}", "a {}"]},
        "shape": [6, 6],
    }
    assert [entry["name"] for entry in labels] == ["cat", "dog", "horse", "potted_plant"]
    assert labels[3]["text"] == "potted plant"
    assert [entry["neighbours"][0]["name"] for entry in parents] == ["thing", "animal"]


def test_a_published_matrix_is_taken_over(data: Path):
    relation = np.full((6, 6), 0.5, dtype=np.float32) + np.eye(6, dtype=np.float32) / 2
    np.save("relation.npy", relation)
    done = run("embed", "graph", "folder", *SET, "--from", "relation.npy", "--out", "g.safetensors", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["labels"][0]["text"] is None
    found = open_label_graph(Path("g.safetensors"))
    np.testing.assert_array_equal(found.relation.numpy(), relation)
    assert found.label_names + found.parent_names == ("cat", "dog", "horse", "potted_plant", "animal", "thing")
    done = run("embed", "graph", "folder", *SET, "--from", "relation.npy", "--out", "g.safetensors", "--overwrite")
    assert done.stdout.endswith("g.safetensors: 4 labels and 2 parents by relation.npy\n")


def test_a_text_model_with_its_pooling_and_given_texts(data: Path):
    text_models.write_bert(Path("bert"))
    Path("names.txt").write_text("cat\ndog\nhorse\ncow\nperson\ntable\n")
    words = ("embed", "graph", "folder", *SET, "--encoder", "bert", "--names", "names.txt", "--out", "g.safetensors")
    done = run(*words, "--pooling", "mean")
    assert done.exit_code == 0, done.output
    found = open_label_graph(Path("g.safetensors"))
    assert found.texts == ("cat", "dog", "horse", "cow", "person", "table")
    assert found.settings == {"pooling": "mean", "templates": ["a photo of a {}."]}


def test_without_an_encoder_it_is_the_papers_clip(data: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub
    import open_clip

    def create_model(*words: object, **options: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(open_clip, "create_model", create_model)
    done = run("embed", "graph", "folder", *SET)
    assert done.exit_code == 1
    assert "clip:RN50-quickgelu/openai cannot be fetched" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["circles"], 2, "must be one of"),
        (["folder", *SET, "--encoder", "glove:gone.txt"], 2, "gone.txt cannot be read"),
        (["folder", *SET, *GLOVE, "--template", "photo"], 2, "--template: one {} was expected"),
        (["folder", *SET, *GLOVE, "--verbatim"], 2, "has no vector for 1 of 6 words: potted_plant"),
        (["folder", *SET, *GLOVE, "--out", "g.npy"], 2, "ending must be .safetensors"),
        (["folder", *SET, "--from", "gone.npy"], 2, "gone.npy is missing"),
        (["folder", *SET, "--from", "labels.csv"], 2, "--from: the name of an .npy file"),
        (["folder", *SET, "--from", "r.npy", "--template", "{}"], 2, "--from takes a matrix as it is"),
        (["folder", *SET, "--from", "r.npy", "--verbatim"], 2, "--from takes a matrix as it is"),
        (["folder", *SET, *GLOVE, "--neighbours", "0"], 2, "--neighbours"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(data: Path, words: list[str], code: int, text: str):
    before = {path.name for path in data.iterdir()}
    failed(run("embed", "graph", *words), text, code=code)
    assert {path.name for path in data.iterdir()} == before


def test_help_shows_an_example_first():
    done = run("embed", "graph", "--help")
    assert done.stdout.startswith("Example: hlcli embed graph coco --set hierarchy=true\n")
    assert "graph" in run("embed", "--help").stdout
