"""SALGL in two processes: both hold the counts of the whole batch, as one process would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import program_environment
from torch import Tensor

import hlcli
from hlcli.methods.salgl.cooccurrence import Cooccurrence
from hlcli.recipe import Recipe
from hlcli.runs import Run

from .salgl_parts import TINY

RANK = """
import sys
import torch
from torch import distributed
from hlcli.methods.salgl.cooccurrence import Cooccurrence
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
inputs = torch.load(f"{folder}/inputs.pt", weights_only=True)
found = {}
for name in ("soft", "hard"):
    graph = Cooccurrence(3, 5, is_soft=name == "soft", is_detached=False, decay=0.9)
    for probs, targets in inputs:
        own = slice(0, 4) if rank == 0 else slice(4, 6)  # shares need not be equal
        counts = graph.update(probs[own].requires_grad_(), targets[own])
        assert not counts.requires_grad, "several processes have no gradient through the counts"
    found[name] = graph.counts
torch.save(found, f"{folder}/counts{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def inputs() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    draws = [(torch.randn(6, 3, generator=generator), torch.rand(6, 5, generator=generator)) for _ in range(3)]
    return [(logits.softmax(dim=1), (chance < 0.5).float()) for logits, chance in draws]


def test_both_processes_count_the_whole_batch(tmp_path: Path, inputs: list[tuple[Tensor, Tensor]]) -> None:
    torch.save(inputs, tmp_path / "inputs.pt")
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path)],
            env=program_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], errors
    first, second = (torch.load(tmp_path / f"counts{rank}.pt", weights_only=True) for rank in range(2))
    for name in ("soft", "hard"):
        alone = Cooccurrence(3, 5, is_soft=name == "soft", decay=0.9)
        for probs, targets in inputs:
            alone.update(probs, targets)
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        tolerance = {"rtol": 0, "atol": 0} if name == "hard" else {"rtol": 1e-6, "atol": 1e-6}
        torch.testing.assert_close(first[name], alone.counts, **tolerance)


def test_two_processes_train_with_the_counts_of_one(tmp_path: Path, hlcli_program: Any) -> None:
    recipe = Recipe.from_dict(TINY, ["train.epochs=1"])
    (tmp_path / "salgl.yaml").write_text(recipe.to_yaml())
    done = hlcli_program(
        "train", "--recipe", tmp_path / "salgl.yaml", "--run", tmp_path / "two", "--num-processes", "2"
    )
    assert done.returncode == 0, done.stderr
    runs = [hlcli.train(recipe, tmp_path / "one"), Run(tmp_path / "two")]
    alone, both = (torch.load(run.checkpoint_file, weights_only=True) for run in runs)
    name = "head.cooccurrence.counts"
    assert alone["model"][name].diagonal(dim1=1, dim2=2).sum() > 32
    torch.testing.assert_close(both["model"][name], alone["model"][name], rtol=0, atol=0)
    torch.testing.assert_close(both["ema"][name], alone["ema"][name], rtol=1e-5, atol=1e-5)
