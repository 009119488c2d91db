"""Captions of files, folders and splits: every image has a line or is listed, whatever interrupts the work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from programs import TWO, launch, program_environment
from safetensors.torch import save_file
from tiny import tiny_recipe
from tiny_captioner import WORDS, captioner_recipe, write_captioner

import hlcli
from hlcli.captioning.batch import CaptionInputs
from hlcli.captioning.search import Ensemble, beam_search
from hlcli.captioning.vocabulary import UNKNOWN
from hlcli.errors import DataError, HlcliError, InputError
from hlcli.evaluation.caption_scoring import CaptionScorer, GeneratedCaption
from hlcli.evaluation.captions import evaluate_captions
from hlcli.features.embedding import embed_images
from hlcli.features.extractors import FeatureOptions
from hlcli.features.reading import FeatureFile, FeatureWriter
from hlcli.launching import make_accelerator
from hlcli.model_folder import open_model
from hlcli.prediction import image_stream
from hlcli.prediction.caption_files import CaptionFile, partial_file
from hlcli.prediction.caption_inputs import FeatureSources
from hlcli.prediction.caption_parts import Photo, StoredFeatures, fill_slots
from hlcli.prediction.caption_rows import Caption, make_caption
from hlcli.prediction.captions import CaptionPredictor, SearchOptions, caption, caption_images, named_images
from hlcli.prediction.labels import Predictor
from hlcli.tasks.captions import feature_facts

BACKBONE = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioner(tmp_path_factory.mktemp("models") / "one")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos, one file that is broken and one that is no image."""
    folder = tmp_path_factory.mktemp("photos") / "é 漢"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, name in enumerate(("a.jpg", "b.PNG", "c.png", "deeper/d.webp", "e.jpg", "f.jpg", "g.jpg", "h.jpg")):
        pixels = rng.integers(0, 256 // (1 + number), (40 + number, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "bad.jpg").write_bytes((folder / "a.jpg").read_bytes()[:100])
    (folder / "notes.txt").write_text("no image")
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


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
    predictor = CaptionPredictor(open_model(model))
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
    found = hlcli.caption(model, [photos / "a.jpg"], search=SearchOptions(num_captions=4)).captions[0]
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


DRAWN = SearchOptions(temperature=1.5, top_p=0.9, num_captions=2, seed=5)


@pytest.mark.parametrize("search", [SearchOptions(), DRAWN], ids=["searched", "drawn"])
def test_a_file_that_was_cut_anywhere_is_finished_as_if_never_interrupted(
    model: Path, photos: Path, tmp_path: Path, search: SearchOptions, monkeypatch: pytest.MonkeyPatch
):
    predictor = CaptionPredictor(open_model(model), search=search)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    contents: list[bytes] = []
    unlink = Path.unlink

    def remember(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".partial":
            contents.append(path.read_bytes())
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", remember)
    caption(predictor, [photos], out=whole)
    (content,) = contents
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for cut in (0, 5, ends[0], ends[0] + 1, ends[2], ends[3], ends[5] - 1, ends[-2] + 9, ends[-1]):
        partial_file(out).write_bytes(content[:cut])
        caption(predictor, [photos], out=out, resume=True)
        assert out.read_bytes() == whole.read_bytes(), cut
        assert lines(out.with_suffix(".failures.jsonl")) == lines(whole.with_suffix(".failures.jsonl"))
        assert not partial_file(out).exists()
        unlink(out)


def test_draws_depend_on_the_seed_alone(model: Path, photos: Path):
    def draw(seed: int, **options: Any) -> list[Caption]:
        search = SearchOptions(temperature=2.0, num_captions=3, seed=seed)
        return hlcli.caption(model, [photos], search=search, **options).captions

    assert draw(1) == draw(1, workers=1)
    assert draw(1) != draw(2)


def test_work_that_was_begun_is_neither_lost_nor_mixed(model: Path, photos: Path, tmp_path: Path):
    out, places = tmp_path / "o.jsonl", [photos / "a.jpg", photos / "b.PNG"]
    loaded = open_model(model)
    predictor = CaptionPredictor(loaded)
    caption(predictor, places, out=out)
    finished = out.read_bytes()
    caption(predictor, places, out=out, resume=True)
    assert out.read_bytes() == finished
    with pytest.raises(InputError, match="finished, but with other images"):
        caption(predictor, places[:1], out=out, resume=True)
    with CaptionFile(out, [str(place) for place in places], predictor.describe(), predictor.accelerator) as begun:
        begun.begin(resume=False, batch_size=3)
        with pytest.raises(InputError, match=r"Another process writes .*o\.jsonl"):
            caption(predictor, places, out=out, resume=True)
    assert out.read_bytes() == finished
    with pytest.raises(InputError, match=r"begun before.*--resume"):
        caption(predictor, places, out=out)
    with pytest.raises(InputError, match="begun with other images"):
        caption(predictor, places[:1], out=out, resume=True)
    with pytest.raises(InputError, match="begun with other search, batch size"):
        caption(CaptionPredictor(loaded, search=SearchOptions(beam_size=1), batch_size=2), places, out=out, resume=True)
    caption(predictor, places, out=out, resume=True)
    assert out.read_bytes() == finished


def begin(predictor: CaptionPredictor, photos: Path, out: Path) -> list[bytes]:
    """Stop before the file has its name; the lines of the results."""
    images = named_images([photos])
    with CaptionFile(out, images.names, predictor.describe(), predictor.accelerator) as file:
        file.begin(resume=False, batch_size=predictor.batch_size)
        for result in predictor.stream(images):
            file.write(result)
    return partial_file(out).read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("damage", ["doubled", "swapped", "zeros", "cut", "not a number", "more"])
def test_lines_that_are_not_of_their_images_are_done_again(
    model: Path, photos: Path, tmp_path: Path, damage: str, batch_size: int
):
    predictor = CaptionPredictor(open_model(model), batch_size=batch_size)
    whole, out = tmp_path / "whole.jsonl", tmp_path / "o.jsonl"
    caption(predictor, [photos], out=whole)
    first, *rows = begin(predictor, photos, out)
    damaged = {
        "doubled": [*rows[:5], *rows[3:]],
        "swapped": [*rows[:3], rows[4], rows[3], *rows[5:]],
        "zeros": [*rows[:4], bytes(len(rows[4]) - 1) + b"\n", *rows[5:]],
        "cut": [*rows[:4], rows[4][:20] + b"\n", *rows[5:]],
        "not a number": [*rows[:8], b'{"image": "x", "caption": "", "log_prob": NaN, "alternatives": []}\n'],
        "more": [*rows, rows[-1], b"{"],
    }[damage]
    partial_file(out).write_bytes(first + b"".join(damaged))
    caption(predictor, [photos], out=out, resume=True)
    assert out.read_bytes() == whole.read_bytes()
    assert lines(out.with_suffix(".failures.jsonl")) == lines(whole.with_suffix(".failures.jsonl"))


def test_a_finished_file_of_another_work_is_not_taken_for_this_one(model: Path, photos: Path, tmp_path: Path):
    loaded, out, places = open_model(model), tmp_path / "o.jsonl", [photos / "a.jpg", photos / "bad.jpg"]
    caption(CaptionPredictor(loaded), places, out=out)
    finished = out.read_bytes()
    greedy = CaptionPredictor(loaded, search=SearchOptions(beam_size=1))
    with pytest.raises(InputError, match="is finished, but with other search"):
        caption(greedy, places, out=out, resume=True)
    other = CaptionPredictor(open_model(write_captioner(tmp_path / "other", seed=1)))
    with pytest.raises(InputError, match="is finished, but with other models"):
        caption(other, places, out=out, resume=True)
    listed = out.with_suffix(".failures.jsonl")
    listed.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="nothing says what made it"):
        caption(CaptionPredictor(loaded), places, out=out, resume=True)
    (tmp_path / "moved").rename(listed)
    assert len(caption(CaptionPredictor(loaded), places, out=out, resume=True).failures) == 1
    (tmp_path / ".o.jsonl.work").unlink()
    with pytest.raises(InputError, match=r"nothing says what made it: .*\.o\.jsonl\.work"):
        caption(CaptionPredictor(loaded), places, out=out, resume=True)
    assert out.read_bytes() == finished


def test_a_file_that_vanishes_at_the_end_is_no_traceback(model: Path, photos: Path, tmp_path: Path):
    predictor, images = CaptionPredictor(open_model(model)), named_images([photos / "a.jpg"])
    with CaptionFile(tmp_path / "o.jsonl", images.names, {}, predictor.accelerator) as file:
        file.begin(resume=False, batch_size=1)
        partial_file(tmp_path / "o.jsonl").unlink()
        with pytest.raises(HlcliError, match=r"o\.jsonl(\.partial)? cannot be written: No such file"):
            file.finish(keep=True)


def test_after_an_error_the_same_program_can_go_on(model: Path, photos: Path, tmp_path: Path):
    def stop(found: Caption) -> None:
        raise RuntimeError("stopped")

    out = tmp_path / "o.jsonl"
    predictor = CaptionPredictor(open_model(model), batch_size=1, workers=1)
    with pytest.raises(RuntimeError, match="stopped") as kept:  # with its frames, and the loader processes
        caption_images(predictor, named_images([photos]), out, show=stop)
    caption_images(predictor, named_images([photos]), out, resume=True)
    assert len(lines(out)) == 8
    del kept


def test_images_whose_scores_are_not_finite_are_listed(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    places = [photos / "a.jpg", photos / "c.png", photos / "e.jpg"]
    for number, search in enumerate((SearchOptions(num_captions=2), DRAWN)):
        predictor = CaptionPredictor(open_model(model), search=search)
        expected = predictor.caption(places)
        compute = predictor.inputs.compute

        def damage(loaded: Any, compute: Any = compute) -> list[CaptionInputs]:
            (own,) = compute(loaded)
            return [own._replace(images=own.images.index_fill(0, torch.tensor([1]), torch.nan))]

        monkeypatch.setattr(predictor.inputs, "compute", damage)
        out = tmp_path / f"{number}.jsonl"
        found = caption(predictor, places, out=out)
        assert [failure.image for failure in found.failures] == [str(places[1])]
        assert f"{places[1]} cannot be captioned: its scores are not finite" in found.failures[0].error
        assert "NaN" not in out.read_text(encoding="utf-8")
        assert [row["image"] for row in lines(out)] == [str(places[0]), str(places[2])]
        if number == 0:
            assert [row["caption"] for row in lines(out)] == [expected[0].caption, expected[2].caption]


def test_a_loader_process_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch):
    made: list[dict[str, Any]] = []

    def remember(rows: Any, **options: Any) -> list[Any]:
        made.append(options)
        return []

    monkeypatch.setattr(image_stream, "DataLoader", remember)
    accelerator = make_accelerator(cpu=True, precision="fp32")
    for workers in (2, 0):
        assert list(image_stream.in_order([1, 2], list, accelerator, batch_size=1, workers=workers)) == []  # type: ignore[arg-type]
    assert [options["timeout"] for options in made] == [600, 0]


def test_an_interrupted_work_says_how_it_goes_on(model: Path, photos: Path, tmp_path: Path):
    def stop(found: Caption) -> None:
        raise KeyboardInterrupt

    predictor, images = CaptionPredictor(open_model(model), batch_size=1), named_images([photos])
    with pytest.raises(KeyboardInterrupt, match=r"o\.jsonl\.partial keeps what is done; --resume"):
        caption_images(predictor, images, tmp_path / "o.jsonl", show=stop)
    caption_images(predictor, images, tmp_path / "o.jsonl", resume=True)
    assert len(lines(tmp_path / "o.jsonl")) == 8


def test_a_killed_program_goes_on_where_it_was(model: Path, tmp_path: Path):
    folder, out = tmp_path / "many", tmp_path / "o.jsonl"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(150):
        Image.fromarray(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(folder / f"{number:03}.png")
    words = [sys.executable, "-m", "hlcli", "caption", model, folder, "--out", out, "--batch-size", "2"]
    program = subprocess.Popen(list(map(str, words)), env=program_environment(), stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 120
        while not (partial_file(out).exists() and partial_file(out).read_bytes().count(b"\n") > 8):
            assert program.poll() is None, program.stderr.read().decode()  # type: ignore[union-attr]
            assert time.monotonic() < end
            time.sleep(0.005)
    finally:
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
        assert program.stderr is not None
        program.stderr.close()
    assert not out.exists()
    predictor = CaptionPredictor(open_model(model), batch_size=2)
    caption(predictor, [folder], out=out, resume=True)
    caption(predictor, [folder], out=tmp_path / "whole.jsonl")
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_two_processes_write_the_same_file_as_one(model: Path, photos: Path, tmp_path: Path):
    words = ["caption", model, photos, "--num-captions", "2", "--batch-size", "2"]
    done = launch(*TWO, "-m", "hlcli", *words, "--out", tmp_path / "two.jsonl", ACCELERATE_USE_CPU="true")
    assert "1 images could not be captioned" in done.stderr, done.stderr
    hlcli.caption(
        model, [photos], out=tmp_path / "one.jsonl", search=SearchOptions(num_captions=2), batch_size=2
    )  # fmt: skip
    for ending in (".jsonl", ".failures.jsonl"):
        two, one = (tmp_path / f"{name}{ending}" for name in ("two", "one"))
        assert two.read_bytes() == one.read_bytes()
    assert not partial_file(tmp_path / "two.jsonl").exists()


def test_an_ensemble_of_equals_says_what_one_says(model: Path, photos: Path):
    alone = CaptionPredictor(open_model(model)).caption([photos / "a.jpg", photos / "c.png"])
    both = CaptionPredictor([open_model(model), open_model(model)])
    assert len(both.inputs.loads) == 1  # what both see is made once
    for one, other in zip(alone, both.caption([photos / "a.jpg", photos / "c.png"]), strict=True):
        assert one.caption == other.caption
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)


def test_members_of_an_ensemble_see_images_in_their_own_way(model: Path, photos: Path, tmp_path: Path):
    members = [open_model(model), open_model(write_captioner(tmp_path / "b", "data.image_size=96", seed=1))]
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
        CaptionPredictor([open_model(model), open_model(other)])


def test_models_of_labels_and_of_captions_are_told_apart(model: Path, tmp_path: Path):
    labels = hlcli.train(tiny_recipe("train.epochs=1"), tmp_path / "run").folder
    with pytest.raises(InputError, match="makes labels") as error:
        CaptionPredictor(open_model(labels))
    assert "hlcli eval MODEL --images" in str(error.value)
    with pytest.raises(InputError, match="makes captions") as error:
        Predictor(open_model(model))
    assert "hlcli caption MODEL IMAGES" in str(error.value)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"max_words": 20}, "--max-length must be between 1 and 19"),
        ({"beam_size": 0}, "--beam and --num-captions"),
        ({"num_captions": 99}, "the 13 words of the model"),
        ({"length_penalty": -1.0}, "--length-penalty"),
        ({"temperature": 0.0}, "--temperature"),
        ({"top_p": 1.5}, "--top-p"),
        ({"top_p": 0.0}, "--top-p"),
    ],
)
def test_impossible_searches_are_refused(model: Path, search: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        CaptionPredictor(open_model(model), search=SearchOptions(**search))


def test_the_longest_possible_caption_can_be_searched(model: Path, photos: Path):
    found = hlcli.caption(model, [photos / "a.jpg"], search=SearchOptions(max_words=19)).captions
    assert len(found) == 1


def test_a_split_is_captioned_as_training_measures_it(model: Path, tmp_path: Path):
    loaded = open_model(model)
    predictor = CaptionPredictor(loaded)
    found = evaluate_captions(predictor, out=tmp_path / "o.jsonl")
    scorer = CaptionScorer(loaded.recipe, predictor.vocabulary, predictor.accelerator, "test")
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


# Models that read stored features.


@pytest.fixture(scope="module")
def stored(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Feature files of the photos: grid, and windows of it."""
    folder = tmp_path_factory.mktemp("features")
    for kind in ("grid", "region"):
        options = FeatureOptions(kind=kind, backbone=BACKBONE, pretrained=False, image_size=64)
        embed_images(photos, options, out=folder / f"{kind}.hdf5", workers=0)
    return {kind: folder / f"{kind}.hdf5" for kind in ("grid", "region")}


@pytest.fixture(scope="module")
def reader(stored: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on such features."""
    return feature_reader(tmp_path_factory.mktemp("reader") / "m", stored, known=True)


def feature_reader(folder: Path, stored: dict[str, Path], *overrides: str, known: bool) -> Path:
    files = [f"data.{kind}_features={path}" for kind, path in stored.items()]
    data = captioner_recipe(*files).data
    facts = feature_facts(data) if known else dict.fromkeys(stored)
    return write_captioner(folder, *files, *overrides, features=facts)


def test_features_of_photos_are_those_that_files_hold(reader: Path, stored: dict[str, Path], photos: Path):
    places = [photos / name for name in ("a.jpg", "c.png", "deeper/d.webp", "h.jpg")]
    loaded = open_model(reader)
    computing = CaptionPredictor(loaded)
    assert len(computing.inputs.loads) == 1  # windows are pooled from the grid, and the backbone runs once
    reading = CaptionPredictor(loaded, features=FeatureSources(stored["grid"], stored["region"]))
    computed, read = computing.caption(places), reading.caption(places)
    for one, other in zip(computed, read, strict=True):
        assert (one.image, one.caption) == (other.image, other.caption)
        assert one.log_prob == pytest.approx(other.log_prob, abs=2e-3)
    regions = CaptionPredictor(loaded, features=FeatureSources(regions=stored["region"])).caption(places)
    assert [row.caption for row in regions] == [row.caption for row in read]


def test_photos_without_stored_features_are_listed(reader: Path, stored: dict[str, Path], photos: Path, tmp_path: Path):
    Image.open(photos / "a.jpg").save(tmp_path / "new.png")
    features = FeatureSources(stored["grid"], stored["region"])
    found = hlcli.caption(reader, [photos / "a.jpg", tmp_path / "new.png"], features=features)
    assert [row.image for row in found.captions] == [str(photos / "a.jpg")]
    assert "has no features of image" in found.failures[0].error


def test_photos_that_a_file_cannot_tell_apart_are_refused(tmp_path: Path):
    path = tmp_path / "grid.hdf5"
    with FeatureWriter(path) as writer:
        for image_id in ("1", "a/2.jpg", "2", "42", "x.y"):
            writer.write(image_id, {"features": np.ones((4, 3), dtype=np.float32)})
    stored = StoredFeatures(FeatureFile(path))
    stored.check(["a/1.jpg", "a/2.jpg", "b/2.jpg", "a/1.jpg", "b/3.jpg", "c/3.jpg"])
    for names in (
        ["a/1.jpg", "b/1.jpg"],
        ["a/1.jpg", "a/1.png"],
        ["b/2.jpg", "2"],
        ["COCO_val2014_000000000042.jpg", "z/0042.png"],
        ["x.y", "x.y.png"],
    ):
        with pytest.raises(InputError, match=re.escape(f"knows {names[0]} and {names[1]} by the same name")):
            stored.check(names)


def test_photos_of_the_same_name_are_refused_before_any_work(
    reader: Path, stored: dict[str, Path], photos: Path, tmp_path: Path
):
    places = [photos / "a.jpg", tmp_path / "a.jpg"]
    Image.open(places[0]).save(places[1])
    predictor = CaptionPredictor(open_model(reader), features=FeatureSources(stored["grid"], stored["region"]))
    with pytest.raises(InputError, match="by the same name"):
        predictor.caption(places)
    with pytest.raises(InputError, match="by the same name"):
        caption(predictor, places, out=tmp_path / "o.jsonl")
    assert not partial_file(tmp_path / "o.jsonl").exists()
    assert len(predictor.caption([places[0], places[0]])) == 2


def test_features_that_nobody_can_compute_are_asked_for(stored: dict[str, Path], photos: Path, tmp_path: Path):
    loaded = open_model(feature_reader(tmp_path / "m", stored, known=False))
    with pytest.raises(InputError, match=rf"{BACKBONE} with random weights.*--backbone-weights"):
        CaptionPredictor(loaded)
    with pytest.raises(InputError, match=r"region features.*--region-features"):
        CaptionPredictor(loaded, features=FeatureSources(grid=stored["grid"]))
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), weights)
    with pytest.raises(InputError, match="gives grid features of width"):  # its stage 3 is narrower than the files
        CaptionPredictor(loaded, features=FeatureSources(regions=stored["region"], backbone_weights=weights))
    whole = open_model(feature_reader(tmp_path / "n", stored, "backbone.stage=null", known=False))
    predictor = CaptionPredictor(whole, features=FeatureSources(regions=stored["region"], backbone_weights=weights))
    assert predictor.caption([photos / "a.jpg"])[0].caption


