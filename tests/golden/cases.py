"""Golden cases: a description (json) and tensors (safetensors) that a reference implementation computed.

They lie below $HLCLI_GOLDEN, by default in this folder; `method` and `kind` in the json say what they check.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from hlcli.metrics.arguments import Flags
from hlcli.metrics.multilabel import PrecisionRecall

IS_DEFAULT_ROOT = not os.environ.get("HLCLI_GOLDEN")
ROOT = Path(os.environ.get("HLCLI_GOLDEN") or Path(__file__).parent)


class Case:
    """A description and its tensors; remembers which results have not been compared yet."""

    def __init__(self, path: Path) -> None:
        self.about: dict[str, Any] = json.loads(path.read_text())
        file = path.with_suffix(".safetensors")
        self.tensors = load_file(file) if file.exists() else {}
        self.num_compared = 0
        self.open = {name for name in self.tensors if not name.startswith(("in.", "state."))}

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def has(self, prefix: str) -> bool:
        """Whether any tensor's name begins so."""
        return any(name.startswith(prefix) for name in self.tensors)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors below a prefix, by the rest of their names."""
        self.open -= {name for name in self.tensors if name.startswith(f"{prefix}.")}
        return {k.removeprefix(f"{prefix}."): v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}

    def expect(self, name: str, actual: Any, *, rtol: float = 1e-9, atol: float = 1e-12) -> None:
        """Compare with a stored result; a case need not store every one."""
        if name not in self.tensors:
            return
        self.open.discard(name)
        self.num_compared += 1
        actual = torch.tensor(actual, dtype=torch.float64) if isinstance(actual, float) else torch.as_tensor(actual)
        assert_near(name, actual, self.tensors[name], rtol, atol)


def assert_near(name: str, actual: Tensor, expected: Tensor, rtol: float, atol: float) -> None:
    torch.testing.assert_close(
        actual.detach().to(expected.dtype), expected, rtol=rtol, atol=atol, equal_nan=True, msg=lambda m: f"{name}: {m}"
    )


def with_undefined(values: PrecisionRecall, expected: Tensor, predictions: Flags, targets: Flags) -> Tensor:
    """Our six numbers as the programs of SALGL and SGRE give them: where these divide 0 by 0 they say NaN, we say 0.

    Args:
        values: ours.
        expected: [6], theirs; ours become NaN only where these are.
        predictions: [N, L].
        targets: [N, L].
    """
    has_undefined = {
        "OP": not predictions.any(),
        "OR": not targets.any(),
        "OF1": not (predictions & targets).any(),
    }
    allowed = torch.tensor([has_undefined.get(name, False) for name in values._fields])
    return torch.tensor(values, dtype=torch.float64).masked_fill(allowed & expected.isnan(), float("nan"))


def find_cases(method: str) -> list[Path]:
    """Descriptions of a method's cases."""
    return [path for path in sorted(ROOT.rglob("*.json")) if _method_of(path) == method]


def methods_found() -> set[str]:
    """Methods of all cases in the folder."""
    return {str(method) for path in ROOT.rglob("*.json") if (method := _method_of(path))}


def _method_of(path: Path) -> Any:
    """None for lists of names, and whatever else is no case."""
    about = json.loads(path.read_text())
    return about.get("method") if isinstance(about, dict) else None
