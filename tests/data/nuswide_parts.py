"""NUS-WIDE in miniature, prepared."""

from __future__ import annotations

from pathlib import Path

import pytest
from nuswide_files import write_official

from hlcli.data.datasets import nuswide, nuswide_annotations
from hlcli.data.datasets.base import Prepared
from hlcli.data.datasets.nuswide import Nuswide, NuswideOptions
from hlcli.data.datasets.nuswide_labels import LABEL_NAMES, Counts


@pytest.fixture(name="source")
def given_source(tmp_path: Path) -> Path:
    write_official(tmp_path / "NUS-WIDE")
    return tmp_path / "NUS-WIDE"


def prepare(source: Path, **options) -> Prepared:
    return Nuswide(root=source).prepare(source, NuswideOptions(**{"allow_partial": True} | options))


@pytest.fixture(name="published_sizes")
def given_published_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published numbers are those of the miniatures."""
    monkeypatch.setattr(nuswide_annotations, "NUM_LISTED", 7)
    monkeypatch.setattr(nuswide, "OFFICIAL", {"train": Counts(3, labelled=2), "test": Counts(3, labelled=2)})
    monkeypatch.setattr(nuswide, "ASL", {"train": Counts(3, 4), "test": Counts(1, 2)})
    monkeypatch.setattr(nuswide, "ASL_SINGLE", {"train": Counts(2, 2), "test": Counts(1, 2)})
    monkeypatch.setattr(nuswide, "SPML", {"train": Counts(2), "test": Counts(1)})


def rows(prepared: Prepared, split: str) -> list[tuple[str, list[str]]]:
    return [(record.image_id, [LABEL_NAMES[i] for i in record.labels]) for record in prepared.splits[split]]
