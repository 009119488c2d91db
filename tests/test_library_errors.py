"""Errors of libraries in our words: each with a remedy that fits what was running."""

from __future__ import annotations

import os

import pytest
import torch

from hlcli.errors import HlcliError, LostProcessError
from hlcli.library_errors import as_ours
from hlcli.worker_processes import worker_processes


def test_a_lone_process_has_lost_no_other_one(monkeypatch: pytest.MonkeyPatch):
    error = RuntimeError("Connection reset by peer")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LostProcessError, match="has lost another one"), as_ours():
        raise error
    for alone in (True, False):
        if alone:
            monkeypatch.delenv("WORLD_SIZE")
        else:
            monkeypatch.setenv("WORLD_SIZE", "1")
        with pytest.raises(RuntimeError) as caught, as_ours():
            raise error
        assert caught.value is error


def test_too_little_memory_has_a_remedy_for_every_command():
    with pytest.raises(HlcliError, match="too little memory") as caught, as_ours():
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert str(caught.value.hint).startswith("Give a smaller --batch-size; in a training, set")


def test_a_worker_that_dies_has_the_remedy_of_its_commands():
    """They have no `data.workers`, and want one process at least."""
    with pytest.raises(LostProcessError, match="has died") as caught, worker_processes(1) as pool:
        pool.submit(os._exit, 1).result()
    assert "--workers 1" in str(caught.value.hint)
    assert "data.workers" not in str(caught.value.hint)
