"""The same seed gives the same bits; another one gives others of all that is drawn."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from effort import IS_LONG, effort
from noise_photos import write_photos
from programs import SOURCE, program_environment
from tiny import TINY
from tiny_captioner import write_captioner
from tiny_captions import SCST, TINY_CAPTIONS
from tiny_label_models import LABEL_METHODS, tiny_label_model, tiny_label_recipe
from torch import Tensor

import hlcli
from hlcli.errors import TrainingError
from hlcli.losses.section import LossSection
from hlcli.recipe import Recipe, section_classes
from hlcli.tasks.captions import CaptionTask
from hlcli.tasks.labels import LabelTask
from hlcli.training.determinism import deterministic

OPTIONS = {"epr": 2.5, "role": 2.5, "ll_r": 0.1, "ll_ct": 0.1, "ll_cp": 0.1}
LOSSES = [name for name, one in section_classes("objective").items() if issubclass(one, LossSection)]
WITH_A_LOSS = "salgl"
"""The method that every loss is trained with; the others have their own."""


def recipes() -> dict[str, Recipe]:
    """A few steps and an evaluation of every method, loss and captioning objective, with all chance there is."""
    found = {}
    short = [f"train.epochs={effort(1, 3)}", "train.batch_size=4", "data.num_train=8", "data.num_val=4"]
    for method in LABEL_METHODS:
        known = tiny_label_recipe(method)
        if not known.model.needs_training:
            continue
        tree = {
            **TINY,
            "data": {**TINY["data"], "cutout": 8, "labels_kept": "single"},
            "backbone": known.backbone.model_dump(),
            "model": known.model.model_dump(),
        }
        found[method] = Recipe.from_dict(tree, short)
        for loss in LOSSES if method == WITH_A_LOSS else ():
            number = "expected_positives" if loss in ("epr", "role") else "delta_rel"
            options = {number: OPTIONS[loss]} if loss in OPTIONS else {}
            found[loss] = Recipe.from_dict({**tree, "objective": {"loss": loss, **options}}, short)
    for name, changes in {"cross_entropy": (), "self_critical": SCST}.items():
        found[name] = Recipe.from_dict(TINY_CAPTIONS, [*changes, *short, "eval.caption_metrics=[CIDEr]"])
    return found


def digest(recipe: Recipe) -> str:
    """A digest of all that a training leaves: weights, averages, optimiser, losses, metrics."""
    with tempfile.TemporaryDirectory() as folder:
        run = hlcli.train(recipe, Path(folder) / "run")
        state = torch.load(run.checkpoint_file, weights_only=True)
        found = hashlib.sha256(run.metrics_file.read_bytes())
    for part in ("model", "ema", "optimizer", "criterion"):
        _add(found, state[part])
    return found.hexdigest()


def _add(found: Any, value: Any) -> None:
    if isinstance(value, dict):
        for name in value:
            _add(found, value[name])
    elif isinstance(value, torch.Tensor):
        found.update(value.cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    else:
        found.update(repr(value).encode())


def digests(names: list[str], **overrides: Any) -> dict[str, str]:
    """Of recipes with changes of their sections."""
    known = recipes()
    return {name: digest(_with(known[name], **overrides)) for name in names}


def _with(recipe: Recipe, **sections: dict[str, Any]) -> Recipe:
    tree = recipe.to_dict()
    return Recipe.from_dict({**tree, **{name: {**tree[name], **keys} for name, keys in sections.items()}})


@pytest.fixture(scope="module")
def first() -> dict[str, str]:
    """Digests of trainings of this process."""
    return digests([name for name in recipes() if IS_LONG or name not in ("cross_entropy", *LOSSES)])


def test_every_method_and_loss_is_here(first: dict[str, str]) -> None:
    trained = {*LABEL_METHODS, "cross_entropy", "self_critical", *LOSSES} - {"zero_shot"}
    assert first.keys() == (trained if IS_LONG else trained - {"cross_entropy", *LOSSES})


def test_nothing_but_the_seed_decides(first: dict[str, str]) -> None:
    """Loader processes and numbers that others drew change nothing, and every operation has a deterministic form on
    the CPU: where torch is told to insist on it, it finds none without, and the bits are the same."""
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(12345)
    torch.rand(7), random.random(), np.random.rand(3)
    assert digests(list(first), data={"workers": 1}, train={"deterministic": True}) == first
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_a_deterministic_form_is_named() -> None:
    with pytest.raises(TrainingError, match=r"^train.deterministic: put_.* Set train.deterministic=false."):  # noqa: SIM117
        with deterministic(True):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    assert not torch.are_deterministic_algorithms_enabled()
    torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))


def test_another_program_finds_the_same_bits_whatever_it_takes_for_hashes(first: dict[str, str]) -> None:
    environment = program_environment(PYTHONHASHSEED="99" if os.environ.get("PYTHONHASHSEED") != "99" else "98")
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1] / "support"), environment["PYTHONPATH"]])
    names = list(first) if IS_LONG else ["salgl", "self_critical"]
    done = subprocess.run(
        [sys.executable, __file__, *names], cwd=SOURCE, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {name: first[name] for name in names}


class _Drawn(NamedTuple):
    """What chance decided in a training of one epoch."""

    order: list[int]
    images: Tensor  # as they came from the loader, in the order of their rows
    weights: Tensor  # before the first step
    dropout: Tensor  # the first mask of the first step, which SCST draws in its search


def drawn(recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch) -> _Drawn:
    order: list[int] = []
    images: dict[int, Tensor] = {}
    weights: list[Tensor] = []
    masks: list[Tensor] = []
    dropout = F.dropout

    def watch(real: Callable[..., Any]) -> Callable[..., Any]:
        def losses(task: Any, model: Any, batch: Any, *arguments: Any, **options: Any) -> Any:
            rows = batch.rows.tolist()
            order.extend(rows)
            images.update(zip(rows, getattr(batch, "inputs", batch).images.clone(), strict=True))
            weights.append(torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()]))
            return real(task, model, batch, *arguments, **options)

        return losses

    def note(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if weights and training and p > 0 and not masks:
            state = torch.get_rng_state()
            masks.append(dropout(torch.ones_like(values), p))
            torch.set_rng_state(state)
        return dropout(values, p, training, inplace)

    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", note)
        for kind in (LabelTask, CaptionTask):
            patch.setattr(kind, "losses", watch(kind.losses))
        hlcli.train(recipe, folder)
    return _Drawn(order, torch.stack([images[row] for row in sorted(images)]), weights[0], masks[0])


@pytest.mark.parametrize(("name", "workers"), [("hleg", 0), ("cross_entropy", 1), ("self_critical", 0)])
def test_another_seed_changes_all_that_is_drawn(
    name: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _with(recipes()[name], data={"randaugment": True}, train={"epochs": 1})
    one, same, other = (
        drawn(_with(recipe, data={"workers": count}, train={"seed": seed}), tmp_path / folder, monkeypatch)
        for folder, seed, count in (("one", 31, 0), ("same", 31, workers), ("other", 32, workers))
    )
    assert one.order == same.order
    assert one.order != other.order
    for part in ("images", "weights", "dropout"):
        known, again, changed = (getattr(found, part) for found in (one, same, other))
        assert torch.equal(known, again), part
        assert known.shape != changed.shape or not torch.equal(known, changed), part


def test_measuring_and_captioning_need_no_chance(tmp_path: Path) -> None:
    model, captioner = tiny_label_model("salgl", "data.num_val=5"), write_captioner(tmp_path / "captioner")
    photos = write_photos(tmp_path / "photos", 3)

    def all_results() -> tuple[Any, ...]:
        metrics = hlcli.evaluate(model, split="val").metrics.to_json()
        return metrics, hlcli.predict(model, photos), hlcli.caption(captioner, photos)

    first = all_results()
    torch.rand(7), random.random(), np.random.rand(3)
    assert repr(all_results()) == repr(first)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(digests(sys.argv[1:])))
