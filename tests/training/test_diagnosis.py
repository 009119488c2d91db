"""Numbers that are none: training stops before a weight is touched, and says where they came from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from effort import effort
from tiny import tiny_recipe
from tiny_captions import SCST, tiny_captions
from warm_programs import run_two, run_warm

import hlcli
from hlcli.errors import TrainingError
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.tasks.captions import CaptionTask
from hlcli.tasks.labels import LabelTask
from hlcli.training import loop
from hlcli.training.state import Training

NAN = float("nan")
LOG = ("train.log_every_steps=4", "train.epochs=1", "train.checkpoint_every_steps=2")
NORM = "backbone.freeze_batch_norm=true"


def before_step(number: int, change: Callable[[Training], object], patch: pytest.MonkeyPatch) -> None:
    """Change something of the training before a step, counted from 0."""
    real = loop._step

    def step(training: Training, batches: Iterator[Any]) -> None:
        if training.progression.step == number:
            change(training)
        real(training, batches)

    patch.setattr(loop, "_step", step)


def refused(recipe: Recipe, folder: Path) -> str:
    """The message of a training that fails; its run says the same, and its last checkpoint is good."""
    with pytest.raises(TrainingError) as caught:
        hlcli.train(recipe, folder)
    run = Run(folder)
    status = json.loads(run.status_file.read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    assert status["message"] == str(caught.value)
    if run.checkpoint_file.exists():
        states = torch.load(run.checkpoint_file, weights_only=True)
        for part in ("model", "ema", "criterion"):
            values = [value for value in (states[part] or {}).values() if value.is_floating_point()]
            assert all(value.isfinite().all() for value in values)
    return str(caught.value)


def parameter(training: Training, name: str) -> torch.nn.Parameter:
    return dict(training.model.named_parameters())[name]


def poison_images(task: type, at: tuple[int, int], patch: pytest.MonkeyPatch) -> None:
    """Make a number of one image, by its place in the training split, no number, whenever it is shown."""
    real = task.on_device

    def on_device(self: Any, batch: Any, parts: int) -> Any:
        batch = real(self, batch, parts)
        images = batch.images if task is LabelTask else batch.inputs.images
        for place, row in enumerate(batch.rows.tolist()):
            if row in at:
                images[place, 0, 3, 3] = NAN
        return batch

    patch.setattr(task, "on_device", on_device)


@pytest.mark.parametrize("norms", ["true", "false"])
def test_images_that_are_not_finite_are_named(norms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Live batch norms too, whose statistics are spoilt by then."""
    poison_images(LabelTask, (7, 31), monkeypatch)
    told = refused(tiny_recipe(*LOG, f"backbone.freeze_batch_norm={norms}"), tmp_path / "run")
    assert "The loss is not finite in epoch 1, step" in told
    assert "lr " in told
    assert "the first layer whose output is not finite is backbone.model.conv1" in told
    assert re.search(r"Images: shapes-train-0*(7|31)\.", told), told


def test_a_weight_is_named_with_its_step_and_where_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def spoil(training: Training) -> None:
        parameter(training, "head.classifier.weight").data[0, 0] = NAN

    before_step(3, spoil, monkeypatch)
    told = refused(tiny_recipe(*LOG), tmp_path / "run")
    assert "in epoch 1, step 4 (lr " in told
    assert "weight head.classifier.weight" in told
    assert f"the last good state is in {tmp_path / 'run' / 'checkpoints'}" in told


@pytest.mark.parametrize("settings", [(), ("train.clip_norm=1",), ("train.accumulation_steps=2", NORM)])
def test_a_gradient_is_named_and_no_weight_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
):
    name, kept = "head.fine_queries", {}

    def spoil(training: Training) -> None:
        parameter(training, name).register_hook(lambda gradient: gradient * NAN)
        kept.update(model=training.model, state={k: v.clone() for k, v in training.model.named_parameters()})

    before_step(5, spoil, monkeypatch)
    told = refused(tiny_recipe(*LOG, "train.log_every_steps=20", "data.num_train=160", *settings), tmp_path / "run")
    assert "in epoch 1, step 6 (" in told
    assert f"all terms are finite, but on the way back the gradient of {name} is not" in told
    now = dict(kept["model"].named_parameters())
    assert all(torch.equal(now[key], value) for key, value in kept["state"].items())


