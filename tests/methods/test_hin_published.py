"""HIN's checkpoints as its program writes them: all training state, random numbers and a vocabulary beside it."""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_captioner import captioner_recipe, write_captioner
from typer.testing import CliRunner

from hlcli.cli import main
from hlcli.data.store import open_records
from hlcli.features.reading import FeatureWriter
from hlcli.models.folder import read_model

KINDS = {"grid": (9, 8), "region": (4, 6)}  # features per image, and their width


@pytest.fixture
def features(tmp_path: Path) -> list[str]:
    """Overrides that name files of features of all images, written as others write them."""
    rng = np.random.default_rng(0)
    for kind, shape in KINDS.items():
        with FeatureWriter(tmp_path / f"{kind}.hdf5") as writer:
            for split in ("train", "val", "test"):
                for record in open_records(captioner_recipe().data, split):
                    writer.write(record.image_id, {"features": rng.normal(size=shape).astype(np.float32)})
    return [f"data.{kind}_features={tmp_path / f'{kind}.hdf5'}" for kind in KINDS]


def whole_checkpoint(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """What the program saves after an epoch."""
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    optimizer = torch.optim.Adam(parameters, lr=1.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1e-4)
    return {
        "torch_rng_state": torch.get_rng_state(),
        "cuda_rng_state": torch.get_rng_state(),
        "numpy_rng_state": np.random.get_state(),
        "random_rng_state": random.getstate(),
        "epoch": 14,
        "val_loss": 2.1,
        "val_cider": np.float64(1.33),
        "state_dict": OrderedDict(state),
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "patience": 0,
        "best_cider": np.float64(1.33),
        "use_rl": False,
    }


def test_a_published_checkpoint_is_read_and_decodes(features: list[str], tmp_path: Path) -> None:
    model = write_captioner(tmp_path / "model", *features)
    loaded = read_model(model)
    assert loaded.vocabulary is not None
    names = loaded.recipe.model.to_upstream(loaded.model.state_dict(), loaded.model)
    file = tmp_path / "hin_best_test.pth"
    torch.save(whole_checkpoint(names), file)
    (tmp_path / "vocabulary.json").write_text(json.dumps(loaded.vocabulary.to_json()))
    (tmp_path / "recipe.yaml").write_text(captioner_recipe(*features).to_yaml())
    words = ["--split", "val", "--json", "--workers", "0"]
    other = ["--recipe", str(tmp_path / "recipe.yaml"), "--set", f"data.vocabulary={tmp_path / 'vocabulary.json'}"]
    results = [
        CliRunner().invoke(main.app, ["caption", str(path), *words, *options])
        for path, options in ((model, []), (file, other))
    ]
    assert [result.exit_code for result in results] == [0, 0], results[-1].output
    ours, theirs = (json.loads(result.stdout) for result in results)
    assert theirs["metrics"] == ours["metrics"]
    assert any(ours["metrics"].values())
