"""What a training of captions refuses, or says, before its first epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_captions import SCST, tiny_captions

import hlcli
from hlcli.captioning.vocabulary import END
from hlcli.data.store import open_records
from hlcli.errors import CheckpointError, DataError, MissingDependencyError, RecipeError
from hlcli.evaluation.caption_scoring import CaptionScorer
from hlcli.launching import make_accelerator
from hlcli.metrics.captioning.java import java_version
from hlcli.models.folder import read_model


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("objective.loss=bce",), "HIN|hin learns captions, but bce is a loss of labels"),
        (("model.method=linear",), "linear learns labels, but cross_entropy is a loss of captions"),
        (("data.horizontal_flip=true",), "mirrored image makes `left` and `right`"),
        (("data.grid_features=grid.hdf5",), "data.region_features: windows are pooled"),
        (("eval.max_words=60",), "eval.max_words: 60 is more than model.max_length 30 allows, 29"),
        ((*SCST, "objective.max_words=30"), "objective.max_words: 30 is more than"),
        (("eval.caption_metrics=[BLEU]",), "eval.select_by: CIDEr is not measured"),
        (("model.region_width=32",), "only features of a file have one"),
        (("data.labels_kept=single",), "data.labels_kept: is about labels"),
        (("eval.threshold=0.3",), "eval.threshold: is about labels"),
        (("model.decoder_layers=3",), "decoder_layers must be at most encoder_layers"),
        (("schedule.factors=[[1, 1.0]]",), "must begin with epoch 0"),
    ],
)
def test_recipes_that_cannot_be_meant_are_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tiny_captions(*overrides)


def test_a_resumed_run_must_find_its_captions_and_features(tmp_path: Path) -> None:
    run = hlcli.train(tiny_captions("train.epochs=1"), tmp_path / "run")
    facts = json.loads((run.folder / "caption_data.json").read_text())
    (run.folder / "caption_data.json").write_text(json.dumps({**facts, "captions": "others"}))
    with pytest.raises(CheckpointError, match="captions are not those that"):
        hlcli.train(tiny_captions("train.epochs=1"), run.folder, resume=True)


def test_beams_wider_than_the_vocabulary_and_missing_java_are_said_before_the_first_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match=r"eval\.beam_size is 500, but there are only"):
        hlcli.train(tiny_captions("eval.beam_size=500"), tmp_path / "run")
    monkeypatch.setenv("PATH", str(tmp_path))
    java_version.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match="METEOR"):
            hlcli.train(tiny_captions("eval.caption_metrics=[METEOR,CIDEr]"), tmp_path / "run")
    finally:
        java_version.cache_clear()
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_data_without_captions_or_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No word stands 9999 times"):
        hlcli.train(tiny_captions("data.min_word_count=9999"), tmp_path / "run")
    images = tmp_path / "photos"
    images.mkdir()
    for number in range(8):
        next(iter(open_records(tiny_captions().data, "train"))).image.draw().save(images / f"{number}.png")
    lines = [f"{number}.png,a,{'train' if number < 6 else 'val'}," for number in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,labels,split,captions", *lines]))
    tree = tiny_captions().to_dict()
    tree["data"] = {
        "dataset": "folder", "images": str(images), "labels": str(tmp_path / "labels.csv"), "image_size": 32,
    }  # fmt: skip
    with pytest.raises(DataError, match="No image of folder has a caption"):
        hlcli.train(hlcli.Recipe.from_dict(tree), tmp_path / "run2")


def test_captions_without_a_word_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = hlcli.train(tiny_captions("train.epochs=1"), tmp_path / "run")
    loaded = read_model(run.folder)
    assert loaded.vocabulary is not None
    decoder = loaded.model.network.decoder
    step = type(decoder).step

    def ends_at_once(*arguments: Any) -> Any:
        logits, state = step(decoder, *arguments)
        return logits.index_fill(-1, torch.tensor([END]), 99.0), state

    decoder.step = ends_at_once
    scorer = CaptionScorer(loaded.recipe, loaded.vocabulary, make_accelerator(cpu=True), "val")
    assert {caption.text for caption in scorer.score([loaded.model])[0].captions} == {""}
    assert "9 of 9 captions of val have no word" in caplog.text
