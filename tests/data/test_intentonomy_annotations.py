from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentonomy_files import ROWS, document, write_annotations, write_photos

from hlcli.data.datasets.intentonomy import Intentonomy, IntentonomyOptions
from hlcli.data.datasets.intentonomy_annotations import read_annotations
from hlcli.data.datasets.intentonomy_download import photo_url
from hlcli.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_annotations(tmp_path)
    write_photos(tmp_path)
    return tmp_path


def prepare(folder: Path, **options):
    return Intentonomy().prepare(folder, IntentonomyOptions(**{"allow_partial": True} | options))


def edit(folder: Path, change, split: str = "val") -> Path:
    path = folder / f"intentonomy_{split}2020.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "has no list `images`"),
        (lambda d: d.update(annotations={}), "has no list `annotations`"),
        (lambda d: d["categories"].pop(), "28 categories were expected, got 27"),
        (lambda d: d["categories"].reverse(), r"categories[0] must be {id: 0, name: Attractive}"),
        (lambda d: d["annotations"].reverse(), "annotations[0] must have id 0, its position (got 1)"),
        (lambda d: d["annotations"].__setitem__(0, 3), "annotations[0] must have id 0, its position (got None)"),
        (lambda d: d["annotations"][1].update(image_id="f" * 32), f"annotations[1].image_id '{'f' * 32}' is not among"),
        (lambda d: d["annotations"][1].update(image_id=d["images"][0]["id"]), "was annotated before"),
        (lambda d: d["annotations"].pop(), "1 image has no annotation"),
        (lambda d: d["annotations"][0].update(category_ids=[28]), "must be indices from 0 to 27 (got [28])"),
        (lambda d: d["annotations"][0].update(category_ids=[True]), "must be indices from 0 to 27"),
        (lambda d: d["annotations"][0].update(category_ids="19"), "must be indices from 0 to 27"),
        (lambda d: d["annotations"][0].pop("category_ids"), "annotations[0] needs category_ids, or"),
        (lambda d: d["images"][1].update(id="../../etc/passwd"), "images[1].id must be 32 hexadecimal digits"),
        (lambda d: d["images"].append(d["images"][0]), "is listed twice"),
        (lambda d: d["images"][1].update(filename="../x.jpg"), "images[1].filename must be the plain relative path"),
        (lambda d: d["images"][1].update(filename="/x.jpg"), "images[1].filename must be the plain relative path"),
        (lambda d: d["images"][1].update(filename="photos.jsonl"), "images[1].filename must be the plain relative"),
        (lambda d: d["images"].__setitem__(0, None), "images[0].id must be"),
    ],
)
def test_every_mistake_in_a_file_is_named_with_its_place(folder, change, message):
    edit(folder, change)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        prepare(folder)
    assert "intentonomy_val2020.json" in str(caught.value)


@pytest.mark.parametrize(
    ("published", "read"),
    [
        ("https//images.unsplash.com/a?q=30", "https://images.unsplash.com/a?q=30"),
        (" https://images.unsplash.com/a\n", "https://images.unsplash.com/a"),
        ("http:/images.unsplash.com/a", "http://images.unsplash.com/a"),
        ("file:///x", "file:///x"),
        ("http://[x", ""),
        (None, ""),
    ],
)
def test_slips_in_addresses_are_mended_and_what_is_none_does_not_cost_the_file(folder, published, read):
    path = edit(folder, lambda d: d["images"][1].update(unsplash_url=published))
    url = read_annotations(path)[1].url
    assert url == read
    assert photo_url(url, 64).endswith("w=64&fit=max&fm=jpg") == url.startswith("http")


@pytest.mark.parametrize("shares", [[0.5] * 27, [2.0] * 28, [-0.1] * 28, ["1"] * 28, None])
def test_votes_must_be_28_shares(folder, shares):
    edit(folder, lambda d: d["annotations"][2].update(category_ids_softprob=shares), "train")
    with pytest.raises(
        DataError, match=r"annotations\[2\] needs category_ids, or category_ids_softprob with 28 numbers"
    ):
        prepare(folder)


@pytest.mark.parametrize(
    ("text", "message"), [("[1]", "holds a list"), ('{"a": ', "is not JSON: .* line 1"), ("", "is not JSON")]
)
def test_text_that_is_no_annotation_file_is_an_error(folder, text, message):
    (folder / "intentonomy_val2020.json").write_text(text)
    with pytest.raises(DataError, match=message):
        prepare(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_any_value_replaced_is_read_or_refused_but_never_crashes(tmp_path, data):
    value = document("val")
    node, key = value, data.draw(st.sampled_from(sorted(value)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
    junk = st.sampled_from([None, True, -1, 1e308, "", "x", [], {}, [[]], {"id": 0}, float("nan")])
    node[key] = data.draw(junk)
    path = tmp_path / "intentonomy_val2020.json"
    path.write_text(json.dumps(value))
    with suppress(DataError):
        assert len(read_annotations(path)) == len(ROWS["val"])
