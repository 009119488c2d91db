"""`visualize embeddings`: one vector per image and label, who is nearest to whom, for models of every method."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_photos import write_photos
from PIL import Image
from tiny_captioner import write_captioner
from tiny_label_models import LABEL_METHODS, save_tiny_label_model, tiny_label_model

import hlcli
from hlcli.embeddings.neighbours import nearest_neighbours
from hlcli.errors import InputError
from hlcli.figures import embeddings
from hlcli.figures.embeddings import colour_labels
from hlcli.figures.image_vectors import ImageVectors, image_vectors, pool
from hlcli.figures.images import Item, named_images
from hlcli.methods.linear.config import Linear
from hlcli.prediction.labels import Predictor

FIGURES = ["embeddings-images.png", "embeddings-neighbours.png", "embeddings-labels.png", "neighbours.csv"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_label_model(
        tmp_path_factory.mktemp("models") / "m", "linear", "data.num_train=8", "data.num_val=8", "data.num_test=14"
    )


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", LABEL_METHODS)
def test_every_method_has_vectors_of_images_and_labels(method: str, tmp_path: Path):
    loaded = tiny_label_model(method)
    predictor = Predictor(loaded)
    failures: list = []
    places = sorted(write_photos(tmp_path / "photos", 4).iterdir())
    found = image_vectors(predictor, named_images(places), failures)
    assert failures == []
    assert found.numbers == [0, 1, 2, 3]
    assert np.isfinite(found.vectors).all()
    assert found.vectors.std(axis=0).max() > 0
    with torch.inference_mode():
        images = torch.stack([predictor.transform(Image.open(place)) for place in places])
        encoder = loaded.recipe.model.image_encoder(loaded.model)
        by_hand = encoder(predictor.normalize(images))
        vectors = loaded.recipe.model.label_vectors(loaded.model)
    by_hand = by_hand.mean(dim=1) if by_hand.ndim == 3 else by_hand
    np.testing.assert_allclose(found.vectors, by_hand.numpy(), rtol=1e-4, atol=1e-5)
    for level, prediction in enumerate(zip(*(p.levels for p in predictor.predict(places)), strict=True)):
        np.testing.assert_allclose(found.scores[level], prediction, atol=1e-5)
    assert vectors is not None
    assert vectors.ndim == 2
    assert len(vectors) == loaded.labels.num_labels


def test_a_class_token_is_no_part_of_the_mean():
    features = torch.arange(24.0).reshape(2, 4, 3)
    torch.testing.assert_close(pool(features, 1), features[:, 1:].mean(dim=1))
    torch.testing.assert_close(pool(features[:, 0]), features[:, 0])


def test_figures_and_a_table_of_a_split(model: Path, tmp_path: Path):
    drawn = hlcli.visualize("embeddings", model, out=tmp_path, top_k=3)
    assert [path.name for path in drawn.files] == FIGURES
    for path in drawn.files[:3]:
        with Image.open(path) as image:
            assert min(image.size) > 500
    rows = read_rows(tmp_path / "neighbours.csv")
    labels = hlcli.load(model).labels
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * (14 + labels.num_labels)
    weight = tiny_weights(model)
    near = nearest_neighbours(weight, 3)
    names = [labels.label_names[other] for others in near.numbers.tolist() for other in others]
    assert [row["neighbour"] for row in rows if row["kind"] == "label"] == names
    cosines = [float(row["cosine"]) for row in rows if row["kind"] == "label"]
    np.testing.assert_allclose(cosines, near.cosine.ravel(), atol=1e-6)
    images = [row for row in rows if row["kind"] == "image"]
    assert [row["name"] for row in images][::3] == [f"shapes-test-{i:06}" for i in range(14)]
    assert all(row["name"] != row["neighbour"] for row in images)
    first = (tmp_path / "neighbours.csv").read_bytes(), (tmp_path / "embeddings-images.png").read_bytes()
    hlcli.visualize("embeddings", model, out=tmp_path, top_k=3)
    assert ((tmp_path / "neighbours.csv").read_bytes(), (tmp_path / "embeddings-images.png").read_bytes()) == first


def test_neighbours_stand_in_the_order_of_the_table_above_their_true_labels(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list = []
    plain = embeddings.neighbours_figure
    monkeypatch.setattr(embeddings, "neighbours_figure", lambda *given: drawn.append(given[2]) or plain(*given))
    hlcli.visualize("embeddings", model, out=tmp_path, top_k=3)
    loaded = hlcli.open_model(model)
    records, names = loaded.recipe.data.records("test"), loaded.labels.label_names
    truth = {
        records[row].image_id: ", ".join(names[label] for label in records[row].labels) for row in range(len(records))
    }
    table = [row for row in read_rows(tmp_path / "neighbours.csv") if row["kind"] == "image"]
    for query, *others in drawn[0]:
        own = [row for row in table if row["name"] == query.name]
        assert [other.name for other in others] == [row["neighbour"] for row in own]
        lines = [f"{float(row['cosine']):.2f} · {truth[row['neighbour']]}" for row in own]
        assert [query.line, *(other.line for other in others)] == [truth[query.name], *lines]


def tiny_weights(model: Path) -> np.ndarray:
    return hlcli.load(model).model.head.weight.detach().numpy()


def test_photos_of_a_folder_and_those_that_fail(model: Path, tmp_path: Path):
    folder = write_photos(tmp_path / "photos", 5)
    (folder / "0-broken.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "out"
    drawn = hlcli.visualize(
        "embeddings", model, images=[folder], out=out, projection="pca", level="fine", file_format="svg"
    )
    assert [path.name for path in drawn.files] == [name.replace("png", "svg") for name in FIGURES]
    svg = drawn.files[0].read_text()
    assert "5 images: the model sees neighbours as alike" in svg
    assert "the fine label with the highest score" in svg
    assert "first component" in svg
    assert "Below the name: the label with the highest score." in drawn.files[1].read_text()
    assert [Path(failure.image).name for failure in drawn.failures] == ["0-broken.jpg"]
    listed = (out / "embeddings.failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in listed] == [failure.to_json() for failure in drawn.failures]
    assert len(read_rows(out / "neighbours.csv")) == 5 * 4 + 12 * 5  # no more neighbours than there are others


def test_where_nothing_can_be_drawn_nothing_of_an_earlier_call_stays(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, folder = tmp_path / "out", write_photos(tmp_path / "photos", 2)
    hlcli.visualize("embeddings", model, images=[folder], out=out)
    for photo in folder.iterdir():
        photo.write_bytes(b"")
    drawn = hlcli.visualize("embeddings", model, images=[folder], out=out)
    assert [path.name for path in drawn.files] == ["embeddings-labels.png", "neighbours.csv"]
    assert {row["kind"] for row in read_rows(out / "neighbours.csv")} == {"label"}
    monkeypatch.setattr(Linear, "label_vectors", lambda *_: None)
    drawn = hlcli.visualize("embeddings", model, images=[folder], out=out)
    assert (drawn.files, len(drawn.failures)) == ([], 2)
    assert [path.name for path in out.iterdir()] == ["embeddings.failures.jsonl"]


def test_one_colour_is_named(model: Path, tmp_path: Path):
    photo = write_photos(tmp_path / "photos", 1) / "0.png"
    (photo.parent / "copy.png").write_bytes(photo.read_bytes())
    drawn = hlcli.visualize("embeddings", model, images=[photo.parent], out=tmp_path, level="fine", file_format="svg")
    best = hlcli.load(model).predict([photo])[0].top(1)[0][0]
    assert f"with the highest score; here always {best}" in drawn.files[0].read_text()


def test_where_one_image_is_left_labels_alone_are_drawn(model: Path, tmp_path: Path):
    folder = write_photos(tmp_path / "photos", 1)
    (folder / "broken.jpg").write_bytes(b"")
    drawn = hlcli.visualize("embeddings", model, images=[folder], out=tmp_path / "out", projection="pca")
    assert [path.name for path in drawn.files] == FIGURES[2:]
    assert len(drawn.failures) == 1
    with pytest.raises(InputError, match="One image has no neighbours"):
        hlcli.visualize("embeddings", model, images=[folder / "0.png"], out=tmp_path / "out")


@pytest.mark.parametrize("part", [0, -1], ids=["features", "scores"])
def test_images_whose_features_are_no_numbers_are_listed(tmp_path: Path, part: int):
    loaded = tiny_label_model("linear")
    with torch.no_grad():
        list(loaded.model.parameters())[part].fill_(float("nan"))
    failures: list = []
    found = image_vectors(Predictor(loaded), named_images([write_photos(tmp_path / "photos", 2)]), failures)
    assert found.numbers == []
    assert ["features are not finite" in failure.error for failure in failures] == [True, True]


def test_an_image_is_coloured_by_its_best_true_label():
    labels = tiny_label_model("linear").labels
    scores = np.linspace(0, 1, 12, dtype=np.float32)
    items = [Item("a", b"", (0, 2)), Item("b", b"", ()), Item("c", b"")]
    found = ImageVectors(
        [0, 1, 2], items, np.zeros((3, 2)), (np.zeros((3, 3)), np.zeros((3, 5)), np.tile(scores, (3, 1)))
    )
    assert colour_labels(found, labels, 2) == [2, None, 11]
    assert colour_labels(found, labels, 0) == [0, None, 0]


def test_a_captioner_is_refused_with_what_it_is_good_for(tmp_path: Path):
    with pytest.raises(InputError, match="makes captions; a model that makes labels is needed") as caught:
        hlcli.visualize("embeddings", write_captioner(tmp_path / "m"), out=tmp_path / "out")
    assert "hlcli visualize captions" in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()
