"""What several test modules share: a tiny recipe that trains in seconds, photos, and a process as good as fresh."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: the same bits here and in child processes

import hypothesis  # noqa: F401 - before the freeze below, which hides objects that it looks for
import pytest
from silent_hub import silent_hub  # noqa: F401 - a fixture

from hlcli.interrupts import STOPS


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Libraries and tests stay to the end: looking for garbage among them took a tenth of the whole suite's time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Otherwise libraries that count their objects at the end tell of leaks."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Logging as in a fresh process: commands that run in a test set levels and handlers for all that follow."""
    logger = logging.getLogger("hlcli")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()
    yield
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Signals as in a fresh process: an interrupted command ignores them to its end, and what a test forks inherits
    that."""
    before = [signal.getsignal(number) for number in STOPS]
    yield
    for number, handler in zip(STOPS, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; data is below it, whatever the environment says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HLCLI_DATA", raising=False)
    return tmp_path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos."""
    from noise_photos import write_photos

    return write_photos(tmp_path / "photos", 3, "ü {}.jpg")


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """Builds the tiny recipe, with overrides such as `train.epochs=1`."""
    from tiny import tiny_recipe

    return tiny_recipe


@pytest.fixture
def tiny_file(tmp_path: Path, tiny: Callable[..., Any]) -> Path:
    """The tiny recipe as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny().to_yaml(), encoding="utf-8")
    return path
