"""FSDP on two processes: the same losses, weights and files as one process, and a state that both can go on from."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from broken_off import train_until
from tiny import tiny_recipe
from torch import nn
from torch.multiprocessing import ProcessRaisedException
from two_processes import in_two_processes

import hlcli
from hlcli.errors import InputError
from hlcli.launching import make_accelerator
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.sharding import is_cut, shard, shards_networks, whole

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "fsdp.yaml"
SETTINGS = (
    "data.num_train=32", "data.num_val=11", "train.epochs=1",
    "train.clip_norm=1", "train.accumulation_steps=2", "train.trackers=[tensorboard]",
    "backbone.frozen=[conv1]", "backbone.freeze_batch_norm=true", "model.dropout=0", "eval.batch_size=5",
    "optim.optimizer=sgd", "optim.lr=0.01", "train.checkpoint_every_steps=2",
)  # fmt: skip
"""11 images in batches of 5 are two batches for one process and one for the other."""
CUT_AT = 3


def example_environment() -> dict[str, str]:
    """What `accelerate launch --config_file docs/examples/fsdp.yaml` tells the processes of FSDP."""
    settings = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["fsdp_config"]
    return {"ACCELERATE_USE_FSDP": "true"} | {name.upper(): str(value).lower() for name, value in settings.items()}


def by_layer(names: str) -> dict[str, str]:
    """Settings that gather layers of these classes one by one."""
    return {"FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_TRANSFORMER_CLS_TO_WRAP": names}


def train_until_cut(recipe: Recipe, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        train_until(CUT_AT, recipe, folder, patch)


def resume(recipe: Recipe, folder: Path) -> None:
    hlcli.train(recipe, folder, resume=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of one process; of two that cut the network; one of these broken off and resumed, by two and by one."""
    folder, recipe = tmp_path_factory.mktemp("runs"), tiny_recipe(*SETTINGS)
    told = example_environment()
    hlcli.train(recipe, folder / "one")
    in_two_processes(hlcli.train, recipe, folder / "two", **told)
    in_two_processes(train_until_cut, recipe, folder / "resumed", **told | by_layer("BasicBlock"))
    assert checkpoint(Run(folder / "resumed"))["progression"]["step"] == CUT_AT - 1
    shutil.copytree(folder / "resumed", folder / "resumed by one")
    in_two_processes(resume, recipe, folder / "resumed", **told)
    hlcli.train(recipe, folder / "resumed by one", resume=True)
    return {path.name: Run(path) for path in folder.iterdir()}


def checkpoint(run: Run) -> dict[str, Any]:
    return torch.load(run.checkpoint_file, weights_only=True)


def test_the_example_asks_for_what_is_tested():
    told = example_environment()
    assert (told["FSDP_VERSION"], told["FSDP_AUTO_WRAP_POLICY"]) == ("2", "no_wrap")


@pytest.mark.parametrize("name", ["two", "resumed", "resumed by one"])
def test_losses_and_metrics_are_those_of_one_process(runs: dict[str, Run], name: str):
    pairs = list(zip(runs["one"].events(), runs[name].events(), strict=True))
    assert [one["event"] for one, _ in pairs].count("evaluation") == 2
    for one, two in pairs:
        assert (one["event"], one["step"], one["weights"]) == (two["event"], two["step"], two["weights"])
        assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-4)


@pytest.mark.parametrize("name", ["two", "resumed", "resumed by one"])
def test_checkpoints_are_whole_and_those_of_one_process(runs: dict[str, Run], name: str):
    one, two = checkpoint(runs["one"]), checkpoint(runs[name])
    for part in ("model", "ema"):
        assert one[part].keys() == two[part].keys()
        for key, value in one[part].items():
            torch.testing.assert_close(two[part][key], value, rtol=1e-3, atol=1e-5, msg=key)
    for index, values in one["optimizer"]["state"].items():
        for key, value in values.items():
            torch.testing.assert_close(two["optimizer"]["state"][index][key], value, rtol=1e-3, atol=1e-5)


