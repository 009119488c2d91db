"""Random scores and targets for the tests of metrics."""

from __future__ import annotations

import numpy as np


def sample(seed, images=60, labels=7, *, steps=None, share=0.3, dtype=np.float64):
    """Scores (rounded to `steps` values where ties are wanted) and targets that go along with them."""
    rng = np.random.default_rng(seed)
    targets = rng.random((images, labels)) < share
    scores = np.clip(0.7 * rng.random((images, labels)) + 0.3 * targets, 0, 1)
    if steps is not None:
        scores = np.round(scores * steps) / steps
    return scores.astype(dtype), targets
