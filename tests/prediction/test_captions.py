"""Captions of files, folders and splits: every image has a line or is listed, whatever interrupts the work."""

from __future__ import annotations

import json
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_recipe
from tiny_captioner import WORDS, write_captioner

import hlcli
from hlcli.captioning.batch import CaptionInputs
from hlcli.captioning.generated import GeneratedCaption
from hlcli.captioning.search import Ensemble, beam_search
from hlcli.captioning.vocabulary import UNKNOWN
from hlcli.errors import DataError, InputError
from hlcli.evaluation.caption_scoring import CaptionScorer
from hlcli.evaluation.captions import evaluate_captions
from hlcli.models.folder import read_model
from hlcli.prediction.caption_inputs import FeatureSources
from hlcli.prediction.caption_rows import Caption, make_caption
from hlcli.prediction.captions import CaptionPredictor
from hlcli.prediction.labels import Predictor
from hlcli.prediction.result_files import partial_file

from .captioned_photos import DRAWN, decoding, given_model, given_photos, lines  # noqa: F401


def test_every_image_is_captioned_or_listed(model: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "new" / "out.jsonl"
    captions, failures = hlcli.caption(model, [photos], out=out)
    assert captions == []
    rows = lines(out)
    names = ["a.jpg", "b.PNG", "c.png", "d.webp", "e.jpg", "f.jpg", "g.jpg", "h.jpg"]
    assert [Path(row["image"]).name for row in rows] == names
    assert all(list(row) == ["image", "caption", "log_prob", "alternatives"] for row in rows)
    assert all(row["caption"] and row["log_prob"] < 0 and row["alternatives"] == [] for row in rows)
    assert len({row["caption"] for row in rows}) > 1
    assert [Path(failure.image).name for failure in failures] == ["bad.jpg"]
    assert lines(out.with_suffix(".failures.jsonl")) == [failure.to_json() for failure in failures]
    assert sorted(path.name for path in out.parent.iterdir()) == [
        ".out.jsonl.work",
        "out.failures.jsonl",
        "out.jsonl",
    ]
    assert [Caption.from_json(row).to_json() for row in rows] == rows


def test_paths_bytes_and_pil_images_get_the_same_captions(model: Path, photos: Path):
    predictor = CaptionPredictor(read_model(model))
    path = photos / "b.PNG"
    found = predictor.caption([path, path.read_bytes(), Image.open(path)])
    assert len({(row.caption, row.log_prob) for row in found}) == 1
    with pytest.raises(DataError, match=r"bad\.jpg cannot be decoded"):
        predictor.caption([photos / "bad.jpg"])
    assert predictor.caption([]) == []


def test_one_image_is_captioned_as_among_others(model: Path, photos: Path):
    alone = hlcli.caption(model, [photos / "c.png"]).captions[0]
    among = next(row for row in hlcli.caption(model, [photos]).captions if row.image == alone.image)
    assert alone.caption == among.caption
    assert alone.log_prob == pytest.approx(among.log_prob, abs=1e-4)


def test_several_captions_differ_and_come_best_first(model: Path, photos: Path):
    found = hlcli.caption(model, [photos / "a.jpg"], num_captions=4).captions[0]
    assert 1 <= len(found.alternatives) <= 3
    texts = [found.caption, *(other.text for other in found.alternatives)]
    scores = [found.log_prob, *(other.log_prob for other in found.alternatives)]
    assert len(set(texts)) == len(texts)
    assert scores == sorted(scores, reverse=True)


def test_repeated_sentences_are_told_once_in_their_order():
    found = [GeneratedCaption(text, score) for text, score in (("a", -1.0), ("b", -2.0), ("a", -3.0), ("c", -4.0))]
    made = make_caption("x", found)
    assert (made.caption, made.log_prob) == ("a", -1.0)
    assert [(other.text, other.log_prob) for other in made.alternatives] == [("b", -2.0), ("c", -4.0)]


def test_an_empty_folder_and_a_missing_file_are_errors(model: Path, tmp_path: Path):
    for place in (tmp_path, tmp_path / "none.jpg"):
        with pytest.raises(InputError, match="no image there"):
            hlcli.caption(model, [place])


def test_only_broken_images_give_an_empty_file(model: Path, photos: Path, tmp_path: Path):
    _, failures = hlcli.caption(model, [photos / "bad.jpg"], out=tmp_path / "o.jsonl")
    assert len(failures) == 1
    assert (tmp_path / "o.jsonl").read_text() == ""


def test_draws_depend_on_the_seed_alone(model: Path, photos: Path):
    def draw(seed: int, **options: Any) -> list[Caption]:
        drawn = decoding(decoder="sample", temperature=2.0, seed=seed)
        return hlcli.caption(model, [photos], decoding=drawn, num_captions=3, **options).captions

    assert draw(1) == draw(1, workers=1)
    assert draw(1) != draw(2)


def test_an_ensemble_of_equals_says_what_one_says(model: Path, photos: Path):
    alone = CaptionPredictor(read_model(model)).caption([photos / "a.jpg", photos / "c.png"])
    both = CaptionPredictor([read_model(model), read_model(model)])
    assert len(both.inputs.loads) == 1  # what both see is made once
    for one, other in zip(alone, both.caption([photos / "a.jpg", photos / "c.png"]), strict=True):
        assert one.caption == other.caption
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)


