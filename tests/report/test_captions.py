"""What the report on a captioner holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_pages import Page
from tiny_captioner import write_captioner

import hlcli


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioner(tmp_path_factory.mktemp("models") / "m")


def test_metrics_captions_references_and_words(model: Path, tmp_path: Path):
    result = hlcli.evaluate_captions(model, "test", report=tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    assert result.metrics is not None
    assert f"{result.metrics.values['ROUGE-L']:.3f}" in page.words
    for caption, references in zip(result.captions, result.references, strict=True):
        assert page.words.count(caption.caption) >= 2  # in the table, and on a card
        assert all(text in page.words for text in references)
    looks = [name["aria-label"] for name in page.all("svg") if name["aria-label"].startswith("Where")]
    assert len(looks) >= 7
    assert {name.split(" in ")[0].rpartition(" ")[2] for name in looks} <= set(" ".join(
        caption.caption for caption in result.captions).split())  # fmt: skip


def test_several_models_have_no_maps_together(model: Path, tmp_path: Path):
    captioner = hlcli.load_captioner([model, model], features=hlcli.FeatureSources(of_data=True))
    hlcli.evaluate_captions(captioner, "test", report=tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    assert "2 models together" in page.text
    assert not [name for name in page.all("svg") if name["aria-label"].startswith("Where")]


def test_long_tables_keep_the_best_and_the_worst(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hlcli.report.captions._MOST_ROWS", 4)
    monkeypatch.setattr("hlcli.report.captions._CARDS", 1)
    hlcli.evaluate_captions(model, "test", report=tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    assert "The best and the worst 2 by CIDEr of 7." in page.words
    assert page.source.count('<tr><th scope="row">shapes-test-') == 4
