"""Measuring a model: thresholds, label files, ignored labels, other networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_recipe
from tiny_label_models import tiny_label_model
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hlcli.building import build_model
from hlcli.data.labels import LabelSpace, Level
from hlcli.data.loader import LabelBatch
from hlcli.data.records import Record
from hlcli.data.store import open_records
from hlcli.data.store_writing import write_store
from hlcli.errors import CheckpointError, DataError, InputError, RecipeError
from hlcli.evaluation.label_scoring import score_split
from hlcli.evaluation.labels import Evaluation, evaluate, split_predictions
from hlcli.launching import find_processes
from hlcli.losses.config import Bce
from hlcli.metrics.multilabel import THRESHOLDS, tune_threshold
from hlcli.models.folder import LoadedModel
from hlcli.prediction.labels import Predictor
from hlcli.recipe import Recipe
from hlcli.thresholds import read_thresholds

OWN = (0.15, 0.25, 0.35)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    """A network nobody has trained, with thresholds as if tuned on val."""
    torch.manual_seed(3)
    recipe = tiny_recipe()
    labels = recipe.data.label_space()
    return LoadedModel(build_model(recipe, labels).eval(), recipe, labels, OWN, {})


def truth(split: str, labels: LabelSpace) -> np.ndarray:
    records = open_records(tiny_recipe().data, split)
    targets = np.zeros((len(records), labels.num_labels), dtype=bool)
    for row, record in enumerate(records):
        targets[row, list(record.labels)] = True
    return targets


def with_settings(loaded: LoadedModel, *overrides: str) -> LoadedModel:
    return loaded._replace(recipe=Recipe.from_dict(loaded.recipe.to_dict(), overrides))


def test_val_uses_the_thresholds_that_the_model_brings(loaded: LoadedModel):
    assert evaluate(loaded, split="test", thresholds="val").metrics.thresholds == OWN
    assert evaluate(loaded).metrics.thresholds == OWN  # the recipe says val, and there is a test split


def test_val_on_val_and_without_stored_thresholds_tunes_on_val(loaded: LoadedModel):
    on_val = evaluate(loaded, split="val", thresholds="val")
    scores = on_val.scores.levels[-1]
    expected = tune_threshold(scores, truth("val", loaded.labels))
    assert on_val.metrics["threshold"] == expected
    assert all(value in THRESHOLDS for value in on_val.metrics.thresholds)
    without = evaluate(loaded._replace(thresholds=None), split="test", thresholds="val")
    assert without.metrics.thresholds == on_val.metrics.thresholds
    assert without.metrics.num_images == 10


def test_self_tunes_on_what_is_measured(loaded: LoadedModel):
    result = evaluate(loaded, split="test", thresholds="self")
    assert result.metrics["threshold"] == tune_threshold(result.scores.levels[-1], truth("test", loaded.labels))
    best = max(evaluate(loaded, split="test", thresholds=t).metrics["F1_macro"] for t in THRESHOLDS[::3])
    assert result.metrics["F1_macro"] >= best


def test_numbers_and_files_are_taken_as_they_are(loaded: LoadedModel, tmp_path: Path):
    assert evaluate(loaded, split="test", thresholds=0.42).metrics.thresholds == (0.42,) * 3
    file = tmp_path / "t.json"
    file.write_text('{"fine": 0.3, "coarse": 0.1, "middle": 0.2, "other": 9}')
    assert evaluate(loaded, split="test", thresholds=file).metrics.thresholds == (0.1, 0.2, 0.3)
    assert evaluate(with_settings(loaded, "eval.threshold=0.6"), split="test").metrics.thresholds == (0.6,) * 3


def test_average_precision_does_not_depend_on_thresholds(loaded: LoadedModel):
    values = {evaluate(loaded, split="test", thresholds=t).metrics["mAP"] for t in ("self", "val", 0.5)}
    assert len(values) == 1


@pytest.mark.parametrize("value", [0.0, 1.0, 7, -0.5, float("nan")])
def test_thresholds_outside_0_and_1_are_refused(loaded: LoadedModel, value: float):
    with pytest.raises(InputError, match="between 0 and 1"):
        evaluate(loaded, split="test", thresholds=value)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "0.5", '{"fine": 0.5}', '{"coarse": 0.5, "middle": "x", "fine": 1}']
)
def test_threshold_files_need_every_level(loaded: LoadedModel, tmp_path: Path, content: str):
    file = tmp_path / "t.json"
    file.write_text(content)
    with pytest.raises(InputError, match="holds no thresholds for coarse, middle, fine") as caught:
        read_thresholds(file, loaded.labels)
    assert '{"coarse": 0.5, "middle": 0.5, "fine": 0.5}' in (caught.value.hint or "")
    with pytest.raises(InputError, match="holds no thresholds"):
        read_thresholds(tmp_path / "none.json", loaded.labels)


@pytest.mark.parametrize(
    ("coarse", "text"),
    [
        ({"warm": 0.5, "cold": 0.5, "mild": 0.5}, "label 'warm' is none of level coarse"),
        ({"cold": 0.5, "warm": 0.5}, "label 'mild' of level coarse is missing"),
    ],
)
def test_threshold_files_of_other_labels_are_refused(tmp_path: Path, coarse: dict[str, float], text: str):
    labels = LabelSpace((Level("coarse", ("cold", "mild"), None), Level("fine", ("ice", "tea"), (0, 1))))
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"coarse": coarse, "fine": {"tea": 0.1, "ice": 0.2}}))
    with pytest.raises(InputError, match=text):
        read_thresholds(file, labels)


def test_misspelt_protocols_are_not_taken_for_self(loaded: LoadedModel):
    with pytest.raises(InputError, match="slef holds no thresholds"):
        evaluate(loaded, split="test", thresholds="slef")


def test_settings_that_the_network_was_not_made_for_are_refused(loaded: LoadedModel):
    for override, message in (
        ("data.image_size=64", r"data.image_size is \(64, 64\), but the model was trained with \(32, 32\)"),
        ("data.normalization=imagenet", "data.normalization is imagenet, but the model was trained with none"),
    ):
        with pytest.raises(RecipeError, match=message):
            evaluate(loaded, split="test", recipe=tiny_recipe(override))


def test_another_data_set_of_the_same_labels_may_be_measured(loaded: LoadedModel):
    other = evaluate(loaded, split="test", recipe=tiny_recipe("data.seed=5", "data.num_test=4"))
    assert other.metrics.num_images == 4
    assert other.metrics.thresholds == OWN


def folder_recipe(tmp_path: Path, names: str, tree: str | None = None) -> Recipe:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "l.csv").write_text(f"image,labels,split\na.png,{names},test\n")
    values = tiny_recipe().to_dict()
    data = {"dataset": "folder", "images": str(tmp_path), "labels": str(tmp_path / "l.csv")}
    if tree is not None:
        (tmp_path / "tree.yaml").write_text(tree)
        data["hierarchy"] = str(tmp_path / "tree.yaml")
    values["data"] = data | {"image_size": 32, "normalization": "none", "workers": 0}
    return Recipe.from_dict(values)


def test_a_data_set_of_other_labels_is_refused(loaded: LoadedModel, tmp_path: Path):
    with pytest.raises(DataError, match=r"Label 0 of level coarse is '.*' in the model but 'zebra' in the data set"):
        evaluate(loaded, recipe=folder_recipe(tmp_path, "zebra"))
    with pytest.raises(DataError, match=r"per level are \(3, 5, 12\) in the model but \(3, 5, 11\) in the data set"):
        evaluate(loaded, recipe=folder_recipe(tmp_path, "", tree_of(loaded.labels)))


def tree_of(labels: LabelSpace) -> str:
    """The same names, without the last fine label."""
    groups: dict[str, dict[str, list[str]]] = {}
    for label in range(labels.num_labels - 1):
        top, middle = labels.ancestors(label)
        below = groups.setdefault(labels.levels[0].label_names[top], {})
        below.setdefault(labels.levels[1].label_names[middle], []).append(labels.label_names[label])
    return json.dumps(groups)


def test_a_labelled_folder_is_measured_whatever_its_splits(loaded: LoadedModel, tmp_path: Path):
    rows = ["image,labels,split"]
    for number in range(4):
        Image.new("RGB", (20, 10 + number), (60 * number, 0, 0)).save(tmp_path / f"é{number}.png")
        rows.append(f"é{number}.png,{loaded.labels.label_names[number]},{['train', 'val', 'test', ''][number]}")
    (tmp_path / "l.csv").write_text("\n".join(rows), encoding="utf-8")
    result = evaluate(loaded, images=tmp_path, labels_file=tmp_path / "l.csv")
    assert (result.split, result.metrics.num_images) == ("images", 4)
    assert result.metrics.thresholds == OWN
    assert [row.positives for row in result.metrics.labels if row.level == "fine"][:5] == [1, 1, 1, 1, 0]
    with pytest.raises(InputError, match="needs their labels"):
        evaluate(loaded, images=tmp_path)
    (tmp_path / "l.csv").write_text("image,labels\né0.png,zebra\n", encoding="utf-8")
    with pytest.raises(DataError, match="not in the label space: zebra"):
        evaluate(loaded, images=tmp_path, labels_file=tmp_path / "l.csv")


def test_ignored_labels_count_nowhere(loaded: LoadedModel, tmp_path: Path):
    names = loaded.labels.num_labels
    drawn = list(open_records(tiny_recipe("data.num_test=6").data, "test"))
    kept = [Record(r.image_id, png(r), r.labels) for r in drawn]
    blurred = [Record(r.image_id, r.image, (), tuple(range(names))) for r in kept[:2]]
    results = []
    for number, records in enumerate((kept[2:], [*blurred, *kept[2:]])):
        store = tmp_path / str(number) / "store"
        write_store(store, loaded.labels, {"test": records}, {}, encode=iter)
        results.append(evaluate(loaded, recipe=tiny_recipe(f"data.store={store}"), thresholds=0.5).metrics)
    assert [result.num_images for result in results] == [4, 6]
    for name in ("mAP", "F1_macro", "F1_micro", "CP", "OR"):
        assert results[0][name] == results[1][name], name
    fine = [[row for row in result.labels if row.level == "fine"] for result in results]
    assert str(fine[0]) == str(fine[1])


def test_the_loss_is_the_mean_over_images_of_what_all_their_labels_cost(loaded: LoadedModel):
    """However they are parted into batches."""
    generator = torch.Generator().manual_seed(0)
    labels = LabelSpace.flat(["a", "b"])
    targets = torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0], [1, 0]])
    images, ignore = torch.rand(5, 3, 4, 4, generator=generator), torch.zeros(5, 2, dtype=torch.bool)
    ignore[1, 0] = True
    network = FlatNetwork(2).eval()
    parts = [torch.arange(3), torch.arange(3, 5)]
    loader = DataLoader(
        [LabelBatch(images[rows], targets[rows], ignore[rows], rows, None) for rows in parts],  # type: ignore[arg-type]
        batch_size=None,
    )
    scored = score_split(
        [network], loader, lambda batch: batch, find_processes(cpu=True), labels, num_rows=5, criterion=Bce().build()
    )
    costs = nn.functional.binary_cross_entropy_with_logits(network(images).logits, targets, reduction="none")
    assert scored.models[0].loss == pytest.approx(float(costs.detach().masked_fill(ignore, 0).sum()) / 5, rel=1e-6)
    assert scored.models[0].levels[0].shape == (5, 2)


def png(record: Record) -> bytes:
    import io

    buffer = io.BytesIO()
    record.image.draw().save(buffer, "PNG")  # type: ignore[union-attr]
    return buffer.getvalue()


class FlatOutput(NamedTuple):
    logits: Tensor


class FlatNetwork(nn.Module):
    """Scores fine labels only, by the mean colours."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, num_labels)

    def forward(self, images: Tensor) -> FlatOutput:
        return FlatOutput(self.linear(images.mean(dim=(2, 3))))


