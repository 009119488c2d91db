"""A training step asks the device for no number, or a GPU would wait at each such line for all work before it.

`tests/test_missing_labels_runs.py` looks at every method with every loss for missing labels.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from numbers_asked import numbers_asked
from tiny_captions import SCST, tiny_captions
from tiny_label_models import LABEL_METHODS, tiny_label_recipe

import hlcli

SHORT = ("train.epochs=1", "train.clip_norm=1.0", "train.ema_decay=0.9")
IMAGES = ("data.num_train=16", "data.num_val=6", "data.num_test=4", "train.batch_size=8", "train.accumulation_steps=2")


@pytest.mark.parametrize("method", [method for method in LABEL_METHODS if method != "zero_shot"])
def test_labels(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = numbers_asked(monkeypatch)
    recipe = tiny_label_recipe(method, "backbone.pretrained=false", *IMAGES, *SHORT)
    hlcli.train(recipe, tmp_path / "run")
    assert asked == []


def test_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = numbers_asked(monkeypatch)
    hlcli.train(tiny_captions(*SHORT), tmp_path / "run")
    assert asked == []


def test_rewards_ask_for_captions_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = numbers_asked(monkeypatch)
    hlcli.train(tiny_captions(*SCST, "train.epochs=1"), tmp_path / "run")
    places = {place.partition(" in ")[2].partition(":")[0] for place in asked}
    assert places == {"captioning/objectives.py", "captioning/search.py"}


def test_a_number_that_is_asked_for_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.optim.AdamW.step

    def asking(*arguments: object, **more: object) -> object:
        bool(torch.ones(1).sum() > 0)
        return plain(*arguments, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", asking)
    asked = numbers_asked(monkeypatch)
    hlcli.train(tiny_label_recipe("linear", "backbone.pretrained=false", *IMAGES, *SHORT), tmp_path / "run")
    assert len(asked) == 2  # in two steps
    assert all("training/loop.py" in place for place in asked)
