"""Captions in the one loop: both objectives, exact resume, processes, the best model's rules, stored features."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_captions import SCST, tiny_captions
from warm_programs import run_two

import hlcli
from hlcli.data.store import open_records
from hlcli.errors import CheckpointError, DataError, RecipeError
from hlcli.evaluation.caption_scoring import CaptionScorer
from hlcli.interrupts import Interrupts
from hlcli.launching import make_accelerator
from hlcli.models.folder import read_model
from hlcli.runs import Run
from hlcli.training import checkpoints, loop
from hlcli.training.state import set_up


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return checkpoints.load_checkpoint(run.checkpoint_file)[1]["model"]


def assert_same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def evaluations(run: Run) -> list[dict[str, Any]]:
    return [event["metrics"] for event in run.events() if event["event"] == "evaluation"]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch; not to be changed."""
    return hlcli.train(tiny_captions("train.epochs=1"), tmp_path_factory.mktemp("short") / "run")


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three epochs that learns; not to be changed."""
    return hlcli.train(tiny_captions("train.epochs=3", "optim.lr=5e-3"), tmp_path_factory.mktemp("learned") / "run")


def first_stage(short: Run, folder: Path) -> Run:
    """A run that says of itself that it was very good."""
    run = Run(shutil.copytree(short.folder, folder / "first"))
    facts = json.loads((run.model_folder / "model.json").read_text())
    facts["facts"]["metrics"]["CIDEr"] = 9.5
    (run.model_folder / "model.json").write_text(json.dumps(facts))
    return run


@pytest.mark.parametrize("rows", ["grouped", "pairs"])
def test_a_run_learns_measures_and_keeps_its_words(tmp_path: Path, learned: Run, rows: str) -> None:
    overrides = ("train.epochs=2", "optim.lr=5e-3", "objective.group_captions=false", "train.last_batch=keep")
    run = learned if rows == "grouped" else hlcli.train(tiny_captions(*overrides), tmp_path / "run")
    found = evaluations(run)
    assert set(found[0]) == {"loss", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"}
    assert found[-1]["loss"] < found[0]["loss"]
    words = json.loads((run.folder / "vocabulary.json").read_text())
    loaded = read_model(run.folder)
    assert loaded.vocabulary is not None
    assert loaded.vocabulary.to_json() == words
    assert run.best_model()["select_by"] == "CIDEr"


def test_both_views_have_the_same_rows_of_words(tmp_path: Path, short: Run) -> None:
    """24 images with five captions each are 120 pairs."""
    pairs = hlcli.train(tiny_captions("objective.group_captions=false", "train.epochs=1"), tmp_path / "pairs")
    assert max(event["step"] for event in pairs.events()) == 120 // 6
    assert max(event["step"] for event in short.events()) == 24 // 6


def test_learning_rates_follow_the_table_of_epochs(tmp_path: Path) -> None:
    run = hlcli.train(tiny_captions(), tmp_path / "run")
    rates = {(event["epoch"], round(event["metrics"]["lr"], 9)) for event in run.events() if event["event"] == "step"}
    assert rates == {(1, 5e-4), (2, 1e-3)}


@pytest.mark.parametrize("overrides", [("model.dropout=0.1",), SCST], ids=["cross_entropy", "self_critical"])
def test_a_run_that_is_resumed_in_mid_epoch_ends_with_the_same_bits(
    tmp_path: Path, overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_captions(*overrides, "data.num_train=16", "data.num_val=4")
    whole = hlcli.train(recipe, tmp_path / "whole")
    real = loop._stop_if_asked

    def stop_after_three_steps(state: Any) -> None:
        state.interrupts.requested = state.progression.step == 3
        real(state)

    monkeypatch.setattr(loop, "_stop_if_asked", stop_after_three_steps)
    with pytest.raises(KeyboardInterrupt):
        hlcli.train(recipe, tmp_path / "cut")
    monkeypatch.undo()
    resumed = hlcli.train(recipe, tmp_path / "cut", resume=True)
    assert_same_bits(weights_of(whole), weights_of(resumed))
    assert evaluations(whole) == evaluations(resumed)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("objective.baseline=greedy",),
        ("objective.gradient=teacher_forcing",),
        ("objective.df_unit=image",),
    ],
)
def test_rewards_train_the_model_and_are_logged(tmp_path: Path, learned: Run, overrides: tuple[str, ...]) -> None:
    start = (f"train.init_weights={learned.folder}", "optim.lr=1e-4", "train.epochs=1", "model.dropout=0")
    small = ("data.num_train=12", "data.num_val=4")
    run = hlcli.train(tiny_captions(*SCST, *start, *small, *overrides), tmp_path / "second")
    steps = [event["metrics"] for event in run.events() if event["event"] == "step"]
    assert all(metrics.keys() >= {"self_critical", "reward", "baseline"} for metrics in steps)
    assert all(metrics["loss"] == metrics["self_critical"] for metrics in steps)
    assert max(metrics["reward"] for metrics in steps) > 0
    before, after = read_model(learned.folder).model.state_dict(), weights_of(run)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_gradients_of_both_ways_through_a_search_agree(tmp_path: Path) -> None:
    """Without dropout, training through the search and through one pass over what it found is the same."""
    gradients = []
    for way in ("search", "teacher_forcing"):
        recipe = tiny_captions(*SCST, "model.dropout=0", f"objective.gradient={way}", "backbone.freeze_batch_norm=true")
        with Interrupts() as interrupts:
            made = set_up(recipe, Run(tmp_path / way), make_accelerator(cpu=True), interrupts, resume=False)
        made.order.start(0)
        batch = made.task.on_device(next(iter(made.loader)), 1)
        terms = made.task.losses(made.model.eval(), batch, made.criterion, epoch=0)
        sum(terms.trained.values()).backward()
        gradients.append({n: p.grad.clone() for n, p in made.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_only_a_better_model_than_the_first_stages_is_kept(tmp_path: Path, short: Run) -> None:
    first = first_stage(short, tmp_path)
    settings = (*SCST, f"train.init_weights={first.folder}", "train.init_best=true", "train.epochs=1")
    second = hlcli.train(tiny_captions(*settings), tmp_path / "second")
    assert second.best_model()["metrics"]["CIDEr"] == 9.5
    assert_same_bits(read_model(first.folder).model.state_dict(), read_model(second.folder).model.state_dict())
    with pytest.raises(RecipeError, match="does not say its loss"):
        hlcli.train(tiny_captions(*settings, "eval.select_by=loss"), tmp_path / "third")


def test_the_state_of_the_best_epoch_can_be_gone_on_from(tmp_path: Path, short: Run) -> None:
    recipe = tiny_captions("train.keep_best_state=true", "train.epochs=3")
    run = hlcli.train(recipe, tmp_path / "run")
    progression, states = checkpoints.load_checkpoint(run.best_checkpoint_file)
    assert progression.best_epoch == progression.epoch - 1
    assert_same_bits(states["model"], dict(read_model(run.folder).model.state_dict()))
    again = hlcli.train(recipe, tmp_path / "run", from_best=True)
    assert again.state() == "finished"
    other = shutil.copytree(short.folder, tmp_path / "other")
    with pytest.raises(CheckpointError, match="did not keep the state of its best epoch"):
        hlcli.train(tiny_captions("train.epochs=1"), other, from_best=True)


def test_two_processes_train_and_measure_as_one(tmp_path: Path) -> None:
    settings = ("backbone.freeze_batch_norm=true", "model.dropout=0", "optim.optimizer=sgd", "optim.lr=0.01")
    recipe = tiny_captions(*settings, "train.epochs=1", "objective.label_smoothing=0")
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    done = run_two("train", "--recipe", path, "--run", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    alone = hlcli.train(recipe, tmp_path / "one")
    both = Run(tmp_path / "two")
    one, two = evaluations(alone)[-1], evaluations(both)[-1]
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert re.findall(r"Captioning[^:]*: (.*) images in", (both.folder / "log.txt").read_text()) == ["9"]
    found = weights_of(both)
    for name, value in weights_of(alone).items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("rows", ["grouped", "pairs"])
def test_accumulated_parts_of_captions_give_the_step_of_the_whole_batch(tmp_path: Path, rows: str) -> None:
    """Captions of a part have other lengths than those of the next: words weigh alike, not parts."""
    settings = ("backbone.freeze_batch_norm=true", "model.dropout=0", "optim.optimizer=sgd", "optim.lr=0.1")
    settings += ("train.epochs=1", f"objective.group_captions={str(rows == 'grouped').lower()}")
    settings += ("data.num_train=12", "data.num_val=2")
    whole = hlcli.train(tiny_captions(*settings), tmp_path / "whole")
    parts = hlcli.train(tiny_captions(*settings, "train.accumulation_steps=3"), tmp_path / "parts")
    found = weights_of(parts)
    for name, value in weights_of(whole).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_loss_counts_every_word_of_the_references_once(short: Run) -> None:
    """Whatever the batches: 9 images in batches of 4 and of 2."""
    loaded = read_model(short.folder)
    assert loaded.vocabulary is not None
    found = []
    for size in (4, 2):
        scorer = CaptionScorer(loaded.recipe, loaded.vocabulary, make_accelerator(cpu=True), "val", batch_size=size)
        found.append(scorer.score([loaded.model])[0])
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-6)
    assert [caption.text for caption in found[0].captions] == [caption.text for caption in found[1].captions]


def write_features(path: Path, kind: str, recipe: Any, rows: int, width: int, *, leave_out: str = "") -> None:
    """Features as others publish them: float32, no attribute."""
    import h5py

    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as handle:
        for split in ("train", "val", "test"):
            for record in open_records(recipe.data, split):
                count = rows if kind == "grid" else int(rng.integers(1, rows + 1))
                if record.image_id != leave_out:
                    features = rng.normal(size=(count, width)).astype(np.float32)
                    handle[f"{record.image_id}_features"] = features


def test_stored_features_train_without_an_image_encoder(tmp_path: Path) -> None:
    recipe = tiny_captions()
    write_features(tmp_path / "grid.hdf5", "grid", recipe, 9, 10)
    write_features(tmp_path / "regions.hdf5", "region", recipe, 6, 14)
    files = ["model.train_backbone=false"]
    files += [f"data.grid_features={tmp_path / 'grid.hdf5'}", f"data.region_features={tmp_path / 'regions.hdf5'}"]
    run = hlcli.train(tiny_captions(*files, "data.max_regions=4", "train.epochs=1"), tmp_path / "run")
    loaded = read_model(run.folder)
    assert loaded.model.backbone is None
    assert (loaded.recipe.model.grid_width, loaded.recipe.model.region_width) == (10, 14)
    write_features(tmp_path / "grid.hdf5", "grid", recipe, 9, 10, leave_out="shapes-val-000003")
    with pytest.raises(DataError, match="no features of image shapes-val-000003"):
        hlcli.train(tiny_captions(*files, "train.epochs=1"), tmp_path / "again")


def test_a_second_stage_takes_the_words_of_the_first(tmp_path: Path) -> None:
    first = hlcli.train(tiny_captions("train.epochs=1", "data.min_word_count=9"), tmp_path / "first")
    start = f"train.init_weights={first.folder}"
    second = hlcli.train(tiny_captions(*SCST, start, "train.epochs=1"), tmp_path / "second")
    assert (second.folder / "vocabulary.json").read_text() == (first.folder / "vocabulary.json").read_text()
    words = json.loads((first.folder / "vocabulary.json").read_text())
    words["tokens"][4:] = words["tokens"][:3:-1]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(words))
    with pytest.raises(CheckpointError, match="trained with other words"):
        hlcli.train(tiny_captions(*SCST, start, f"data.vocabulary={other}"), tmp_path / "third")


def test_patience_of_a_second_stage_counts_from_the_threshold(tmp_path: Path, short: Run) -> None:
    """A model that is better than the last but not than the first stage is no new best."""
    first = first_stage(short, tmp_path)
    settings = (*SCST, f"train.init_weights={first.folder}", "train.init_best=true", "train.epochs=6")
    run = hlcli.train(tiny_captions(*settings, "train.early_stop_epochs=1"), tmp_path / "second")
    assert len(evaluations(run)) == 2
