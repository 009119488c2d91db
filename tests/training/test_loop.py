"""The loop: runs end to end, resumes bit for bit, stops cleanly, keeps the best model."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_recipe
from tiny_captions import tiny_captions
from warm_programs import WarmProgram, run_warm

import hlcli
from hlcli.errors import CheckpointError, RecipeError, TrainingError
from hlcli.runs import Run
from hlcli.training import selection
from hlcli.training.state import Training


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny recipe, trained without an interruption; not to be changed."""
    return hlcli.train(tiny_recipe(), tmp_path_factory.mktemp("whole") / "run")


def final_state(run: Run) -> dict:
    return torch.load(run.checkpoint_file, weights_only=True)


def assert_same_state(first: Run, second: Run) -> None:
    a, b = final_state(first), final_state(second)
    for part in ("model", "ema"):
        assert a[part].keys() == b[part].keys()
        assert [name for name in a[part] if not torch.equal(a[part][name], b[part][name])] == []
    for index, moments in a["optimizer"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, b["optimizer"]["state"][index][name])
    weights = [load_file(run.model_folder / "model.safetensors") for run in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    evaluations = [[e for e in run.events() if e["event"] == "evaluation"] for run in (first, second)]
    assert evaluations[0] == evaluations[1]


def test_run_folder_is_complete_and_metrics_are_lines_of_json(whole: Run):
    names = {path.name for path in whole.folder.iterdir()}
    assert {
        "recipe.yaml",
        "environment.json",
        "metrics.jsonl",
        "log.txt",
        "status.json",
        "checkpoints",
        "model",
    } <= names
    assert not [name for name in names if name.startswith(".")]
    status = json.loads(whole.status_file.read_text())
    assert (status["state"], status["exit_code"]) == ("finished", 0)
    events = whole.events()
    evaluations = [e for e in events if e["event"] == "evaluation"]
    assert [(e["epoch"], e["weights"], e["step"]) for e in evaluations] == [
        (1, "regular", 6), (1, "ema", 6), (2, "regular", 12), (2, "ema", 12),
    ]  # fmt: skip
    assert {"mAP", "F1_samples", "coarse/mAP", "middle/F1_macro", "loss", "threshold"} <= set(evaluations[0]["metrics"])
    best = max(evaluations, key=lambda e: e["metrics"]["mAP"])
    facts = whole.best_model()
    assert (facts["epoch"], facts["weights"]) == (best["epoch"], best["weights"])
    assert facts["metrics"]["mAP"] == best["metrics"]["mAP"]


def test_same_recipe_same_bits(tiny, tmp_path: Path, whole: Run):
    assert_same_state(whole, hlcli.train(tiny(), tmp_path / "b"))


def test_loader_processes_do_not_change_the_bits(tiny, tmp_path: Path, whole: Run):
    assert_same_state(whole, hlcli.train(tiny("data.workers=2"), tmp_path / "b"))


def test_kill_in_mid_epoch_and_resume_is_bit_identical(tiny, tmp_path: Path, whole: Run):
    folder, recipe = tmp_path / "killed", tmp_path / "often.yaml"
    recipe.write_text(tiny("train.checkpoint_every_steps=2").to_yaml())
    words = ["train", "--recipe", recipe, "--run", folder]
    for steps in (3, 9):  # in the first and in the second epoch, between two checkpoints
        program = (
            "import os, signal, hlcli.training.loop as t\n"
            "real, count = t._step, 0\n"
            "def step(training, batches):\n"
            f"    if training.progression.step == {steps}: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    real(training, batches)\n"
            "t._step = step\n"
        )
        killed = run_warm(*words, *(["--resume"] if steps > 3 else []), before=program)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert final_state(Run(folder))["progression"]["step"] < steps
    done = run_warm(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert_same_state(whole, Run(folder))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_stop_signal_saves_and_says_how_to_resume(tiny, tmp_path: Path, number: int):
    recipe = tmp_path / "long.yaml"
    recipe.write_text(tiny("train.epochs=500").to_yaml())
    folder = tmp_path / "run"
    program = WarmProgram("train", "--recipe", recipe, "--run", folder)
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    program.send(number)
    done = program.wait()
    assert done.returncode == 130, done.stderr
    assert f"hlcli train --run {folder} --resume" in done.stderr
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("interrupted", 130)
    assert final_state(Run(folder))["progression"]["step"] > 0


def test_loss_that_is_not_a_number_stops_and_keeps_the_last_good_state(tiny, tmp_path: Path):
    recipe = tiny("optim.lr=1e30", "schedule.schedule=constant", "train.checkpoint_every_steps=1", "train.epochs=1")
    with pytest.raises(TrainingError, match=r"not a number|loss is"):
        hlcli.train(recipe, tmp_path / "run")
    run = Run(tmp_path / "run")
    status = json.loads(run.status_file.read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    if run.checkpoint_file.exists():
        assert all(v.isfinite().all() for v in final_state(run)["model"].values() if v.is_floating_point())


def test_accumulated_parts_give_the_same_step_as_the_whole_batch(tiny, tmp_path: Path):
    settings = ("train.epochs=1", "backbone.freeze_batch_norm=true", "model.dropout=0", "train.ema_decay=null",
                "optim.optimizer=sgd", "optim.lr=0.01")  # fmt: skip
    whole = final_state(hlcli.train(tiny(*settings), tmp_path / "a"))["model"]
    parts = final_state(hlcli.train(tiny(*settings, "train.accumulation_steps=4"), tmp_path / "b"))["model"]
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=2e-3, atol=2e-4)


def test_used_folder_is_refused_and_names_count_up(tiny, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = hlcli.train(tiny("train.epochs=1"), name="x")
    second = hlcli.train(tiny("train.epochs=1"), name="x")
    assert [first.folder, second.folder] == [Path("runs/x"), Path("runs/x-2")]
    with pytest.raises(CheckpointError, match="not empty"):
        hlcli.train(tiny(), first.folder)


def test_resuming_with_another_recipe_names_the_difference(tiny, tmp_path: Path):
    run = hlcli.train(tiny("train.epochs=1"), tmp_path / "run")
    with pytest.raises(RecipeError, match=r"optim.lr \(was 0.001, now 0.5\)"):
        hlcli.train(tiny("train.epochs=1", "optim.lr=0.5"), run.folder, resume=True)


def test_unknown_selection_metric_lists_the_known_ones(tiny, tmp_path: Path):
    with pytest.raises(RecipeError, match="no metric 'mapp'"):
        hlcli.train(tiny("eval.select_by=mapp"), tmp_path / "run")


def test_early_stop_ends_a_run_that_gets_no_better(tiny, tmp_path: Path):
    recipe = tiny("train.epochs=9", "train.ema_decay=null", "optim.lr=1e-30", "train.early_stop_epochs=2",
                  "backbone.freeze_batch_norm=true", "schedule.schedule=constant")  # fmt: skip
    run = hlcli.train(recipe, tmp_path / "run")
    assert len([e for e in run.events() if e["event"] == "evaluation"]) == 4


def test_initial_weights_are_taken_but_for_those_left_out(tiny, tmp_path: Path):
    first = hlcli.train(tiny("train.epochs=1"), tmp_path / "a")
    settings = (
        f"train.init_weights={first.model_folder}",
        "train.init_omit=[head.classifier]",
        "train.epochs=1",
        "optim.lr=1e-30",
        "optim.weight_decay=0",
        "train.ema_decay=null",
    )
    start = load_file(first.model_folder / "model.safetensors")
    second = final_state(hlcli.train(tiny(*settings), tmp_path / "b"))["model"]
    assert torch.equal(second["head.fine_queries"], start["head.fine_queries"])
    assert not torch.equal(second["head.classifier.weight"], start["head.classifier.weight"])


def test_resumed_run_keeps_its_number_of_threads(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    run = hlcli.train(tiny("train.epochs=1"), tmp_path / "run")
    assert chosen == []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    hlcli.train(tiny("train.epochs=1"), run.folder, resume=True)
    assert chosen == [3]


def test_second_training_in_a_folder_is_refused_and_leaves_the_first_alone(tiny, tmp_path: Path):
    run = hlcli.train(tiny("train.epochs=1"), tmp_path / "run")
    run.lock()
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(CheckpointError, match="Another process trains"):
            hlcli.train(tiny("train.epochs=1"), run.folder, **options)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    run.unlock()
    hlcli.train(tiny("train.epochs=1"), run.folder, overwrite=True)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_error_that_nobody_foresaw_is_in_the_status(tiny, tmp_path: Path, monkeypatch, is_stopped: bool):
    """After a stop signal too: what says `interrupted` is begun again, for ever."""

    def fail(*_: object) -> None:
        if is_stopped:
            signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("a bug")

    monkeypatch.setattr("hlcli.training.loop._train_epoch", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        hlcli.train(tiny(), tmp_path / "run")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    assert "a bug" in status["message"]


@pytest.mark.parametrize("weights", ["ema", "regular"])
def test_one_kind_of_weights_can_be_evaluated_alone(tiny, tmp_path: Path, weights: str) -> None:
    run = hlcli.train(tiny(f"eval.weights={weights}"), tmp_path / "run")
    evaluations = [event for event in run.events() if event["event"] == "evaluation"]
    assert [event["weights"] for event in evaluations] == [weights] * 2
    assert run.best_model()["weights"] == weights


@pytest.mark.parametrize(
    ("recipe", "layer"),
    [(tiny_recipe("train.epochs=1"), "head.encoder.layers.0"), (tiny_captions("train.epochs=1"), "network.decoder")],
    ids=["labels", "captions"],
)
def test_a_loss_that_is_none_in_an_evaluation_alone_names_the_layer_where_it_begins(
    recipe: hlcli.Recipe, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = selection._evaluate

    def spoil(training: Training) -> list[selection.Candidate]:
        spoilt = training.model.get_submodule(layer)
        spoilt.register_forward_hook(lambda module, _, output: output if module.training else output * float("inf"))
        return real(training)

    monkeypatch.setattr(selection, "_evaluate", spoil)
    with pytest.raises(
        TrainingError, match=r"The loss on val after epoch 1 \(regular weights\) is (nan|inf): "
    ) as caught:
        hlcli.train(recipe, tmp_path / "run")
    assert f"the first layer whose output is not finite is {layer}" in str(caught.value)
    assert "begin anew" in str(caught.value.hint)