@pytest.mark.parametrize("settings", [(), ("train.clip_norm=1",)])
def test_a_gradient_of_the_loss_itself_is_named(
    settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def spoil(training: Training) -> None:
        training.criterion.estimates.register_hook(lambda gradient: gradient * NAN)

    before_step(5, spoil, monkeypatch)
    recipe = tiny_recipe(*LOG, *settings).to_dict() | {"objective": {"loss": "role", "expected_positives": 2.5}}
    told = refused(Recipe.from_dict(recipe), tmp_path / "run")
    assert "A gradient is not finite in epoch 1, step 6 (" in told
    assert "the gradient of loss.estimates is not" in told


def test_gradients_that_are_too_large_are_told_with_their_norm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def spoil(training: Training) -> None:
        parameter(training, "head.fine_queries").register_hook(lambda gradient: gradient * 0 + 1e25)

    before_step(5, spoil, monkeypatch)
    told = refused(tiny_recipe(*LOG), tmp_path / "run")
    assert "The gradients are too large in epoch 1, step 6 (" in told
    assert re.search(r"they are finite, but their norm is \d\.?\d*e\+2[67]\. ", told), told


@pytest.mark.parametrize("where", ["term", "layer"])
def test_terms_and_layers_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str):
    def spoil(training: Training) -> None:
        if where == "layer":
            layer = training.model.get_submodule("head.encoder.layers.0")
            layer.register_forward_hook(lambda _, __, output: output * float("inf"))
            return
        real = training.task.losses

        def losses(*arguments: Any, **options: Any) -> Any:
            terms = real(*arguments, **options)
            return terms._replace(trained={**terms.trained, "fine": terms.trained["fine"] * NAN})

        training.task.losses = losses  # type: ignore[method-assign]

    before_step(2, spoil, monkeypatch)
    told = refused(tiny_recipe(*LOG), tmp_path / "run")
    assert "in epoch 1, step 3 (" in told
    if where == "term":
        assert "term fine is nan; all layers are finite" in told
    else:
        assert "term hard_first is nan" in told
        assert "the first layer whose output is not finite is head.encoder.layers.0" in told


def test_a_reward_that_is_no_number_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def spoil(training: Training) -> None:
        reward = training.criterion.reward
        real = reward.scores
        reward.scores = lambda *given: real(*given) * NAN

    before_step(1, spoil, monkeypatch)
    told = refused(tiny_captions(*SCST, *LOG), tmp_path / "run")
    assert "in epoch 1, step 2 (" in told
    assert "term self_critical is nan" in told
    assert "reward is nan" in told
    assert "all layers are finite" in told


def test_captions_name_the_image_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ids: list[str] = []
    before_step(0, lambda training: ids.append(training.task.train_records[3].image_id), monkeypatch)
    poison_images(CaptionTask, (3,), monkeypatch)
    told = refused(tiny_captions(*LOG), tmp_path / "run")
    assert "term cross_entropy is nan" in told
    assert f"Images: {ids[0]}." in told


def test_what_does_not_happen_again_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def spoil(training: Training) -> None:
        def once(gradient: torch.Tensor) -> torch.Tensor:
            handle.remove()
            return gradient * NAN

        handle = parameter(training, "head.classifier.weight").register_hook(once)

    before_step(1, spoil, monkeypatch)
    assert "it did not happen again when the step was repeated" in refused(tiny_recipe(*LOG), tmp_path / "run")


