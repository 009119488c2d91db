"""What holds for every page: nothing from outside, names break nothing, the same bytes again, not too large."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from report_pages import HOSTILE, Page, made_report, photo_bytes
from tiny_captioner import write_captioner

import hlcli
from hlcli.captioning.generated import GeneratedCaption
from hlcli.data.labels import LabelSpace
from hlcli.evaluation.captions import CaptionEvaluation
from hlcli.figures import images
from hlcli.metrics.captioning.summary import caption_metrics
from hlcli.prediction.caption_rows import make_caption
from hlcli.report.captions import write_caption_report


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of labels and images with the worst names."""
    path = tmp_path_factory.mktemp("pages") / "hostile.html"
    labels = LabelSpace.from_tree({f"{HOSTILE} a": [f"{HOSTILE} b", "{{ 7 * 7 }}"], "<b>c</b>": ["' & \" d", "<!-- e"]})
    made_report(path, labels, name=f"{HOSTILE} <i>")
    return path


@pytest.fixture(scope="module")
def hostile_captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    return write_hostile_captions(folder, folder / "captions.html")


def write_hostile_captions(folder: Path, path: Path) -> Path:
    """A page of captions whose words nobody should trust."""
    predictor = hlcli.load_captioner(write_captioner(folder / "model"), features=hlcli.FeatureSources(of_data=True))
    records = hlcli.data_section("shapes", "data").records("test")  # of the same names as the model's
    ids = [records[row].image_id for row in range(7)]
    said = [make_caption(name, [GeneratedCaption(HOSTILE, -1.0)]) for name in ids]
    references = [(f"{HOSTILE} a house", "{{ 7 * 7 }}")] * 7
    metrics = caption_metrics([caption.caption for caption in said], references)
    write_caption_report(path, CaptionEvaluation("test", metrics, said, references), predictor)
    return path


@pytest.fixture(params=["hostile", "hostile_captions"])
def page(request: pytest.FixtureRequest) -> Page:
    return Page(request.getfixturevalue(request.param))


def test_names_are_text_and_nothing_else(page: Page):
    assert not page.all("img")
    assert not page.all("i")
    assert not page.all("b")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert len(page.all("script")) == 2
    assert HOSTILE in page.text
    assert "49" not in page.words
    json.loads(page.scripts[0])
    assert "<" not in page.scripts[0]


def test_only_the_script_of_the_page_may_run(page: Page):
    [policy] = [attributes["content"] for attributes in page.all("meta") if "http-equiv" in attributes]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_nothing_comes_from_outside(page: Page):
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert addresses
    assert [address for address in addresses if not address.startswith(("data:", "#"))] == []
    assert not re.findall(r"url\(|@import", page.source)


def test_the_outline_is_one_that_readers_can_follow(page: Page):
    tags = [tag for tag, _ in page.elements]
    assert [tags.count(tag) for tag in ("h1", "main", "nav", "header", "footer")] == [1] * 5
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"
    for attributes in page.all("svg"):
        assert attributes["role"] == "img"
        assert attributes["aria-label"]
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    named = {f"#{name}" for name in identities}
    assert {attributes["href"] for attributes in [*page.all("a"), *page.all("use")]} <= named


def test_the_same_bytes_again(tmp_path: Path):
    labels = LabelSpace.from_tree({"a": ["b", "c"], "d": ["e"]})
    for name in ("one", "two"):
        made_report(tmp_path / f"{name}.html", labels)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"]


def test_many_labels_and_large_photos_make_no_huge_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    large = photo_bytes((90, 20, 10), (1500, 1000))
    monkeypatch.setattr("report_pages.photo_bytes", lambda colour: large)
    made_report(tmp_path / "a.html", LabelSpace.flat([f"label {number}" for number in range(2000)]), images=60)
    page = Page(tmp_path / "a.html")
    assert len(page.all("image")) <= 30
    assert len(page.source) < 2_500_000
    assert page.source.count("<tr data-level=") == 2000


def test_photos_that_cannot_be_decoded_any_more_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def load(source: object, *, name: str, shrink_to: object = None) -> None:
        raise hlcli.DataError(f"Image {name} cannot be decoded: gone.")

    monkeypatch.setattr(images, "load_image", load)
    made_report(tmp_path / "a.html", LabelSpace.flat(["a", "b"]))
    assert "Image image 0 cannot be decoded: gone." in Page(tmp_path / "a.html").text
