"""Launches that would silently do something else are recognised by their environment."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from hlcli.errors import InputError
from hlcli.launching import EXIT_CODE_FILE, check_launch, leave_exit_code, make_accelerator, share_cores

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_USE_CPU",
         "ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_DEEPSPEED",
         "ACCELERATE_USE_MEGATRON_LM", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # fmt: skip


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch):
    """Sets the variables that a launcher sets, and no others."""

    def set_variables(has_gpu: bool = False, **variables: str) -> None:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)

    return set_variables


@pytest.mark.parametrize(
    ("cpu", "has_gpu", "variables"),
    [
        (False, False, {}),
        (True, False, {}),
        (False, False, {"WORLD_SIZE": "1"}),
        (False, False, {"ACCELERATE_USE_CPU": "true"}),
        (False, True, {"WORLD_SIZE": "4", "MASTER_ADDR": "x"}),
        (True, False, {"WORLD_SIZE": "2", "MASTER_ADDR": "x"}),
        (False, False, {"WORLD_SIZE": "2", "MASTER_ADDR": "x", "ACCELERATE_USE_CPU": "True"}),
        (False, False, {"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "x", "PMI_SIZE": "2"}),
    ],
)
def test_honest_launches_go_on(launched, cpu: bool, has_gpu: bool, variables: dict[str, str]):
    launched(has_gpu, **variables)
    check_launch(cpu)


@pytest.mark.parametrize("cpu", [True, False])
def test_one_process_where_several_were_asked_for_is_stopped(launched, cpu: bool):
    launched(ACCELERATE_USE_CPU="true", MASTER_ADDR="127.0.0.1", MASTER_PORT="29500")
    with pytest.raises(InputError, match="asked for several processes but started one") as caught:
        check_launch(cpu)
    assert "hlcli train --num-processes N" in (caught.value.hint or "")


def test_processes_for_gpus_without_a_gpu_are_stopped(launched):
    launched(WORLD_SIZE="2", MASTER_ADDR="x", ACCELERATE_USE_CPU="false")
    with pytest.raises(InputError, match="2 processes were started for GPUs, but there is no GPU"):
        check_launch(cpu=False)


@pytest.mark.parametrize("name", ["DeepSpeed", "Megatron_LM"])
def test_launchers_settings_that_hlcli_does_not_work_with_are_refused(launched, name: str):
    launched(**{f"ACCELERATE_USE_{name.upper()}": "true"})
    with pytest.raises(InputError, match=f"settings say {name}") as caught:
        check_launch(cpu=True)
    assert "docs/examples/fsdp.yaml" in (caught.value.hint or "")


def test_half_precision_on_a_cpu_is_refused_whoever_asks(launched):
    launched()
    with pytest.raises(InputError, match=r"train.precision: fp16 needs a GPU"):
        make_accelerator(cpu=True, precision="fp16")
    launched(ACCELERATE_MIXED_PRECISION="fp16")
    with pytest.raises(InputError, match=r"train.precision: fp16 needs a GPU"):
        make_accelerator(cpu=True)


def test_the_loop_cuts_batches_itself_whatever_the_launcher_says(launched, monkeypatch: pytest.MonkeyPatch):
    launched()
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = make_accelerator(cpu=True, precision="fp32")
    assert accelerator.gradient_accumulation_steps == 1
    assert (accelerator.device.type, accelerator.mixed_precision) == ("cpu", "no")


def test_cores_are_left_to_loaders_unless_threads_are_fixed(launched, monkeypatch: pytest.MonkeyPatch):
    launched()
    accelerator = make_accelerator(cpu=True)
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    share_cores(accelerator, 3)
    assert chosen == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    share_cores(accelerator, 3)
    share_cores(accelerator, 30)
    assert chosen == [1, 1]


def test_only_the_first_process_leaves_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    note = tmp_path / "code"
    monkeypatch.delenv(EXIT_CODE_FILE, raising=False)
    leave_exit_code(3)
    monkeypatch.setenv(EXIT_CODE_FILE, str(note))
    monkeypatch.setenv("RANK", "1")
    leave_exit_code(3)
    assert not note.exists()
    monkeypatch.setenv("RANK", "0")
    leave_exit_code(130)
    assert note.read_text() == "130"


def test_torchrun_hands_on_the_whole_line_of_the_docs():
    """It takes `--run` for an abbreviation of an option of its own."""
    from torch.distributed.run import parse_args

    page = Path(__file__).parents[1] / "docs/launching.md"
    (line,) = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("torchrun ")]
    found = parse_args(shlex.split(line)[1:])
    assert found.training_script == "hlcli"
    assert [word for word in found.training_script_args if word.startswith("--r")] == ["--recipe", "--run"]
