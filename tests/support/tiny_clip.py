"""Tiny CLIP models with random weights, as open_clip's objects and as files; nothing is fetched."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "resnet": {
        "embed_dim": 8,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 4, "head_width": 32, "patch_size": None},
        "text_cfg": TEXT,
    },
    "vit": {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": TEXT,
    },
}


def tiny_config(kind: str, **text: Any) -> dict[str, Any]:
    """A configuration, `resnet` or `vit`; keyword arguments change its text tower."""
    config = deepcopy(CONFIGS[kind])
    config["text_cfg"].update(text)
    return config


def write_config(folder: Path, kind: str = "vit", **text: Any) -> Path:
    """That configuration as `KIND.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(tiny_config(kind, **text)))
    return path


def tiny_clip(kind: str = "vit", *, seed: int = 0, **text: Any) -> Any:
    """open_clip's model of that configuration, far enough from zero that every part shows."""
    import open_clip

    torch.manual_seed(seed)
    model = open_clip.CLIP(**tiny_config(kind, **text))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
        elif "bn" in name or "ln" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.1)
    return model.eval()


def write_weights(folder: Path, kind: str = "vit", *, seed: int = 0) -> Path:
    """That model's weights as `weights.pt`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(tiny_clip(kind, seed=seed).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"
