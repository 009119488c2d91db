"""Two models on the same draws, said in the fewest words: what `hlcli compare` does for many metrics at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hlcli.metrics.bootstrap import difference, resample

Measure = Callable[[np.ndarray], Mapping[str, float]]


def paired_bootstrap(
    first: Measure, second: Measure, num_rows: int, *, resamples: int, seed: int = 0
) -> dict[str, Any]:
    """By how much the second measure exceeds the first on the same rows, by name."""
    rows = np.arange(num_rows)
    before, after = first(rows), second(rows)
    drawn = [resample(measure, num_rows, resamples=resamples, seed=seed) for measure in (first, second)]
    return {
        name: difference(float(before[name]), float(after[name]), drawn[0][name], drawn[1][name]) for name in before
    }
