"""Few draws for the intervals of all pages here: what intervals are is tested with the metrics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """As many as show that there is an interval."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hlcli.report.labels._MOST_DRAWS", 40)
        patch.setattr("hlcli.report.captions._DRAWS", 40)
        yield
