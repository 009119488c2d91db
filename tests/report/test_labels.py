"""What the report on a model of labels holds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from report_pages import SMALL, Page, made_report
from tiny import tiny_recipe
from tiny_label_models import tiny_label_model

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.evaluation.labels import measured_levels
from hlcli.report import label_images
from hlcli.report.label_images import scene_facts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run whose network has a grid of 2×2 cells."""
    recipe = tiny_recipe("train.epochs=1", "data.image_size=64", *SMALL)
    return hlcli.train(recipe, tmp_path_factory.mktemp("report") / "run").folder


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    drawn = hlcli.visualize("report", run, out=tmp_path_factory.mktemp("pages"))
    assert [path.name for path in drawn.files] == ["report.html"]
    assert not drawn.failures
    return Page(drawn.files[0])


def test_every_part_of_a_run_is_there(page: Page):
    titles = ["Metrics", "Model and data", "Training", "Labels", "Tree of labels, coloured by F1",
              "Precision and recall", "Thresholds", "Reliability", "Confusion", "Worst images", "Best images",
              "Failures and gaps"]  # fmt: skip
    identities = [attributes["id"] for attributes in page.all("section")]
    links = [attributes["href"] for attributes in page.all("a")]
    assert [f"#{name}" for name in identities] == links[1:]
    assert all(title in page.words for title in titles)
    assert "hleg on shapes, test" in page.words
    assert "method: hleg" in page.text  # the recipe
    assert "10 images" in page.text
    assert "test (measured)" in page.words


def test_metrics_are_those_of_the_evaluation_and_lie_in_their_intervals(run: Path, page: Page):
    metrics = hlcli.evaluate(run, split="test").metrics
    for name in ("mAP", "F1_micro", "coarse/mAP"):
        assert f"{metrics[name]:.3f}" in page.words
    tiles = page.words[page.words.index("mAP") :]
    low, high = map(float, re.findall(r"0\.\d{3}|1\.000", tiles[2]))
    assert low <= metrics["mAP"] <= high
    rows = {row.name: row for row in metrics.labels}
    assert f"{rows['flower'].recall:.3f}" in page.words


def test_training_images_are_those_of_their_label(run: Path, page: Page):
    model = hlcli.open_model(run)
    records = model.recipe.data.records("train")
    counts = Counter(name for row in range(len(records)) for name in label_names(model.labels, records[row].labels))
    number = r'<td class="number">(\d+)</td>'
    cells = re.findall(rf'<th scope="row">([\w ]+)</th><td>\w+</td>{number}{number}', page.source)
    assert {name: train for name, _, train in cells} == {
        name: str(counts[name]) for level in model.labels.levels for name in level.label_names
    }
    assert len(set(counts.values())) > 3


def label_names(labels: LabelSpace, fine: tuple[int, ...]) -> set[str]:
    """Names of some fine labels and of all above them."""
    found, numbers = set(), set(fine)
    for depth in reversed(range(len(labels.levels))):
        found |= {labels.levels[depth].label_names[number] for number in numbers}
        numbers = {labels.parents[depth - 1][number] for number in numbers} if depth else set()
    return found


def test_images_have_maps_with_words(page: Page):
    pictures = [attributes.get("aria-label", "") for attributes in page.all("svg")]
    assert sum(words.startswith("Photo ") for words in pictures) == 10
    maps = [words for words in pictures if words.startswith("Where the model looks for ")]
    assert len(maps) >= 10
    assert all(" in shapes-test-" in words for words in maps)