def test_features_by_other_weights_are_refused(stored: dict[str, Path], tmp_path: Path):
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), weights)
    data = captioner_recipe(*(f"data.{kind}_features={path}" for kind, path in stored.items())).data
    facts = {kind: {**(known or {}), "weights": "sha256:0"} for kind, known in feature_facts(data).items()}
    files = [f"data.{kind}_features={path}" for kind, path in stored.items()]
    loaded = open_model(write_captioner(tmp_path / "m", *files, features=facts))
    with pytest.raises(InputError, match=r"not be those the model was trained on: weights is sha256:"):
        CaptionPredictor(loaded, features=FeatureSources(backbone_weights=weights))


def test_files_that_have_no_use_are_refused(model: Path, stored: dict[str, Path]):
    for features, option in (
        (FeatureSources(grid=stored["grid"]), "--grid-features"),
        (FeatureSources(regions=stored["region"]), "--region-features"),
        (FeatureSources(backbone_weights=stored["grid"]), "--backbone-weights"),
    ):
        with pytest.raises(InputError, match=f"{option} .* has no use"):
            CaptionPredictor(open_model(model), features=features)


def test_files_of_another_width_are_refused(reader: Path, stored: dict[str, Path], tmp_path: Path, photos: Path):
    options = FeatureOptions(kind="grid", backbone="test_vit", pretrained=False, image_size=32)
    embed_images(photos, options, out=tmp_path / "narrow.hdf5", workers=0)
    with pytest.raises(InputError, match="of width 64, but the model reads"):
        CaptionPredictor(open_model(reader), features=FeatureSources(tmp_path / "narrow.hdf5", stored["region"]))


