"""What the report on a captioner holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_pages import Page
from tiny_captioner import write_captioner

import hlcli
from hlcli.captioning.generated import GeneratedCaption
from hlcli.evaluation.captions import CaptionEvaluation
from hlcli.metrics.captioning.summary import caption_metrics
from hlcli.prediction.caption_rows import make_caption
from hlcli.report.captions import write_caption_report


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


def test_of_equal_scores_the_surest_is_best_and_repeated_captions_are_counted(model: Path, tmp_path: Path):
    predictor = hlcli.load_captioner(model, features=hlcli.FeatureSources(of_data=True))
    records = predictor.recipe.data.records("test")
    sure = {"a red sun": (-1.0, -3.0, -2.0), "a blue sea": (-5.0, -4.0), "one tower": (-6.0,)}
    pairs = [(text, log_prob) for text, known in sure.items() for log_prob in known]
    said = [
        make_caption(records[row].image_id, [GeneratedCaption(text, log_prob)])
        for row, (text, log_prob) in enumerate(pairs)
    ]
    references = [("what nobody says", "else")] * len(said)
    metrics = caption_metrics([caption.caption for caption in said], references)
    assert not metrics.per_image["CIDEr"].any()
    write_caption_report(tmp_path / "a.html", CaptionEvaluation("test", metrics, said, references), predictor)
    source = (tmp_path / "a.html").read_text(encoding="utf-8")
    worst, best = (re.findall("<h3>(.*?)</h3>", source.split(f'<section id="{part}"')[1].split("</section>")[0])
                   for part in ("worst", "best"))  # fmt: skip
    assert best == [said[row].image for row in (0, 2, 1)]
    assert worst == [said[row].image for row in (5, 3, 4)]
    text = Page(tmp_path / "a.html").text
    assert re.findall(r"(\d) times: ([\w ]+?)(?= \d times| Made by)", text) == [("3", "a red sun"), ("2", "a blue sea")]


def test_scores_stand_beside_their_captions_and_the_worst_come_first(model: Path, tmp_path: Path):
    """Seven images, of whose true captions every next one is told a word more; the surest are the worst."""
    predictor = hlcli.load_captioner(model, features=hlcli.FeatureSources(of_data=True))
    records = predictor.recipe.data.records("test")
    ids = [records[row].image_id for row in range(7)]
    words = [[f"{letter}{word}" for word in ["one", "two", "six", "ten", "red", "sun", "sea"]] for letter in "abcdefg"]
    said = [
        make_caption(name, [GeneratedCaption(" ".join(words[row][: row + 1]), -1.0 - row)])
        for row, name in enumerate(ids)
    ]
    references = [(" ".join(true), "a picture") for true in words]
    metrics = caption_metrics([caption.caption for caption in said], references)
    write_caption_report(tmp_path / "a.html", CaptionEvaluation("test", metrics, said, references), predictor)
    source = (tmp_path / "a.html").read_text(encoding="utf-8")
    table = source.split('<table id="caption-table"')[1].split("</table>")[0]
    names = re.findall(r'data-sort="number">([\w-]+)</th>', table)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td class="text">(.*?)</td>(.*?)<td class="text">', table)
    assert names[0] == "CIDEr"
    assert [row[:2] for row in rows] == [(caption.image, caption.caption) for caption in said]
    for number, (_, _, cells) in enumerate(rows):
        scores = [f"{metrics.per_image[name][number]:.3f}" for name in names]
        assert re.findall(r">(-?[\d.]+)</td>", cells) == [*scores, f"{-1.0 - number:.2f}"]
    assert sorted(metrics.per_image["CIDEr"]) == list(metrics.per_image["CIDEr"])  # more words, a better score
    worst, best = (re.findall("<h3>(.*?)</h3>", source.split(f'<section id="{part}"')[1].split("</section>")[0])
                   for part in ("worst", "best"))  # fmt: skip
    assert (worst, best) == (ids[:4], ids[:3:-1])
