from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import text_models
from command_line import failed, run

from hlcli.embeddings.labels import open_label_embeddings


@pytest.fixture
def data(work_folder: Path) -> Path:
    """A folder to work in, with GloVe vectors and a label file of four labels."""
    text_models.write_glove(Path("words.txt"))
    Path("labels.csv").write_text("image,labels\na.jpg,cat;dog\nb.jpg,pottedplant;horse\n")
    return work_folder


SET = ("--set", "images=.", "--set", "labels=labels.csv")


def test_neighbours_and_cosines_are_shown_then_the_file(data: Path):
    done = run("embed", "labels", "folder", *SET, "--encoder", "glove:words.txt")
    assert done.exit_code == 0, done.output
    lines = [re.sub(r"[│ ]+", " ", line).strip() for line in done.stdout.splitlines()]
    assert "cat dog 0.96, pottedplant -0.11, horse -0.76" in lines
    assert "pottedplant (potted plant) dog 0.12, cat -0.11, horse -0.11" in lines
    assert "1 cat · 96 -76 -11" in lines
    assert lines[-1] == "data/folder/label_embeddings.safetensors: 4 vectors of width 3 by glove:words.txt"


def test_json_is_one_document(data: Path):
    words = ("embed", "labels", "folder", *SET, "--encoder", "glove:words.txt", "--root", "r", "--json")
    done = run(*words, "--neighbours", 1, "--average", "--normalize")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    labels = document.pop("labels")
    assert document == {
        "file": "r/folder/label_embeddings.safetensors",
        "encoder": "glove:words.txt",
        "settings": {"words": "mean", "template": "{}", "normalize": True},
        "shape": [4, 3],
    }
    assert labels[3]["name"] == "pottedplant"
    assert labels[3]["text"] == "potted plant"
    assert labels[0]["neighbours"] == [{"name": "dog", "cosine": pytest.approx(0.956183, abs=2e-6)}]


def test_cosines_of_thirty_labels_fit_a_window_of_80_columns(data: Path):
    names = [f"a label with a very long name {number}" for number in range(30)]
    Path("labels.csv").write_text(f"image,labels\na.jpg,{';'.join(names)}\n")
    Path("names.txt").write_text("cat dog\ncat\ndog\n" * 10)
    done = run("embed", "labels", "folder", *SET, "--encoder", "glove:words.txt", "--names", "names.txt")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    assert done.stdout.count("cosines × 100") == 3
    assert "30 a label with a very long…" in done.stdout


def test_more_than_thirty_labels_have_no_table_of_cosines(data: Path):
    names = [f"w{number}" for number in range(31)]
    Path("labels.csv").write_text(f"image,labels\na.jpg,{';'.join(names)}\n")
    Path("words.txt").write_text("".join(f"{name} {number} 1 2\n" for number, name in enumerate(names)))
    done = run("embed", "labels", "folder", *SET, "--encoder", "glove:words.txt")
    assert done.exit_code == 0, done.output
    assert "cosines" not in done.stdout
    assert "31 vectors of width 3" in done.stdout


def test_a_text_model_with_all_its_options(data: Path):
    text_models.write_bert(Path("bert"))
    Path("names.yaml").write_text("horse: cow\n")
    words = ("embed", "labels", "folder", *SET, "--encoder", "bert", "--names", "names.yaml")
    done = run(*words, "--variant", "sgre", "--template", "a photo of a {}", "--out", "v.safetensors")
    assert done.exit_code == 0, done.output
    found = open_label_embeddings(Path("v.safetensors"))
    assert found.texts == ("a photo of a cat", "a photo of a dog", "a photo of a cow", "a photo of a potted plant")
    assert found.settings == {
        "pooling": "paper", "variant": "sgre", "template": "a photo of a {}", "normalize": False,
    }  # fmt: skip
    done = run(*words, "--pooling", "mean", "--verbatim", "--out", "v.safetensors", "--overwrite")
    assert done.exit_code == 0, done.output
    assert open_label_embeddings(Path("v.safetensors")).texts[3] == "pottedplant"


def test_bare_numbers_need_force(data: Path):
    Path("labels.csv").write_text("image,labels\na.jpg,0;1\n")
    Path("words.txt").write_text("0 1 2 3\n1 4 5 6\n")
    words = ("embed", "labels", "folder", *SET, "--encoder", "glove:words.txt")
    done = run(*words)
    assert done.exit_code == 2
    assert "2 of 2 labels are bare numbers" in done.stderr
    assert not Path("data").exists()
    assert run(*words, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["circles"], 2, "must be one of"),
        (["folder", *SET, "--encoder", "glove:gone.txt"], 2, "gone.txt cannot be read"),
        (["shapes", "--encoder", "glove:words.txt"], 2, "has no vector for 12 of 12 words: balloon, bird, bus"),
        (["folder", *SET, "--encoder", "clip:RN5"], 2, "hint: Did you mean RN50"),
        (["folder", *SET, "--encoder", "glove:words.txt", "--pooling", "cls"], 2, "--pooling is for text models"),
        (["folder", *SET, "--encoder", "glove:words.txt", "--names", "gone.yaml"], 2, "gone.yaml is missing"),
        (["folder", *SET, "--encoder", "glove:words.txt", "--out", "v.npy"], 2, "ending must be .safetensors"),
        (["folder", *SET, "--encoder", "glove:words.txt", "--root", "words.txt"], 2, "cannot be written"),
        (["folder", *SET, "--encoder", "spacy:nothing_here"], 1, "python -m spacy download nothing_here"),
        (["folder", *SET], 1, "bert-base-uncased cannot be fetched"),
        (["folder", *SET, "--neighbours", "0"], 2, "--neighbours"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    data: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, text: str
):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(data / "cache"))
    before = {path.name for path in data.iterdir()}
    failed(run("embed", "labels", *words), text, code=code)
    assert {path.name for path in data.iterdir()} == before


def test_help_shows_an_example_first():
    done = run("embed", "labels", "--help")
    assert done.stdout.startswith("Example: hlcli embed labels voc2007\n")
    assert "labels" in run("embed", "--help").stdout