def test_a_method_without_maps_and_a_folder_without_a_run(tmp_path: Path):
    loaded = tiny_label_model("linear", *SMALL)
    hlcli.evaluate(loaded, split="val", report=tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    assert "6 images of" in page.text
    assert "Training" not in [words for words in page.words if words == "Training loss"]
    assert not [name for name in page.all("svg") if name.get("aria-label", "").startswith("Where")]
    assert not [attributes for attributes in page.all("section") if attributes["id"] in ("training", "scenes")]


def test_scenes_of_salgl(tmp_path: Path):
    loaded = tiny_label_model("salgl", *SMALL)
    hlcli.evaluate(loaded, split="test", report=tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    assert "Scenes" in page.words
    assert page.text.count("No training image was counted for it.") == 2
    with_counts = loaded.recipe.model.cooccurrence(loaded.model)
    with_counts[0] += 5  # type: ignore[index]
    hlcli.evaluate(loaded, split="test", report=tmp_path / "b.html")
    assert "Labels that go together" in Page(tmp_path / "b.html").text


def test_labels_of_a_scene_have_the_share_of_their_images_in_it():
    """Label 0 was seen three times in scene 0 and once in scene 1, label 1 four times in scene 1."""
    loaded = tiny_label_model("salgl", *SMALL)
    counts: Any = loaded.recipe.model.cooccurrence(loaded.model)
    counts[0, 0, 0], counts[1, 0, 0], counts[1, 1, 1] = 3, 1, 4
    found = scene_facts(hlcli.evaluate(loaded, split="test"), loaded, [])
    first, second = loaded.labels.label_names[:2]
    assert found is not None
    assert [list(scene.labels) for scene in found.scenes] == [[(first, 0.75)], [(second, 1.0), (first, 0.25)]]
    assert sum(scene.share for scene in found.scenes) == pytest.approx(1)


def test_maps_of_mistakes_come_first(monkeypatch: pytest.MonkeyPatch):
    """Those of labels that were missed, then of false ones, then of right ones; within a kind by score."""
    loaded = tiny_label_model("hleg", *SMALL)
    found = hlcli.evaluate(loaded, split="test", thresholds=[0.5, 0.5, 0.5])
    monkeypatch.setattr(label_images, "_MOST_MAPS", 99)
    measured = measured_levels(found, loaded)[-1]
    [card] = label_images.make_cards(found, loaded, measured, [0], [])
    kinds = [veil.note.partition(",")[0] for veil in card.veils]
    scores = {kind: [float(v.note.split()[1]) for v in card.veils if v.note.startswith(kind)] for kind in kinds}
    assert sorted(verdict.kind for verdict in card.verdicts) == sorted(kinds)
    assert list(dict.fromkeys(kinds)) == [kind for kind in ("missed", "false", "right") if kind in kinds]
    assert len(set(kinds)) > 1
    assert kinds == sorted(kinds, key=("missed", "false", "right").index)
    assert all(row == sorted(row, reverse=True) for row in scores.values())


def test_one_level_and_left_out_labels(tmp_path: Path):
    made_report(tmp_path / "a.html", LabelSpace.flat(["one", "two", "three"]), ignore=True)
    page = Page(tmp_path / "a.html")
    assert not [attributes for attributes in page.all("section") if attributes["id"] == "tree"]
    assert not page.all("select")


def test_thresholds_of_labels_are_in_their_table(tmp_path: Path):
    made_report(tmp_path / "a.html", LabelSpace.flat(["one", "two"]), thresholds=[(0.25, 0.625)])
    page = Page(tmp_path / "a.html")
    assert {"per label", "0.25", "0.625"} <= set(page.words)
    assert not [attributes for attributes in page.all("line") if attributes.get("class") == "mark"]


def test_labels_without_images_are_named(tmp_path: Path):
    labels = LabelSpace.flat([f"label {number}" for number in range(300)])
    evaluation = made_report(tmp_path / "a.html", labels, images=8)
    missing = [row.name for row in evaluation.metrics.labels if not row.positives]
    text = Page(tmp_path / "a.html").text
    assert f"{len(missing)} labels have no image in this split" in text
    assert text.count(missing[0]) >= 2


def test_another_name_than_that_of_a_page_is_refused(tmp_path: Path):
    with pytest.raises(hlcli.InputError, match=r"a\.pdf does not end in \.html"):
        hlcli.evaluate(tiny_label_model("linear"), report=tmp_path / "a.pdf")
    with pytest.raises(hlcli.InputError, match="no use for --format"):
        hlcli.visualize("report", tiny_label_model("linear"), file_format="svg", out=tmp_path)
