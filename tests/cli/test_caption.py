"""`hlcli caption` and `hlcli eval` of captions, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import failed, run
from tiny import tiny_recipe
from tiny_captioner import WORDS, write_captioner

import hlcli
from hlcli.data.store import open_records
from hlcli.models.folder import read_model
from hlcli.prediction.result_work import WorkRecord


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioner(tmp_path_factory.mktemp("é") / "model 漢")


@pytest.fixture(scope="module")
def label_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hlcli.train(tiny_recipe("train.epochs=1"), tmp_path_factory.mktemp("labels") / "run").folder


def test_captions_are_lines_or_json_alone(model: Path, photos: Path):
    done = run("--quiet", "caption", model, photos, "--num-captions", "3")
    assert done.exit_code == 0, done.output
    found = hlcli.caption(model, [photos], num_captions=3).captions
    shown = [line for line in done.stdout.splitlines() if not line.startswith("    ")]
    assert shown == [f"{row.image}: {row.caption}" for row in found]
    document = json.loads(run("caption", model, photos, "--num-captions", "3", "--json").stdout)
    assert document == {"captions": [row.to_json() for row in found], "failures": []}


def test_images_that_cannot_be_decoded_end_with_3(model: Path, photos: Path, tmp_path: Path):
    (photos / "broken.png").write_bytes(b"\x89PNG")
    done = run("caption", model, f"{photos}/*", "--out", tmp_path / "o.jsonl")
    assert done.exit_code == 3
    assert "1 image could not be captioned; all are listed in" in done.stderr
    assert done.stdout == ""
    assert len((tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    again = run("caption", model, f"{photos}/*", "--out", tmp_path / "o.jsonl", "--resume", "--json")
    assert again.exit_code == 3
    assert json.loads(again.stdout)["failures"][0]["image"].endswith("broken.png")


def test_options_reach_the_search(model: Path, photos: Path):
    def words(*options: object) -> list[str]:
        done = run("caption", model, photos, "--json", *options)
        assert done.exit_code == 0, done.output
        return [row["caption"] for row in json.loads(done.stdout)["captions"]]

    assert all(len(text.split()) <= 2 for text in words("--max-length", "2"))
    blocked = [text.split() for text in words("--block-ngrams", "1")]
    assert all(len(set(text)) == len(text) for text in blocked)
    drawn = words("--sample", "--temperature", "5", "--seed", "1")
    assert drawn == words("--sample", "--temperature", "5", "--seed", "1")
    assert drawn != words("--sample", "--temperature", "5", "--seed", "2")
    in_recipe = ("--set", "eval.beam_size=3", "--set", "eval.length_penalty=1")
    assert words("--beam", "3", "--length-penalty", "1") == words(*in_recipe)
    draws = ("--set", "eval.decoder=sample")
    assert words(*draws, "--set", "eval.temperature=5", "--set", "eval.seed=1") == drawn
    assert words(*draws, "--temperature", "5", "--seed", "1") == drawn
    assert words(*draws, "--beam", "3", "--length-penalty", "1") == words(*in_recipe)


def test_a_split_is_scored_and_written(model: Path, tmp_path: Path):
    table = run("caption", model, "--split", "val", "--out", tmp_path / "o.jsonl")
    assert table.exit_code == 0, table.output
    for text in ("val", "BLEU-4", "ROUGE-L", "CIDEr", "5 images", "shapes-val-000000: ", "true: "):
        assert text in table.stdout
    rows = list(map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines()))
    assert [row["image"] for row in rows] == [f"shapes-val-{number:06}" for number in range(5)]
    failed(run("caption", model, "--split", "val", "--out", tmp_path / "o.json"), "has no number of COCO's", ".jsonl")
    document = json.loads(run("caption", model, "--split", "val", "--json").stdout)
    assert (document["split"], document["images"]) == ("val", 5)
    assert json.loads(run("eval", model, "--split", "val", "--json").stdout) == document
    assert json.loads(run("eval", model, "--json").stdout)["split"] == "test"


def test_result_files_are_scored_without_a_model(model: Path, tmp_path: Path):
    lines, out, references = (tmp_path / name for name in ("o.jsonl", "o.json", "captions.json"))
    expected = json.loads(run("caption", model, "--split", "test", "--out", lines, "--json").stdout)
    captions = [json.loads(line)["caption"] for line in lines.read_text(encoding="utf-8").splitlines()]
    out.write_text(json.dumps([{"image_id": row, "caption": caption} for row, caption in enumerate(captions)]))
    records = open_records(read_model(model).recipe.data, "test")
    annotations = [
        {"id": 10 * row + number, "image_id": row, "caption": text}
        for row in range(len(records))
        for number, text in enumerate(records[row].captions)
    ]
    references.write_text(json.dumps({"images": [], "annotations": annotations}))
    done = run("eval", "--captions", out, "--references", references, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"images": 7, "metrics": expected["metrics"]}
    one = run("eval", "--captions", out, "--references", references, "--metrics", "CIDEr")
    assert "CIDEr" in one.stdout
    assert "BLEU" not in one.stdout
    failed(run("eval", "--captions", out), "--references is missing")
    failed(run("eval", model, "--captions", out, "--references", references), "MODEL has no use")
    words = ("eval", "--captions", out, "--references", references, "--set")
    failed(run(*words, "eval.caption_metrics=[METEOR]"), "--set has no use", "Use --metrics METEOR,SPICE.")
    failed(run(*words, "eval.beam_size=3"), "--set has no use", "Leave it out.")
    failed(run("eval", "--captions", out, "--references", references, "--metrics", "WER"), "WER")
    failed(run("eval", model, "--metrics", "CIDEr"), "--metrics is for --captions", "eval.caption_metrics")


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ([], ["nothing to caption", "--split test"]),
        (["a.jpg", "--split", "test"], ["--split and images exclude each other"]),
        (["a.jpg", "--resume"], ["--resume goes on with a file"]),
        (["a.jpg", "--temperature", "2"], ["A search has no use for --temperature", "--sample"]),
        (["a.jpg", "--sample", "--beam", "3"], ["Drawing words (--sample) has no use for --beam", "Leave it out"]),
        (["a.jpg", "--set", "eval.decoder=sample", "--beam", "3", "--seed", "1"], ["A search has no use for --seed"]),
        (["a.jpg", "--sample", "--top-p", "1.5"], ["--top-p 1.5: eval.top_p: must be at most 1.0 (got 1.5)"]),
        (["a.jpg", "--beam", "0"], ["--beam 0: eval.beam_size: must be at least 1 (got 0)"]),
        (["a.jpg", "--max-length", "0"], ["--max-length 0: eval.max_words: must be at least 1"]),
        (["a.jpg", "--out", "o.csv"], [".jsonl, .json"]),
        (["nowhere"], ["nowhere: no image there"]),
        (["a.jpg", "--ensemble", "MODEL", "MODEL"], ["holds a model; images were expected", "--ensemble before each"]),
        (["--split", "night"], ["no split 'night'"]),
        (["--split", "test", "--set", "model.dim=32"], ["its model and backbone are what they are"]),
        (["--split", "test", "--set", "data.image_size=32"], ["data.image_size"]),
    ],
)
def test_what_cannot_be_meant_is_refused(model: Path, options: list[str], texts: list[str]):
    failed(run("caption", model, *(model if word == "MODEL" else word for word in options)), *texts)


def test_a_file_goes_on_with_the_same_work_and_alone(model: Path, photos: Path, tmp_path: Path):
    words = ("caption", model, photos, "--out", tmp_path / "o.jsonl")
    assert run(*words).exit_code == 0
    assert run(*words, "--resume").exit_code == 0
    failed(run(*words, "--resume", "--beam", "1"), "is finished, but with other search", "--resume")
    record = WorkRecord(tmp_path / "o.jsonl", {})
    record.lock()
    for resume in ([], ["--resume"]):
        failed(run(*words, *resume), "Another process writes", "Wait for it")
    record.unlock()
    assert run(*words).exit_code == 0


def test_files_of_features_that_nobody_reads_are_refused(model: Path, photos: Path):
    for option in ("--grid-features", "--region-features", "--backbone-weights"):
        failed(run("caption", model, photos, option, "x"), f"{option} x has no use")


def test_an_ensemble_is_a_repeated_option(model: Path, photos: Path, tmp_path: Path):
    second = write_captioner(tmp_path / "second", seed=1)
    other_words = write_captioner(tmp_path / "third", words={**WORDS, "moon": 2})
    done = run("caption", model, photos, "--ensemble", second, "--ensemble", model, "--json")
    assert done.exit_code == 0, done.output
    failed(run("caption", model, photos, "--ensemble", other_words), "Model 2 of the ensemble knows other words")


def test_each_kind_of_model_is_sent_to_its_commands(model: Path, label_model: Path, photos: Path, tmp_path: Path):
    failed(run("caption", label_model, photos), "makes labels", "hlcli eval MODEL --images")
    failed(run("caption", model, photos, "--ensemble", label_model), "makes labels")
    failed(run("eval", model, "--images", photos), "no use for --images", "hlcli caption MODEL IMAGES")
    failed(run("eval", model, "--thresholds", "0.5", "--per-label"), "no use for --thresholds, --per-label")
    for kind in ("levels", "attention", "scenes"):
        failed(run("visualize", kind, model), "makes captions", "hlcli visualize captions")
    failed(run("visualize", "captions", label_model), "makes labels")


def test_models_become_the_papers_checkpoints_and_back(photos: Path, tmp_path: Path):
    features = (
        "data.grid_features=g.hdf5",
        "data.region_features=r.hdf5",
        "model.grid_width=8",
        "model.region_width=6",
    )
    model = write_captioner(tmp_path / "model", *features)
    loaded = read_model(model)
    assert loaded.vocabulary is not None
    (tmp_path / "words.json").write_text(json.dumps(loaded.vocabulary.to_json()))
    (tmp_path / "recipe.yaml").write_text(loaded.recipe.to_yaml())
    assert run("convert", model, "--to", "upstream", "--out", tmp_path / "m.pth").exit_code == 0
    words = ("convert", tmp_path / "m.pth", "--recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "back")
    done = run(*words, "--set", f"data.vocabulary={tmp_path / 'words.json'}")
    assert done.exit_code == 0, done.output
    again = read_model(tmp_path / "back")
    assert again.vocabulary == loaded.vocabulary
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
    failed(run("caption", tmp_path / "back", photos), "random weights", "--backbone-weights")
