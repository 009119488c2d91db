"""Text files of recipes, models, runs, stores, words and vectors, each with the call that reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import text_models
import torch
from file_readers import Reader, json_file, text_file
from recipe_trees import FULL, USER
from safetensors.torch import save
from tiny import TINY
from tiny_captioner import WORDS, captioner_recipe

import hlcli
from hlcli.captioning.caption_text import build_caption_text, read_caption_text, write_caption_text
from hlcli.captioning.vocabulary import Vocabulary
from hlcli.captioning.words import read_vocabulary
from hlcli.data.datasets.folder import Folder
from hlcli.data.labels import LabelSpace
from hlcli.data.store import open_label_space, split_names
from hlcli.embeddings.encoders.word_vectors import glove_encoder
from hlcli.embeddings.graphs import open_label_graph
from hlcli.embeddings.labels import open_label_embeddings
from hlcli.embeddings.texts import TextRules, label_texts
from hlcli.encoders.clip_models import inline_clip_name
from hlcli.encoders.loading import refuse_foreign_code
from hlcli.metrics.calibration_maps import CalibrationMap, LevelMap
from hlcli.models.description import ModelDescription, read_description, write_description
from hlcli.recipe import Recipe
from hlcli.recipe_reading.text import write_yaml
from hlcli.thresholds import read_thresholds
from hlcli.visualization.curves import best_evaluation, level_names

_TREE = LabelSpace.from_tree({"pets": ["cat", "dog"], "food": ["apple"]})
_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 99, "width": 8, "heads": 2, "layers": 1},
}


def _recipe_again(recipe: Recipe, path: Path) -> Recipe:
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    return Recipe.from_yaml(path)


def _tree_of(path: Path) -> Any:
    """A tree as a program may give it: whatever Python's own reader makes of the file."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}


def _set_words(path: Path) -> Recipe:
    return Recipe.from_dict(USER, path.read_text("utf-8", "surrogateescape").split("\n"), source="recipe.yaml")


