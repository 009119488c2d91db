"""Predictors are made once and asked by many: threads, models of other precisions, programs with switches set."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from tiny_captioner import write_captioner
from tiny_label_models import LABEL_METHODS, tiny_label_model

import hlcli

THREADS = 8


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def pictures(seed: int, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256 // (1 + row), (40, 50, 3), dtype=np.uint8) for row in range(count)]


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    """What each of several threads finds that begin at the same moment."""
    start = Barrier(THREADS)

    def begin(number: int) -> Any:
        start.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def scores(predictor: hlcli.Predictor, seed: int) -> list[np.ndarray]:
    return [level for row in predictor.predict(pictures(seed)) for level in row.levels]


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_threads_get_what_one_thread_gets(method: str):
    """The predictor is fresh, so that whatever it remembers of its labels is first computed by all at once."""
    loaded = tiny_label_model(method)
    shared = hlcli.Predictor(loaded)
    found = in_threads(lambda number: scores(shared, number))
    alone = hlcli.Predictor(loaded)
    for number, levels in enumerate(found):
        for one, expected in zip(levels, scores(alone, number), strict=True):
            np.testing.assert_array_equal(one, expected)
    assert not np.array_equal(found[0][0], found[1][0])


def test_threads_of_different_precision_share_a_model():
    """Label features of HSPNet are remembered per precision, and none is taken for another one."""
    loaded = tiny_label_model("hspnet")
    half = loaded._replace(recipe=loaded.recipe.changed(["train.precision=bf16"]))
    predictors = [hlcli.Predictor(loaded), hlcli.Predictor(half)]
    expected = [scores(predictor, 0) for predictor in predictors]
    assert not np.array_equal(expected[0][0], expected[1][0])
    for number, found in enumerate(in_threads(lambda number: [scores(predictors[number % 2], 0) for _ in range(4)])):
        for levels in found:
            np.testing.assert_array_equal(levels[0], expected[number % 2][0])


def test_captioners_too(tmp_path: Path):
    predictor = hlcli.load_captioner(write_captioner(tmp_path / "model", "eval.max_words=3"))
    found = in_threads(lambda number: predictor.caption(pictures(number, 1)))
    assert found == [predictor.caption(pictures(number, 1)) for number in range(THREADS)]
    assert len({row.log_prob for rows in found for row in rows}) == THREADS


def test_models_of_different_precision_follow_one_another():
    """Accelerate keeps the first precision of a process; a predictor has its own, whatever is loaded later."""
    full, half = tiny_label_model("linear"), tiny_label_model("linear", "train.precision=bf16")
    first = hlcli.Predictor(full)
    before = scores(first, 0)
    second = hlcli.Predictor(half)
    between = scores(second, 0)
    third = hlcli.Predictor(full)
    assert not np.array_equal(before[0], between[0])
    for predictor, expected in ((first, before), (second, between), (third, before)):
        np.testing.assert_array_equal(scores(predictor, 0)[0], expected[0])


def test_no_switch_of_the_program_is_changed(monkeypatch: pytest.MonkeyPatch):
    def switches() -> tuple[Any, ...]:
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),  # type: ignore[index]
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            dict(os.environ),
        )

    loaded = tiny_label_model("hleg")
    torch.manual_seed(7)
    before = switches()
    stream = hlcli.Predictor(loaded).stream(pictures(0))
    next(stream)
    assert switches() == before
    list(stream)
    assert switches() == before


def test_loading_disturbs_nobody_who_predicts():
    """Threads go on predicting while models of either precision are made by others."""
    full, half = tiny_label_model("linear"), tiny_label_model("linear", "train.precision=bf16")
    shared = hlcli.Predictor(full)
    expected = [scores(hlcli.Predictor(loaded), 0)[0] for loaded in (full, half)]

    def work(number: int) -> None:
        for turn in range(12):
            if number < 2:
                np.testing.assert_array_equal(scores(shared, 0)[0], expected[0])
                continue
            made = hlcli.Predictor((full, half)[(number + turn) % 2])
            assert made.processes.mixed_precision == ("no", "bf16")[(number + turn) % 2]
            np.testing.assert_array_equal(scores(made, 0)[0], expected[(number + turn) % 2])

    in_threads(work)


def test_the_programs_own_accelerator_stays_as_it_is():
    """Whatever the program asked Accelerate for, predicting and measuring ask for something else."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # of trainings that other tests made
    try:
        mine = Accelerator(cpu=True, mixed_precision="bf16")
        loaded = tiny_label_model("linear", "train.precision=fp32", "data.num_test=3")
        hlcli.Predictor(loaded).predict(pictures(0))
        hlcli.evaluate(loaded)
        assert (mine.mixed_precision, mine.num_processes, mine.device.type) == ("bf16", 1, "cpu")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
