"""A cache of the Hugging Face hub that tests fill themselves: what is in it is opened as if it had been fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder this process's cache, and the hub unreachable."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def put_into_cache(cache: Path, repository: str, files: Path) -> None:
    """Keep the files of a folder as the newest version of `owner/name`."""
    home, commit = cache / f"models--{repository.replace('/', '--')}", "0" * 40
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit, encoding="utf-8")
    shutil.copytree(files, home / "snapshots" / commit)
