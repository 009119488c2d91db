"""When a run stops early: how long without a new best, and what the averaged weights do meanwhile."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import TINY
from torch import nn

import hlcli
from hlcli.errors import RecipeError
from hlcli.recipe import Recipe
from hlcli.sections import Train
from hlcli.tasks.base import Scores
from hlcli.training import selection
from hlcli.training.checkpoints import Progression
from hlcli.training.selection import Candidate, _is_enough, _value


def stops_at(averages: list[float], patience: int | None, *, kinds: tuple[str, ...], first: int = 0) -> int | None:
    """Epoch, counted from 1, at which a run stops whose averaged weights score so; the regular ones are no good."""
    progression = Progression(best_epoch=0, best_regular_epoch=0)
    training: Any = SimpleNamespace(
        progression=progression,
        recipe=SimpleNamespace(train=Train(early_stop_epochs=patience, early_stop_from_epoch=first)),
    )
    for epoch, average in enumerate(averages):
        progression.epoch = epoch
        if average > max(averages[:epoch], default=0):
            progression.best_epoch = epoch
        values = {"regular": 0.0, "ema": average}
        candidates = [Candidate(kind, nn.Identity(), Scores({}), values[kind]) for kind in kinds]
        if _is_enough(training, candidates):
            return epoch + 1
    return None


@pytest.mark.parametrize("kinds", [("regular", "ema"), ("ema",)])
@pytest.mark.parametrize(
    ("averages", "patience", "expected"),
    [
        ([0.5, 0.4, 0.4, 0.4, 0.4], 2, 4),  # at the third epoch in a row, as SGRE
        ([0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], 2, 7),  # a new best begins anew
        ([0.5, 0.4, 0.4], 2, None),
        ([0.5] + [0.4] * 9, None, None),
    ],
)
def test_a_run_stops_when_more_epochs_than_that_bring_no_new_best(
    averages: list[float], patience: int | None, expected: int | None, kinds: tuple[str, ...]
) -> None:
    assert stops_at(averages, patience, kinds=kinds) == expected


@pytest.mark.parametrize(("kinds", "expected"), [(("regular", "ema"), 6), (("ema",), 4)])
def test_an_average_as_good_as_its_best_holds_a_run_of_both_kinds_only(kinds: tuple[str, ...], expected: int) -> None:
    """HLEG, which compares both kinds, stops only below the best average; for SGRE a tie is no improvement."""
    assert stops_at([0.5, 0.4, 0.4, 0.5, 0.5, 0.4], 2, kinds=kinds) == expected


@pytest.mark.parametrize(("num_epochs", "expected"), [(30, 18), (17, None)])
def test_patience_that_runs_out_too_early_begins_anew(num_epochs: int, expected: int | None) -> None:
    """HIN: five epochs without a new best stop a run from epoch 15 on; before, they are forgotten."""
    averages = [0.1, 0.2, 0.5] + [0.4] * (num_epochs - 3)  # the best is epoch 2; patience ends at 7, 12 and 17
    assert stops_at(averages, 4, kinds=("ema",), first=15) == expected
    assert stops_at(averages, 4, kinds=("ema",), first=7) == 8  # in epoch 7 itself it may stop


@pytest.mark.parametrize(
    ("ties_are_better", "expected"),
    [(False, ["regular 0", "ema 1"]), (True, ["regular 0", "ema 1", "regular 2"])],
)
def test_of_equal_values_the_trained_weights_and_the_first_epoch_are_kept(
    monkeypatch: pytest.MonkeyPatch, ties_are_better: bool, expected: list[str]
) -> None:
    """Captions are another matter: there a later epoch that is as good is kept."""
    training: Any = SimpleNamespace(
        progression=Progression(),
        task=SimpleNamespace(ties_are_better=ties_are_better),
        recipe=SimpleNamespace(train=Train(), select_by="mAP"),
    )
    kept: list[str] = []
    monkeypatch.setattr(selection, "_keep", lambda t, best: kept.append(f"{best.weights} {t.progression.epoch}"))
    for epoch, (regular, average) in enumerate([(0.5, 0.5), (0.5, 0.6), (0.6, 0.6)]):
        training.progression.epoch = epoch
        found = [Candidate(kind, nn.Identity(), Scores({}), value) for kind, value in zip(
            ("regular", "ema"), (regular, average), strict=True)]  # fmt: skip
        monkeypatch.setattr(selection, "_evaluate", lambda t, found=found: found)
        selection.evaluate_epoch(training)
    assert kept == expected
    assert training.progression.best_value == 0.6


def test_fewer_orphans_are_better_and_are_told_as_measured(tmp_path) -> None:
    data = {**TINY["data"], "num_train": 48}
    section = {"select_by": "hierarchy/orphans", "threshold": 0.3, "weights": "regular"}
    run = hlcli.train(
        Recipe.from_dict({**TINY, "data": data, "eval": {**TINY.get("eval", {}), **section}}, ["train.epochs=4"]),
        tmp_path / "run",
    )
    events = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    orphans = [e["metrics"]["hierarchy/orphans"] for e in events if e["event"] == "evaluation"]
    assert len(set(orphans)) > 1
    status = json.loads((run.folder / "status.json").read_text())
    assert status["best_value"] == min(orphans)
    assert run.best_model()["metrics"]["hierarchy/orphans"] == min(orphans)


def test_a_metric_that_is_no_number_cannot_select() -> None:
    with pytest.raises(RecipeError, match=r"eval.select_by: mAP is not a number on this split: .*empty_labels=zero"):
        _value("mAP", {"mAP": None, "F1_micro": 0.5})
