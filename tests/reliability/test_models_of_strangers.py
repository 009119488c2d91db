"""Models, text encoders and data sets of strangers: opened without running, reading or fetching what they name."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from hostile_files import bad_safetensors, pickles, watched_files
from hub_cache import put_into_cache, use_cache
from model_states import cpu_state
from PIL import Image
from text_models import GLOVE, write_bert, write_sentence_model, write_spacy
from tiny_label_models import LABEL_METHODS, tiny_label_model

import hlcli
from hlcli.data.datasets.huggingface import HuggingFace
from hlcli.data.store import open_label_space, open_records
from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.errors import DataError, HlcliError, InputError
from hlcli.models.folder import save_model

Spoil = Callable[[Path, Path], None]
"""Changes a good folder; a program in it makes the second folder."""


def in_document(file: str, **values: Any) -> Spoil:
    """Put values into a JSON document of the folder."""

    def spoil(folder: Path, mark: Path) -> None:
        path = folder / file
        document = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**document, **values}))
        (folder / "code.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass X: pass\n")

    return spoil


def in_place_of(file: str, content: str | Callable[[Path], bytes], gone: str = "") -> Spoil:
    """Write a file of the folder, and take another one away."""

    def spoil(folder: Path, mark: Path) -> None:
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content(mark))
        if gone:
            (folder / gone).unlink()

    return spoil


def module_of(kind: str, path: str = "1_Pooling") -> Spoil:
    """Name another class in a sentence-transformers folder."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": path, "type": kind},
    ]

    def spoil(folder: Path, mark: Path) -> None:
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "code.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass X: pass\n")

    return spoil


