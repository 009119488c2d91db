"""Phases: what they add up to, and that measuring changes nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import tiny_recipe
from tiny_captioner import write_captioner
from two_processes import in_two_processes
from warm_programs import run_warm

import hlcli
from hlcli.profiling import each, phase


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until somebody moves it."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_time_belongs_to_the_innermost_phase_and_the_rest_to_none(clock: list[float]) -> None:
    with hlcli.Profile() as profile:
        clock[0] += 1
        for _ in range(2):
            with phase("evaluation"):
                clock[0] += 2
                with phase("forward"):
                    clock[0] += 3
                clock[0] += 4
    clock[0] += 100  # nobody's
    found = {one.name: (one.seconds, one.times) for one in profile.phases()}
    assert found == {"evaluation": (12.0, 2), "evaluation/forward": (6.0, 2), "rest": (1.0, 0)}
    assert [one.name for one in profile.phases()] == ["evaluation", "evaluation/forward", "rest"]
    assert sum(one.share for one in profile.phases()) == pytest.approx(1)


def test_waiting_for_items_is_a_phase_and_working_on_them_is_not(clock: list[float]) -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            clock[0] += 5
            yield number

    with hlcli.Profile() as profile:
        for _ in each(slow(), "data"):
            clock[0] += 1
    assert {one.name: one.seconds for one in profile.phases()} == {"data": 15.0, "rest": 3.0}
    assert list(each(slow(), "data")) == [0, 1, 2]  # without a profile


def test_a_phase_that_fails_is_left(clock: list[float]) -> None:
    def fail() -> None:
        with phase("data"):
            clock[0] += 1
            raise ValueError("no")

    with hlcli.Profile() as profile:
        with pytest.raises(ValueError, match="no"):
            fail()
        clock[0] += 2
    assert {one.name: one.seconds for one in profile.phases()} == {"rest": 2.0, "data": 1.0}


def test_other_threads_are_not_measured(clock: list[float]) -> None:
    def work() -> None:
        with phase("elsewhere"):
            clock[0] += 1

    with hlcli.Profile() as profile:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [one.name for one in profile.phases()] == ["rest"]


def _train_measured(folder: Path) -> None:
    with hlcli.Profile() as profile:
        _train(folder)
    (folder / (os.environ["RANK"] + ".txt")).write_text("\n".join(one.name for one in profile.phases()))


def _train(folder: Path) -> None:
    hlcli.train(tiny_recipe("train.epochs=1"), folder / "run")


def test_processes_exchange_gradients_in_a_phase_and_end_with_the_same_bits(tmp_path: Path) -> None:
    for name, work in (("plain", _train), ("measured", _train_measured)):
        (tmp_path / name).mkdir()
        in_two_processes(work, tmp_path / name)
    weights = [(tmp_path / name / "run" / "model" / "model.safetensors").read_bytes() for name in ("plain", "measured")]
    assert weights[0] == weights[1]
    for rank in range(2):
        phases = (tmp_path / "measured" / f"{rank}.txt").read_text().split()
        assert {"data", "forward", "backward", "backward/communication", "optimiser", "evaluation/forward"} <= {*phases}


def test_commands_say_where_the_time_went(tmp_path: Path) -> None:
    recipe, run = tmp_path / "tiny.yaml", tmp_path / "run"
    recipe.write_text(tiny_recipe("train.epochs=1").to_yaml())
    trained = run_warm("train", "--recipe", recipe, "--run", run, "--profile")
    measured = run_warm("eval", run, "--profile", "--json")
    captioner = write_captioner(tmp_path / "captioner")
    captioned = run_warm("caption", captioner, "--split", "test", "--profile", "--json")
    for done, phases in (
        (trained, ["libraries", "set-up", "data", "forward", "backward", "optimiser", "saving", "evaluation/metrics"]),
        (measured, ["set-up", "data", "forward", "metrics"]),
        (captioned, ["set-up", "data", "forward", "search"]),
    ):
        assert done.returncode == 0, done.stderr
        named = [line.split("│")[1].strip() for line in done.stderr.splitlines() if line.startswith("│")]
        assert {*phases} <= {*named}
        assert "where the time went" not in done.stdout