def test_a_network_of_fine_labels_gets_scores_for_the_levels_above(loaded: LoadedModel, tmp_path: Path):
    torch.manual_seed(0)
    flat = loaded._replace(model=FlatNetwork(loaded.labels.num_labels))
    result = evaluate(flat, split="test", thresholds=0.5)
    coarse, middle, fine = result.scores.levels
    assert [level.shape[1] for level in (coarse, middle, fine)] == list(loaded.labels.level_sizes)
    parents = np.array(loaded.labels.parents[1])
    for label in range(middle.shape[1]):
        np.testing.assert_array_equal(middle[:, label], fine[:, parents == label].max(axis=1))
    assert "coarse/mAP" in result.metrics
    Image.new("RGB", (5, 5), "blue").save(tmp_path / "a.png")
    prediction = Predictor(flat, thresholds=[0.01] * 3).predict([tmp_path / "a.png"])[0]
    assert {row.level for row in prediction.labels} == {"coarse", "middle", "fine"}


def test_split_predictions_use_the_measured_thresholds(loaded: LoadedModel):
    result: Evaluation = evaluate(loaded, split="val", thresholds=0.5)
    rows = list(split_predictions(result, loaded.labels))
    assert [row.image for row in rows] == [f"shapes-val-{row:06d}" for row in range(21)]
    for row, scores in zip(rows, result.scores.levels[-1], strict=True):
        listed = {label.name for label in row.labels if label.level == "fine"}
        assert listed == {name for name, score in zip(loaded.labels.label_names, scores, strict=True) if score > 0.5}


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_batch_size_changes_no_score(loaded: LoadedModel, batch_size: int):
    whole = evaluate(loaded, split="test", thresholds=0.5)
    other = evaluate(loaded, split="test", thresholds=0.5, batch_size=batch_size)
    np.testing.assert_allclose(other.scores.levels[-1], whole.scores.levels[-1], atol=1e-6)


def test_splits_without_images_are_refused(loaded: LoadedModel):
    with pytest.raises(DataError, match="shapes has no split 'dev'"):
        evaluate(loaded, split="dev")
    nothing = with_settings(loaded, "data.num_test=1", "data.skip=[shapes-test-000000]")
    with pytest.raises(DataError, match="Split 'test' of shapes has no image"):
        evaluate(nothing, split="test")


def test_one_image_is_enough(loaded: LoadedModel):
    result = evaluate(with_settings(loaded, "data.num_test=1"), split="test", thresholds="self")
    assert result.metrics.num_images == 1
    assert "1 image;" in str(result.metrics)


@pytest.mark.parametrize("method", ["hleg", "linear"])  # a head for every level, and one for the finest alone
def test_scores_that_are_no_numbers_are_an_error_of_the_model(method: str):
    loaded = tiny_label_model(method, "data.num_test=5")
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(CheckpointError, match="The model: the scores of 5 of 5 images are not finite"):
        evaluate(loaded, split="test")