@pytest.mark.parametrize("value", [3e38, NAN])
def test_weights_that_are_numbers_are_saved_though_their_sum_is_none(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = loop.save

    def save(training: Training, path: Path | None = None) -> None:
        weight = parameter(training, "head.classifier.weight").data
        before = weight.clone()
        weight.fill_(value)
        real(training, path)
        weight.copy_(before)

    monkeypatch.setattr(loop, "save", save)
    if value == 3e38:
        assert hlcli.train(tiny_recipe(*LOG), tmp_path / "run").state() == "finished"
    else:
        assert "not numbers after step 2: head.classifier.weight." in refused(tiny_recipe(*LOG), tmp_path / "run")


@pytest.mark.parametrize("part", ["ema", "loss"])
def test_averages_and_losses_that_are_no_numbers_are_not_saved(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def spoil(training: Training) -> None:
        if part == "ema":
            training.ema.model.get_parameter("head.classifier.weight").data[0, 0] = NAN  # type: ignore[union-attr]
        else:
            training.criterion.register_buffer("seen", torch.tensor(NAN))

    before_step(3, spoil, monkeypatch)
    told = refused(tiny_recipe(*LOG), tmp_path / "run")
    name = {"ema": "ema.head.classifier.weight", "loss": "loss.seen"}[part]
    assert f"Weights are not numbers after step 4: {name}." in told


ADD_INFINITY = """
import os, torch, hlcli.training.log as log, hlcli.training.loop as t
real, failure, kept = t._step, log.failure, []
def weights(training):
    return [weight.detach().clone() for weight in training.model.parameters()]
def step(training, batches):
    if training.progression.step == 2:
        kept.extend(weights(training))
        def spoilt(*given, losses=training.task.losses, **options):
            terms = losses(*given, **options)
            return terms._replace(trained={**terms.trained, 'fine': terms.trained['fine'] + float('VALUE')})
        if os.environ.get('RANK', '1') == '1':
            training.task.losses = spoilt
    real(training, batches)
def told(training, hint):
    print('weights are kept:', all(map(torch.equal, kept, weights(training))), flush=True)
    return failure(training, hint)
t._step, log.failure = step, told
"""


@pytest.mark.parametrize(("value", "run"), [("inf", run_warm), ("inf", run_two), ("nan", run_two)][effort(1, 0) :])
def test_no_weight_follows_a_loss_that_is_none_though_its_gradients_are_numbers(
    value: str, run: Callable[..., Any], tmp_path: Path
):
    """On two processes the loss of the second alone; none takes the step."""
    (tmp_path / "recipe.yaml").write_text(tiny_recipe(*LOG).to_yaml())
    before = ADD_INFINITY.replace("VALUE", value)
    done = run("train", "--recipe", tmp_path / "recipe.yaml", "--run", tmp_path / "run", before=before)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("weights are kept: True") == (2 if run is run_two else 1), done.stdout
    assert f"term fine is {value}; all layers are finite" in done.stderr


SPOIL_SECOND = """
import os, hlcli.training.loop as t
real = t._step
def step(training, batches):
    if training.progression.step == 2 and os.environ['RANK'] == '1':
        name, layer = 'head.classifier', training.model.get_submodule('head.encoder.layers.0')
        layer.register_forward_hook(lambda m, i, o: o * float('nan'))
    real(training, batches)
t._step = step
"""


def test_two_processes_stop_together_and_say_the_same(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(tiny_recipe(*LOG).to_yaml())
    done = run_two("train", "--recipe", tmp_path / "recipe.yaml", "--run", tmp_path / "run", before=SPOIL_SECOND)
    assert done.returncode == 1, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 2
    assert len(set(told)) == 1
    assert "in epoch 1, step 3 (" in told[0]
    assert "head.encoder.layers.0" in told[0]


def test_a_loss_scale_that_fell_to_nothing_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-30)
    before_step(2, lambda training: setattr(training.accelerator, "scaler", scaler), monkeypatch)
    with pytest.raises(TrainingError, match=r"The loss scale is too small in epoch 1, step 4 .* every step overflows"):
        hlcli.train(tiny_recipe("train.log_every_steps=4", "train.epochs=1"), tmp_path / "run")
