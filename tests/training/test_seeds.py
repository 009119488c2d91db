"""Random numbers of a step."""

from __future__ import annotations

import pytest
import torch

from hlcli.training.seeds import seed_step


@pytest.mark.parametrize("has_accelerator", [False, True])
def test_the_numbers_are_the_same_with_and_without_an_accelerator(
    has_accelerator: bool, monkeypatch: pytest.MonkeyPatch
):
    seed_step(3, 17, 1)
    expected = torch.rand(5)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: has_accelerator)
    torch.rand(2)
    seed_step(3, 17, 1)
    assert torch.equal(torch.rand(5), expected)


def test_seed_step_and_process_all_decide():
    drawn = set()
    for seed, step, process in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        seed_step(seed, step, process)
        drawn.add(torch.rand(()).item())
    assert len(drawn) == 4
