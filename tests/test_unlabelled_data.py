"""Data sets of captions: what can be done with labels alone says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import text_models
from karpathy_files import write_flickr

from hlcli.data.datasets.karpathy import Flickr8k
from hlcli.data.labels import LabelSpace
from hlcli.data.store import open_label_space, open_records
from hlcli.data.store_writing import write_store
from hlcli.embeddings.graphs import embed_graph
from hlcli.embeddings.labels import embed_labels
from hlcli.errors import DataError
from hlcli.figures.labels import draw_labels
from hlcli.recipe import Recipe


@pytest.fixture
def data(tmp_path: Path) -> Flickr8k:
    """A store without labels."""
    data = Flickr8k(root=tmp_path)
    prepared = data.prepare(write_flickr(data.folder()), data.prepare_options(allow_partial=True))
    write_store(data.folder() / "store", data.label_space(), prepared.splits, {}, encode=iter)
    return data


def test_a_store_without_labels_keeps_the_captions(data: Flickr8k):
    assert open_label_space(data) == LabelSpace.empty()
    records = open_records(data, "train")
    assert records[0].labels == ()
    assert len(records[0].captions) == 5
    assert records.captions() == [list(record.captions) for record in records]  # type: ignore[attr-defined]


def test_work_on_labels_says_that_there_are_none(data: Flickr8k, tmp_path: Path):
    glove = f"glove:{text_models.write_glove(tmp_path / 'words.txt')}"
    with pytest.raises(DataError, match="There are no labels in flickr8k"):
        embed_labels(data, glove)
    with pytest.raises(DataError, match="There are no labels in flickr8k"):
        embed_graph(data, glove)
    values = {"dataset": "flickr8k", "root": str(tmp_path)}
    recipe = Recipe.from_dict({"data": values, "model": {"method": "linear"}})
    with pytest.raises(DataError, match="There are no labels in flickr8k"):
        draw_labels("", tmp_path, "png", recipe=recipe)
