"""Text encoders in a line."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder


@pytest.fixture(name="offline")
def given_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def encode(name: str, text: str, **options: Any) -> Tensor:
    return make_encoder(name, [text], EncoderOptions(**options)).encode(text)