def test_the_model_folder_is_complete(runs: dict[str, Run]):
    one, two = (hlcli.evaluate(runs[name].folder, split="test").metrics for name in ("one", "two"))
    assert dict(two) == pytest.approx(dict(one), rel=1e-4)


def test_one_process_alone_writes_to_trackers(runs: dict[str, Run]):
    assert len(list((runs["two"].folder / "tensorboard").glob("events*"))) == 1
    assert json.loads((runs["two"].folder / "environment.json").read_text())["num_processes"] == 2


def test_the_run_says_that_its_network_is_cut_and_how_many_images_were_measured(runs: dict[str, Run]):
    for name, is_sharded in (("one", False), ("two", True)):
        assert json.loads((runs[name].folder / "environment.json").read_text())["fsdp"] is is_sharded
        log = (runs[name].folder / "log.txt").read_text()
        assert ("2 processes with FSDP, fp32." in log) is is_sharded
        assert re.findall(r"Evaluating[^:]*: (.*) images in", log) == ["11"]


def accelerator(**facts: Any) -> Any:
    """As much of one as is asked."""
    return SimpleNamespace(**{"num_processes": 2, "mixed_precision": "no", **facts})


@pytest.mark.parametrize(
    ("variables", "precision", "message"),
    [
        ({"FSDP_VERSION": "1"}, "no", "fsdp_version: 1"),
        ({"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, "no", "fsdp_auto_wrap_policy: SIZE_BASED_WRAP"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "no", "fsdp_activation_checkpointing: true"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "no", "fsdp_offload_params: true"),
        ({}, "fp16", "mixed_precision: fp16"),
    ],
)
def test_what_cannot_be_trained_with_is_refused(monkeypatch, variables: dict[str, str], precision: str, message: str):
    for name, value in {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"FSDP: {message} cannot be trained with"):
        shards_networks(accelerator(mixed_precision=precision))


def test_what_is_refused_is_refused_before_anything_is_made(tmp_path: Path):
    told = example_environment() | {"FSDP_OFFLOAD_PARAMS": "true"}
    with pytest.raises(ProcessRaisedException, match="fsdp_offload_params: true cannot be trained with"):
        in_two_processes(hlcli.train, tiny_recipe(), tmp_path / "run", **told)
    assert not (tmp_path / "run").exists()


def test_settings_that_accelerate_cannot_read_are_refused(monkeypatch):
    for name, value in (example_environment() | {"FSDP_AUTO_WRAP_POLICY": "WRAP_IT"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="FSDP: ") as caught:
        shards_networks(accelerator())
    assert "docs/examples/fsdp.yaml" in (caught.value.hint or "")


def test_layers_that_a_network_does_not_have_are_refused(monkeypatch):
    for name, value in (example_environment() | by_layer("Linear,Block")).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="no layers of class Block"):
        shard(accelerator(), nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("is_freed", [True, False])
def test_layers_are_freed_after_an_evaluation_as_the_launcher_said(is_freed: bool):
    told = example_environment() | by_layer("Linear") | {"FSDP_RESHARD_AFTER_FORWARD": str(is_freed).lower()}
    in_two_processes(evaluate_and_train, is_freed, **told)


def evaluate_and_train(is_freed: bool) -> None:
    """Layers between two uses: whole while `whole` is active, and then cut after each forward pass, or left whole."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model = shard(make_accelerator(cpu=True), model)
    with whole([model]):
        model(torch.zeros(1, 4))
        assert not any(is_cut(layer.weight) for layer in model)
    assert all(is_cut(layer.weight) for layer in model)
    model(torch.zeros(1, 4))
    assert [is_cut(layer.weight) for layer in model] == [is_freed] * 2


def test_networks_are_cut_only_where_the_launcher_says_so(monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    assert not shards_networks(accelerator())
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not shards_networks(accelerator(num_processes=1))


def test_a_weight_that_is_a_single_number_is_refused():
    network = nn.Linear(2, 2)
    network.logit_scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(InputError, match=r"single numbers cannot be cut \(logit_scale\)"):
        shard(accelerator(), network)
