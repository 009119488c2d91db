"""HIN against the published code's numbers: every case below $HLCLI_GOLDEN, built from its own description."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .cases import IS_DEFAULT_ROOT, Case, find_cases
from .hin_metrics import check_caption_metrics
from .hin_network import check_beams, check_forward, check_scst, check_training
from .hin_text import check_ptb_tokens, check_text_pipeline

CHECKS: dict[str, Callable[[Case], None]] = {
    "forward_and_losses": check_forward,
    "beam_search": check_beams,
    "scst": check_scst,
    "train_dynamics": check_training,
    "caption_metrics": check_caption_metrics,
    "ptb_tokens": check_ptb_tokens,
    "text_pipeline": check_text_pipeline,
}
CASES = find_cases("hin")


def test_cases_of_every_kind_are_found() -> None:
    assert not IS_DEFAULT_ROOT or {json.loads(path.read_text())["kind"] for path in CASES} == set(CHECKS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_matches_published_numbers(path: Path) -> None:
    case = Case(path)
    kind = case.about["kind"]
    assert kind in CHECKS, f"{path}: no check for kind {kind!r}"
    CHECKS[kind](case)
    assert case.num_compared > 0, f"{path}: nothing was compared"
    assert not case.open, f"not compared: {sorted(case.open)[:10]}"