DEEP = "[" * 100_000
MAPPED = {"AutoModel": "code.X", "AutoConfig": "code.X"}
TEXT_MODELS: dict[str, tuple[str, Spoil]] = {
    "weights are a program": ("bert", in_place_of("pytorch_model.bin", lambda mark: pickles(mark)["torch zip"],
                                                  gone="model.safetensors")),
    "weights are a bare pickle": ("bert", in_place_of("pytorch_model.bin", lambda mark: pickles(mark)["pickle 2"],
                                                      gone="model.safetensors")),
    "a class of its own": ("bert", in_document("config.json", model_type="xyz", auto_map=MAPPED)),
    "a tokenizer of its own": ("bert", in_document("tokenizer_config.json", tokenizer_class="X",
                                                   auto_map={"AutoTokenizer": ["code.X", None]})),
    "a header that lies": ("bert", in_place_of("model.safetensors", lambda _: bad_safetensors()["overlapping"])),
    "a deep configuration": ("bert", in_place_of("config.json", DEEP)),
    "an endless width": ("bert", in_document("config.json", hidden_size=2**40)),
    "a configuration of words": ("bert", in_document("config.json", num_hidden_layers="a")),
    "a module of its own": ("sentence", module_of("code.X")),
    "a module of the system": ("sentence", module_of("os.system")),
    "no module of the library": ("sentence", module_of("sentence_transformers.util.misc.importlib")),
    "a module elsewhere": ("sentence", module_of("sentence_transformers.models.Pooling", "../../../../etc")),
    "deep modules": ("sentence", in_place_of("modules.json", DEEP)),
    "modules whose weights are a program": ("sentence", in_place_of(
        "pytorch_model.bin", lambda mark: pickles(mark)["torch zip"], gone="model.safetensors")),
    "vectors that are a program": ("spacy", in_place_of("vocab/vectors", lambda mark: pickles(mark)["array of list"])),
    "vectors that are a pickle": ("spacy", in_place_of("vocab/vectors", lambda mark: pickles(mark)["pickle 2"])),
    "a language of its own": ("spacy", in_document("meta.json")),
    "a deep description": ("spacy", in_place_of("meta.json", DEEP)),
    "a list without end": ("spacy", in_place_of("tokenizer", lambda _: b"\xdd\xff\xff\xff\xff")),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder of every kind of text model."""
    place = tmp_path_factory.mktemp("good")
    write_bert(place / "bert")
    write_sentence_model(place / "sentence")
    write_spacy(place / "spacy", GLOVE)
    return place


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_text_models_of_strangers_are_refused_and_run_nothing(name: str, good: Path, tmp_path: Path):
    kind, spoil = TEXT_MODELS[name]
    shutil.copytree(good / kind, tmp_path / "model")
    spoil(tmp_path / "model", tmp_path / "was-run")
    if name == "a language of its own":
        config = tmp_path / "model" / "config.cfg"
        config.write_text(config.read_text().replace('lang = "en"', 'lang = "../../evil"'))
    prefix = "spacy:" if kind == "spacy" else ""
    with pytest.raises(InputError) as caught:
        make_encoder(f"{prefix}{tmp_path / 'model'}", ["cat"], EncoderOptions())
    assert str(tmp_path / "model") in str(caught.value)
    assert "weights_only` argument" not in str(caught.value)
    assert not (tmp_path / "was-run").exists()


def test_code_beside_a_known_text_model_is_not_run(good: Path, tmp_path: Path):
    shutil.copytree(good / "bert", tmp_path / "model")
    in_document("config.json", auto_map=MAPPED)(tmp_path / "model", tmp_path / "was-run")
    assert make_encoder(str(tmp_path / "model"), ["cat"], EncoderOptions()).encode("cat").shape == (16,)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_opening_a_model_reads_nothing_that_its_recipe_names(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The recipe of a model of the hub names files of this machine; only those of the model are opened."""
    home = tmp_path / "home" / "me"
    home.mkdir(parents=True)
    loaded = tiny_label_model(method)
    save_model(
        tmp_path / "model", cpu_state(loaded.model), loaded.recipe, loaded.labels, thresholds=None, facts={}
    )  # fmt: skip
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    recipe, named = document["recipe"], []
    for section, key in (("data", "root"), ("data", "store"), ("data", "labels_list"), ("backbone", "weights"),
                         ("model", "label_embeddings"), ("model", "graph"), ("train", "init_weights")):  # fmt: skip
        if key in recipe[section]:
            recipe[section][key] = str(home / f"{section}-{key}.npy")
            (home / f"{section}-{key}.npy").write_text("private")
            named.append(key)
    recipe["backbone"]["pretrained"] = True
    (tmp_path / "model" / "model.json").write_text(json.dumps(document))
    put_into_cache(use_cache(tmp_path / "cache", monkeypatch), "stranger/model", tmp_path / "model")
    with watched_files() as seen:
        opened = hlcli.open_model("hf://stranger/model")
    assert len(named) >= 5
    assert [event for event in seen if str(home) in event or event.startswith("socket")] == []
    assert any("model.json" in event for event in seen), "the watch works"
    assert all((opened.model.state_dict()[name] == value).all() for name, value in loaded.model.state_dict().items())


def test_only_the_two_files_of_a_model_are_fetched():
    from fnmatch import fnmatch

    from hlcli.models.folder import MODEL_FILES

    strangers = ["../model.json", "a/../../model.json", "/etc/model.json", "model.json/../../x", "code.py", "model.pt"]
    assert not [name for name in strangers if any(fnmatch(name, pattern) for pattern in MODEL_FILES)]


def table(place: Path) -> Path:
    """A good data set of two images."""
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    features = datasets.Features({"image": datasets.Image(), "labels": datasets.Sequence(datasets.Value("string"))})
    rows = {"image": [{"bytes": picture.getvalue(), "path": None}] * 2, "labels": [["a"], ["b"]]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(place))
    return place


def arrow(content: Callable[[bytes, Path], bytes]) -> Spoil:
    """Change the table itself."""

    def spoil(folder: Path, mark: Path) -> None:
        (path,) = folder.glob("*.arrow")
        path.write_bytes(content(path.read_bytes(), mark))

    return spoil


TABLES: dict[str, Spoil] = {
    "a table elsewhere": in_document("state.json", _data_files=[{"filename": "../../../../../../../etc/passwd"}]),
    "a deep description": in_place_of("dataset_info.json", DEEP),
    "a deep state": in_place_of("state.json", DEEP),
    "a type of its own": in_document("dataset_info.json", features={"image": {"_type": "os.system"}}),
    "a format of its own": in_document("state.json", _format_type="os.system"),
    "a pickle": arrow(lambda _, mark: pickles(mark)["pickle 2"]),
    "cut": arrow(lambda content, _: content[:-200]),
    "endless": arrow(lambda content, _: content[:8] + b"\xff" * 8 + content[16:]),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_strangers_are_refused(name: str, tmp_path: Path):
    folder = table(tmp_path / "set")
    TABLES[name](folder, tmp_path / "was-run")
    data = HuggingFace(path=str(folder))
    with pytest.raises(DataError, match=r"data\.path: .* cannot be loaded"):
        open_label_space(data)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("name", ["script", "script beside a table", "card", "picklefile"])
def test_programs_of_data_sets_are_not_run(name: str, tmp_path: Path):
    folder, mark = tmp_path / "set", tmp_path / "was-run"
    folder.mkdir()
    if name != "script":
        (folder / "train.csv").write_text("image,labels\na.jpg,b\n")
    if name.startswith("script"):
        (folder / "set.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nimport datasets\n")
    if name == "card":
        (folder / "README.md").write_text(f"---\ndataset_info: !!python/object/apply:os.mkdir [{str(mark)!r}]\n---\n")
    if name == "picklefile":
        (folder / "train.csv").unlink()
        (folder / "train.pkl").write_bytes(pickles(mark)["pickle 2"])
    with pytest.raises(DataError, match=r"data\.path: .* cannot be loaded"):
        open_label_space(HuggingFace(path=str(folder)))
    assert not mark.exists()


def test_a_format_that_a_table_wants_is_not_used(tmp_path: Path):
    folder = table(tmp_path / "set")
    in_document("state.json", _format_type="custom", _format_kwargs={"transform": "os.system"})(folder, tmp_path / "x")
    records = open_records(HuggingFace(path=str(folder)), "train")
    assert [record.labels for record in records] == [(0,), (1,)]


def test_a_link_in_the_place_of_a_model_is_replaced_and_not_followed(tmp_path: Path):
    loaded = tiny_label_model("linear")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "keep.txt").write_text("mine")
    os.symlink(mine, tmp_path / "model")
    for _ in range(2):
        save_model(
            tmp_path / "model", cpu_state(loaded.model), loaded.recipe, loaded.labels, thresholds=None, facts={}
        )  # fmt: skip
    assert [path.name for path in mine.iterdir()] == ["keep.txt"]
    assert not (tmp_path / "model").is_symlink()
    assert hlcli.open_model(tmp_path / "model").labels == loaded.labels
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "model"]


def test_names_of_the_hub_lead_nowhere_else():
    for name in (
        "hf://../../etc/passwd",
        "hf://a/b/../../c",
        "hf:///etc/passwd",
        "hf://a/b@../../x",
        "hf://http://x/y",
    ):
        with pytest.raises(HlcliError):
            hlcli.open_model(name)
