"""Checkpoints that a disk or a person has damaged: the newest whole one is gone on from, and the message says so."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_off import train_until
from effort import IS_LONG, effort
from killed_runs import assert_same, assert_same_end
from tiny import tiny_recipe

import hlcli
from hlcli.errors import CheckpointError
from hlcli.models.folder import read_model
from hlcli.runs import Run
from hlcli.training import checkpoints

_SEED = 5
_RECIPE = tiny_recipe("data.num_train=16", "data.num_val=8", "train.checkpoint_every_steps=1",
                      "train.log_every_steps=1", "train.keep_best_state=true")  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing happened to; not to be changed."""
    return hlcli.train(_RECIPE, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended in its last step but one: its last state is of the third of four, the former of the second
    epoch's beginning. Not to be changed."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    with pytest.MonkeyPatch.context() as patch:
        train_until(3, _RECIPE, folder, patch)
    return folder


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


_DAMAGES: dict[str, Callable[[Path], None]] = {"cut": _cut, "flipped": _flip, "missing": Path.unlink}
if IS_LONG:
    _DAMAGES |= {"zeros": _zeros, "empty": lambda path: path.write_bytes(b"")}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_damaged_state_gives_way_to_the_one_before_and_the_run_ends_with_the_same_bits(
    damage: str, whole: Run, broken_off: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(shutil.copytree(broken_off, tmp_path / "run"))
    assert checkpoints.load_checkpoint(run.checkpoint_file)[0].step == 3
    _DAMAGES[damage](run.checkpoint_file)
    with caplog.at_level(logging.INFO):
        hlcli.train(_RECIPE, run.folder, resume=True)
    (said,) = [record.getMessage() for record in caplog.records if "going on from the state before it" in record.msg]
    assert said.startswith(f"{run.checkpoint_file} is {'missing' if damage == 'missing' else 'damaged'}")
    assert f"Resumed {run.folder} at epoch 1, step 2." in caplog.messages
    kept = run.checkpoint_file.with_name("training.damaged")
    assert kept.exists() == (damage != "missing")
    kept.unlink(missing_ok=True)
    assert_same_end(whole, run)


def test_without_a_whole_state_nothing_is_touched_and_both_are_named(broken_off: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(broken_off, tmp_path / "run"))
    _flip(run.checkpoint_file)
    _cut(run.former_checkpoint_file)
    before = {path: path.read_bytes() for path in run.folder.glob("checkpoints/**/*.pt")}
    with pytest.raises(CheckpointError, match=r"training\.pt is damaged .*former\.pt beside it is damaged"):
        hlcli.train(_RECIPE, run.folder, resume=True)
    assert {path: path.read_bytes() for path in run.folder.glob("checkpoints/**/*.pt")} == before


def test_a_run_whose_states_are_gone_is_not_begun_anew_unasked(whole: Run, tmp_path: Path) -> None:
    """It was measured: there was a state, and there are metrics and a model that would be lost."""
    run = Run(shutil.copytree(whole.folder, tmp_path / "run"))
    shutil.rmtree(run.checkpoint_file.parent)
    before = run.metrics_file.read_bytes()
    with pytest.raises(CheckpointError, match=r"was evaluated after epoch \d+, but its state is gone.*--overwrite"):
        hlcli.train(_RECIPE, run.folder, resume=True)
    assert run.metrics_file.read_bytes() == before
    assert (run.model_folder / "model.safetensors").is_file()


def test_a_damaged_best_state_is_named_and_not_exchanged_for_another_epoch(whole: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(whole.folder, tmp_path / "run"))
    _flip(run.best_checkpoint_file)
    with pytest.raises(CheckpointError, match=r"best/training\.pt is damaged .*--resume"):
        hlcli.train(_RECIPE, run.folder, from_best=True)


def test_every_flipped_byte_is_found_or_changes_nothing(tmp_path: Path) -> None:
    """Torch itself finds none among the weights, as the file is mapped."""
    path, damaged = tmp_path / "training.pt", tmp_path / "damaged.pt"
    states = {"model": {"weight": torch.rand(30, 10), "count": torch.tensor(3)}, "ema": None, "rates": [0.1, 0.2]}
    checkpoints.save_checkpoint(path, checkpoints.Progression(step=7), states)
    content, draw, found = path.read_bytes(), random.Random(_SEED), 0
    tries = effort(300, 20_000)
    for _ in range(tries):
        place, flip = draw.randrange(len(content)), 1 << draw.randrange(8)
        damaged.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
        try:
            checkpoints._check_whole(damaged)
        except CheckpointError:
            found += 1
            continue
        progression, loaded = checkpoints.load_checkpoint(damaged)
        assert progression == checkpoints.Progression(step=7), (place, flip)
        assert_same({name: loaded[name] for name in states}, states, f"byte {place} ^ {flip}")
    print(f"{found} of {tries} flipped bits were found, the others changed nothing")  # noqa: T201
    assert found > tries // 2


def test_torch_maps_no_file_whose_sums_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can die of one."""
    path = tmp_path / "training.pt"
    checkpoints.save_checkpoint(path, checkpoints.Progression(), {"model": {"weight": torch.rand(10_000)}})
    _flip(path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was mapped"))
    with pytest.raises(CheckpointError, match=r"is damaged \(.*the sum of its part \S+ is wrong\)"):
        checkpoints._check_whole(path)


@pytest.mark.parametrize("length", ["short", "long"])
def test_every_length_is_found(length: str, tmp_path: Path) -> None:
    path, damaged = tmp_path / "training.pt", tmp_path / "damaged.pt"
    checkpoints.save_checkpoint(path, checkpoints.Progression(), {"model": {"weight": torch.rand(20)}})
    content = path.read_bytes()
    ends = range(0, len(content), effort(37, 1)) if length == "short" else [len(content) + 1, 2 * len(content)]
    for end in ends:
        damaged.write_bytes((content * 2)[:end])
        try:
            checkpoints._check_whole(damaged)
        except CheckpointError:
            continue
        assert length == "long", end
        assert_same(checkpoints.load_checkpoint(damaged)[1], checkpoints.load_checkpoint(path)[1], str(end))


def _rewrite(path: Path, **changes: Any) -> None:
    content = torch.load(path, weights_only=True)
    torch.save({**content, **changes}, path)


def test_a_state_of_an_older_hlcli_is_gone_on_from(whole: Run, broken_off: Path, tmp_path: Path) -> None:
    """One that knew fewer numbers, did not say its version, and kept no former state."""
    run = Run(shutil.copytree(broken_off, tmp_path / "run"))
    content = torch.load(run.checkpoint_file, weights_only=True)
    del content["hlcli"], content["progression"]["patience_epoch"]
    torch.save(content, run.checkpoint_file)
    run.former_checkpoint_file.unlink()
    assert_same_end(whole, hlcli.train(_RECIPE, run.folder, resume=True))


@pytest.mark.parametrize("what", ["format", "progression", "network", "optimiser"])
def test_a_state_of_another_hlcli_says_which(what: str, broken_off: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(broken_off, tmp_path / "run"))
    content = torch.load(run.checkpoint_file, weights_only=True)
    changes: dict[str, dict[str, Any]] = {
        "format": {"version": 2},
        "progression": {"progression": {**content["progression"], "mood": 3}},
        "network": {"model": {name: value[..., None] for name, value in content["model"].items()}},
        "optimiser": {"optimizer": {"state": {}, "param_groups": []}},
    }
    _rewrite(run.checkpoint_file, hlcli="9.1", **changes[what])
    with pytest.raises(CheckpointError) as caught:
        hlcli.train(_RECIPE, run.folder, resume=True)
    assert "9.1" in str(caught.value)
    assert "resume with that version" in str(caught.value).lower()


def test_damaged_models_are_named(whole: Run, tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.json"):
        folder = Path(shutil.copytree(whole.model_folder, tmp_path / name))
        _cut(folder / name)
        with pytest.raises(CheckpointError, match=rf"{name} cannot be read"):
            read_model(folder)
