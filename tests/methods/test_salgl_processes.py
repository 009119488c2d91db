"""SALGL in two processes: both hold the counts of the whole batch, as one process would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from warm_programs import run_two

import hlcli
from hlcli.methods.salgl.cooccurrence import Cooccurrence
from hlcli.recipe import Recipe
from hlcli.runs import Run

from .salgl_parts import TINY

RANK = """
import os, sys
import torch
from torch import distributed
from hlcli.methods.salgl.cooccurrence import Cooccurrence
rank, folder = int(os.environ["RANK"]), sys.argv[1]
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
sys.exit(0)
"""


@pytest.fixture(scope="module")
def inputs() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    draws = [(torch.randn(6, 3, generator=generator), torch.rand(6, 5, generator=generator)) for _ in range(3)]
    return [(logits.softmax(dim=1), (chance < 0.5).float()) for logits, chance in draws]


def test_both_processes_count_the_whole_batch(tmp_path: Path, inputs: list[tuple[Tensor, Tensor]]) -> None:
    torch.save(inputs, tmp_path / "inputs.pt")
    done = run_two(tmp_path, before=RANK)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"counts{rank}.pt", weights_only=True) for rank in range(2))
    for name in ("soft", "hard"):
        alone = Cooccurrence(3, 5, is_soft=name == "soft", decay=0.9)
        for probs, targets in inputs:
            alone.update(probs, targets)
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        tolerance = {"rtol": 0, "atol": 0} if name == "hard" else {"rtol": 1e-6, "atol": 1e-6}
        torch.testing.assert_close(first[name], alone.counts, **tolerance)


def test_two_processes_train_with_the_counts_of_one(tmp_path: Path) -> None:
    recipe = Recipe.from_dict(TINY, ["train.epochs=1"])
    (tmp_path / "salgl.yaml").write_text(recipe.to_yaml())
    done = run_two("train", "--recipe", tmp_path / "salgl.yaml", "--run", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    runs = [hlcli.train(recipe, tmp_path / "one"), Run(tmp_path / "two")]
    alone, both = (torch.load(run.checkpoint_file, weights_only=True) for run in runs)
    name = "head.cooccurrence.counts"
    assert alone["model"][name].diagonal(dim1=1, dim2=2).sum() > 32
    torch.testing.assert_close(both["model"][name], alone["model"][name], rtol=0, atol=0)
    torch.testing.assert_close(both["ema"][name], alone["ema"][name], rtol=1e-5, atol=1e-5)