def test_members_of_an_ensemble_see_images_in_their_own_way(model: Path, photos: Path, tmp_path: Path):
    members = [read_model(model), read_model(write_captioner(tmp_path / "b", "data.image_size=96", seed=1))]
    predictor = CaptionPredictor(members)
    found = predictor.caption([photos / "a.jpg"])[0]
    image = Image.open(photos / "a.jpg")
    memories = []
    with torch.inference_mode():
        for loaded, side in zip(members, (64, 96), strict=True):
            pixels = torch.from_numpy(np.array(image.resize((side, side), Image.Resampling.BILINEAR))).permute(2, 0, 1)
            memories.append(loaded.model.encode(CaptionInputs(images=pixels[None] / 255)))  # type: ignore[operator]
        network = Ensemble([loaded.model.network for loaded in members])
        expected = beam_search(network, memories, beam_size=2, max_length=8)
    assert found.log_prob == pytest.approx(float(expected.log_probs.sum()), abs=1e-4)


def test_an_ensemble_of_different_words_is_refused(model: Path, tmp_path: Path):
    other = write_captioner(tmp_path / "other", words={**WORDS, "moon": 3})
    with pytest.raises(InputError, match="Model 2 of the ensemble knows other words"):
        CaptionPredictor([read_model(model), read_model(other)])


def test_models_of_labels_and_of_captions_are_told_apart(model: Path, tmp_path: Path):
    labels = hlcli.train(tiny_recipe("train.epochs=1"), tmp_path / "run").folder
    with pytest.raises(InputError, match="makes labels") as error:
        CaptionPredictor(read_model(labels))
    assert "hlcli eval MODEL --images" in str(error.value)
    with pytest.raises(InputError, match="makes captions") as error:
        Predictor(read_model(model))
    assert "hlcli caption MODEL IMAGES" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoding": decoding(max_words=20)}, "--max-length must be between 1 and 19"),
        ({"decoding": decoding(beam_size=14)}, "--beam and --num-captions .* the 13 words of the model"),
        ({"num_captions": 0}, "--beam and --num-captions"),
        ({"num_captions": 99}, "the 13 words of the model"),
        ({"decoding": DRAWN, "num_captions": 99}, "the 13 words of the model"),
    ],
)
def test_impossible_searches_are_refused(model: Path, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        CaptionPredictor(read_model(model), **options)


def test_the_longest_possible_caption_can_be_searched(model: Path, photos: Path):
    found = hlcli.caption(model, [photos / "a.jpg"], decoding=decoding(max_words=19)).captions
    assert len(found) == 1


def test_a_split_is_captioned_as_training_measures_it(model: Path, tmp_path: Path):
    loaded = read_model(model)
    predictor = CaptionPredictor(loaded)
    found = evaluate_captions(predictor, out=tmp_path / "o.jsonl")
    scorer = CaptionScorer(loaded.recipe, predictor.vocabulary, predictor.processes, "test")
    expected = scorer.score([loaded.model])[0]
    assert [row.caption for row in found.captions] == [caption.text for caption in expected.captions]
    assert found.metrics is not None
    assert (found.split, found.metrics.to_json()) == ("test", expected.metrics.to_json())
    assert [row["caption"] for row in lines(tmp_path / "o.jsonl")] == [row.caption for row in found.captions]
    again = evaluate_captions(predictor, out=tmp_path / "o.jsonl", resume=True)
    assert again.metrics is not None
    assert again.metrics.to_json() == found.metrics.to_json()


def test_results_for_the_online_test_are_numbered(model: Path, photos: Path, tmp_path: Path):
    folder, out = tmp_path / "test2014", tmp_path / "captions_test2014_x_results.json"
    folder.mkdir()
    for number in (42, 581929):
        Image.open(photos / "a.jpg").save(folder / f"COCO_test2014_{number:012}.jpg")
    hlcli.caption(model, [folder], out=out)
    rows = json.loads(out.read_text())
    assert [row["image_id"] for row in rows] == [42, 581929]
    assert all(set(row) == {"image_id", "caption"} for row in rows)
    hlcli.caption(model, [folder], out=out, resume=True)
    with pytest.raises(DataError, match="has no number"):
        hlcli.caption(model, [photos / "a.jpg"], out=tmp_path / "other.json")
    assert not partial_file(tmp_path / "other.json").exists()
    with pytest.raises(InputError, match=r"\.jsonl, \.json"):
        hlcli.caption(model, [folder], out=tmp_path / "captions.txt")


def test_photos_get_known_words_alone_and_splits_are_scored_as_the_recipe_says(tmp_path: Path) -> None:
    """The unknown word is made the likeliest of all."""
    folder = write_captioner(tmp_path / "model")
    loaded = read_model(folder)
    decoder = loaded.model.network.decoder
    seen: list[bool] = []
    step = type(decoder).step

    def prefers_unknown(self: Any, *arguments: Any) -> Any:
        logits, state = step(self, *arguments)
        return logits.index_fill(-1, torch.tensor([UNKNOWN]), 50.0), state

    decoder.step = MethodType(prefers_unknown, decoder)
    for features in (FeatureSources(), FeatureSources(of_data=True)):
        predictor = CaptionPredictor(loaded, features=features)
        image = Image.new("RGB", (40, 40), "red")
        seen.append("<unk>" in predictor.caption([image])[0].caption)
    assert seen == [False, True]
