"""No golden case goes unchecked: every method below $HLCLI_GOLDEN has its module of checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cases import ROOT, methods_found


def test_the_folder_holds_cases() -> None:
    assert methods_found(), f"{ROOT} holds no golden case"


@pytest.mark.parametrize("method", sorted(methods_found()))
def test_every_method_in_the_folder_has_checks(method: str) -> None:
    module = Path(__file__).parent / f"test_{method}.py"
    assert module.is_file(), f"{ROOT}: no test module checks method {method!r}"