def test_training_keeps_what_made_its_features(tmp_path: Path, photos: Path):
    data = captioner_recipe().data
    paths = {}
    for kind in ("grid", "region"):
        paths[kind] = tmp_path / f"{kind}.hdf5"
        options = FeatureOptions(kind=kind, backbone=BACKBONE, pretrained=False, image_size=64)
        embed_images(data, options, out=paths[kind], workers=0)
    settings = [f"data.{kind}_features={path}" for kind, path in paths.items()]
    recipe = captioner_recipe(*settings, "train.epochs=1", "data.min_word_count=1")
    run = hlcli.train(recipe, tmp_path / "run").folder
    loaded = open_model(run)
    assert loaded.facts["features"] == {kind: FeatureFile(path, kind).facts for kind, path in paths.items()}
    split = evaluate_captions(CaptionPredictor(loaded, features=FeatureSources(of_data=True)), "val")
    assert split.metrics is not None
    assert split.metrics.num_images == 5
    for path in paths.values():
        path.unlink()
    assert len(hlcli.caption(run, [photos]).captions) == 8


def test_a_photo_is_looked_for_by_less_and_less_of_its_path():
    assert list(Photo("x/y/COCO_1.jpg", b"").ids()) == ["x/y/COCO_1.jpg", "y/COCO_1.jpg", "COCO_1.jpg", "COCO_1"]


def test_regions_fill_slots_and_the_rest_is_padding():
    found = fill_slots([torch.ones(2, 3), torch.ones(5, 3), torch.zeros(0, 3)], 4, torch.device("cpu"))
    assert found["region_features"].shape == (3, 4, 3)
    assert found["padding_mask"].tolist() == [[False, False, True, True], [False] * 4, [True] * 4]


def test_photos_get_known_words_alone_and_splits_are_scored_as_the_recipe_says(tmp_path: Path) -> None:
    """The unknown word is made the likeliest of all."""
    folder = write_captioner(tmp_path / "model")
    loaded = open_model(folder)
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