def _described(recipe: Recipe, labels: LabelSpace, words: Vocabulary | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        thresholds = (0.5,) * len(labels.levels) or None
        write_description(folder, ModelDescription(recipe, labels, thresholds, {"epoch": 3, "metrics": {}}, words))
        return folder / "model.json"

    return make


def _calibrated(folder: Path) -> Path:
    """Slopes and thresholds of every label of one level, and one for all labels of the other."""
    sizes = _TREE.level_sizes
    maps = LevelMap((0.5,), (0.0,)), LevelMap((0.75,) * sizes[1], (-0.25,) * sizes[1])
    thresholds = 0.5, (0.25,) * sizes[1]
    calibration = CalibrationMap("platt", maps)
    facts: dict[str, Any] = {"epoch": 3}
    write_description(folder, ModelDescription(Recipe.from_dict(FULL), _TREE, thresholds, facts, None, calibration))
    return folder / "model.json"


def _described_again(model: ModelDescription, path: Path) -> ModelDescription:
    write_description(path.parent, model)
    return read_description(path.parent)


def _store(damaged: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        meta = {"version": 1, "splits": ["train", "val"], "image_root": "..", "counts": {}}
        (folder / "meta.json").write_text(json.dumps(meta))
        (folder / "labels.json").write_text(json.dumps(_TREE.to_json()))
        return folder / damaged

    return make


def _stored(folder: Path) -> Folder:
    return Folder(images=folder, labels=folder / "none.csv", store=folder)


def _events(path: Path) -> Any:
    events = hlcli.Run(path.parent).events()
    evaluations = [event for event in events if event["event"] == "evaluation"]
    return level_names(evaluations), best_evaluation(evaluations, "mAP")


_METRICS = (
    ("step", {"loss": 0.5, "lr": 0.1}),
    ("evaluation", {"mAP": 0.5, "coarse/threshold": 0.1}),
    ("step", {"loss": 0.4}),
)
_EVENTS = "".join(
    json.dumps({"event": event, "epoch": 1, "step": step, "split": "val", "weights": "ema", "metrics": metrics}) + "\n"
    for step, (event, metrics) in enumerate(_METRICS)
)


def _caption_text(folder: Path) -> Path:
    write_caption_text(folder, build_caption_text([["A dog runs.", "The dog runs!"], ["A cat."]], [["A bird."]]))
    return folder / "words.json"


def _embeddings(path: Path) -> list[Any]:
    made = open_label_embeddings(path)
    return [made.vectors.shape, made.label_names, made.texts, made.encoder, made.settings]


def _tensors(name: str, tensor: torch.Tensor, **facts: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        document = {**facts, "texts": ["cat", "dog"], "encoder": "glove", "settings": {"template": "{}"}}
        (folder / "x.safetensors").write_bytes(save({name: tensor}, {"hlcli": json.dumps(document)}))
        return folder / "x.safetensors"

    return make


def model_readers() -> list[Reader]:
    """Recipes, and files of models, runs, stores, words and downloads."""
    labels, words = _TREE, Vocabulary.from_counts(WORDS, 1)
    clip = lambda path: inline_clip_name(f"clip:{path}")  # noqa: E731
    return [
        Reader("recipe", text_file("recipe.yaml", write_yaml(TINY)), Recipe.from_yaml, _recipe_again),
        Reader(
            "recipe as a tree",
            json_file("recipe.json", TINY),
            lambda path: Recipe.from_dict(_tree_of(path)),
            _recipe_again,
        ),
        Reader("--set", text_file("set.txt", "optim.lr=1e-3\ntrain.epochs=3\ndata.skip=[a, 'b']"), _set_words),
        Reader("model.json of labels", _described(Recipe.from_dict(FULL), labels), _description, _described_again),
        Reader("model.json with calibration", _calibrated, _description, _described_again),
        Reader(
            "model.json of captions",
            _described(captioner_recipe(), LabelSpace.empty(), words),
            _description,
            _described_again,
        ),
        Reader("labels.json", _store("labels.json"), _stored_labels, _labels_again),
        Reader("meta.json", _store("meta.json"), lambda path: split_names(_stored(path.parent))),
        Reader("status.json", json_file("status.json", {"state": "failed", "exit_code": 1}), _state),
        Reader("metrics.jsonl", text_file("metrics.jsonl", _EVENTS), _events),
        Reader(
            "thresholds of labels",
            json_file("l.json", {"coarse": 0.25, "fine": dict.fromkeys(labels.label_names, 0.5)}),
            lambda path: read_thresholds(path, labels),
        ),
        Reader(
            "thresholds", json_file("t.json", {"coarse": 0.25, "fine": 0.5}), lambda path: read_thresholds(path, labels)
        ),
        Reader("names of labels", text_file("n.yaml", "cat: a cat\ndog: 'no'\n"), _texts),
        Reader("names of labels in lines", text_file("n.txt", "a cat\na dog\n"), _texts),
        Reader("label embeddings", _tensors("embeddings", torch.ones(2, 3), labels=["cat", "dog"]), _embeddings),
        Reader(
            "label graph",
            _tensors("relation", torch.ones(3, 3), labels=["cat", "dog"], parents=["pet"]),
            open_label_graph,
        ),
        Reader("GloVe", lambda folder: text_models.write_glove(folder / "g.txt"), _glove),
        Reader("vocabulary.json", json_file("v.json", words.to_json()), read_vocabulary, _vocabulary_again),
        Reader("words.json", _caption_text, lambda path: read_caption_text(path.parent)),
        Reader("frequencies", _frequencies, lambda path: read_caption_text(path.parent)),
        Reader("CLIP configuration", json_file("c.json", _CLIP), clip),
        Reader("modules.json", json_file("modules.json", [{"type": "sentence_transformers.models.Pooling"}]), _modules),
    ]


def _description(path: Path) -> ModelDescription:
    return read_description(path.parent)


def _stored_labels(path: Path) -> LabelSpace:
    return open_label_space(_stored(path.parent))


def _labels_again(labels: LabelSpace, path: Path) -> LabelSpace:
    return LabelSpace.from_json(json.loads(json.dumps(labels.to_json())))


def _state(path: Path) -> str:
    return hlcli.Run(path.parent).state()


def _texts(path: Path) -> Any:
    return label_texts(("cat", "dog"), TextRules(names=path))


def _glove(path: Path) -> Any:
    encoder = glove_encoder(path, ["cat dog", "potted plant"], average=False)
    return encoder.encode("cat").tolist()


def _vocabulary_again(words: Vocabulary, path: Path) -> Vocabulary:
    path.write_text(json.dumps(words.to_json()))
    return read_vocabulary(path)


def _frequencies(folder: Path) -> Path:
    return _caption_text(folder).with_name("document_frequencies.caption.json")


def _modules(path: Path) -> None:
    refuse_foreign_code(path.parent)
