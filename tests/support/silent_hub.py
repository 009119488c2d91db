"""A hub that cannot be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No answer from the hub, and nothing that was fetched before; gives the addresses that are asked."""
    from huggingface_hub import constants

    asked: list[str] = []

    def head(url: str, **_: Any) -> None:
        asked.append(url)
        raise httpx.ConnectError("no network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty-cache"))
    monkeypatch.setattr(httpx, "head", head)
    return asked
