"""What captioners see of photos: features of files, or computed as those they were trained on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_captioner import captioner_recipe, write_captioner

import hlcli
from hlcli.errors import InputError
from hlcli.evaluation.captions import evaluate_captions
from hlcli.features.embedding import embed_images
from hlcli.features.extractors import FeatureOptions
from hlcli.features.reading import FeatureFile, FeatureWriter
from hlcli.models.folder import read_model
from hlcli.prediction.caption_inputs import FeatureSources
from hlcli.prediction.caption_parts import Photo, StoredFeatures, fill_slots
from hlcli.prediction.captions import CaptionPredictor, caption
from hlcli.prediction.result_files import partial_file
from hlcli.tasks.captions import feature_facts

from .captioned_photos import BACKBONE, given_model, given_photos  # noqa: F401

# Models that read stored features.


@pytest.fixture(scope="module")
def stored(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Feature files of the photos: grid, and windows of it."""
    folder = tmp_path_factory.mktemp("features")
    for kind in ("grid", "region"):
        options = FeatureOptions(kind=kind, backbone=BACKBONE, pretrained=False, image_size=64)
        embed_images(photos, options, out=folder / f"{kind}.hdf5", workers=0)
    return {kind: folder / f"{kind}.hdf5" for kind in ("grid", "region")}


@pytest.fixture(scope="module")
def reader(stored: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on such features."""
    return feature_reader(tmp_path_factory.mktemp("reader") / "m", stored, known=True)


def feature_reader(folder: Path, stored: dict[str, Path], *overrides: str, known: bool) -> Path:
    files = [f"data.{kind}_features={path}" for kind, path in stored.items()]
    data = captioner_recipe(*files).data
    facts = feature_facts(data) if known else dict.fromkeys(stored)
    return write_captioner(folder, *files, *overrides, features=facts)


def test_features_of_photos_are_those_that_files_hold(reader: Path, stored: dict[str, Path], photos: Path):
    places = [photos / name for name in ("a.jpg", "c.png", "deeper/d.webp", "h.jpg")]
    loaded = read_model(reader)
    computing = CaptionPredictor(loaded)
    assert len(computing.inputs.loads) == 1  # windows are pooled from the grid, and the backbone runs once
    reading = CaptionPredictor(loaded, features=FeatureSources(stored["grid"], stored["region"]))
    computed, read = computing.caption(places), reading.caption(places)
    for one, other in zip(computed, read, strict=True):
        assert (one.image, one.caption) == (other.image, other.caption)
        assert one.log_prob == pytest.approx(other.log_prob, abs=2e-3)
    regions = CaptionPredictor(loaded, features=FeatureSources(regions=stored["region"])).caption(places)
    assert [row.caption for row in regions] == [row.caption for row in read]


def test_photos_without_stored_features_are_listed(reader: Path, stored: dict[str, Path], photos: Path, tmp_path: Path):
    Image.open(photos / "a.jpg").save(tmp_path / "new.png")
    features = FeatureSources(stored["grid"], stored["region"])
    found = hlcli.caption(reader, [photos / "a.jpg", tmp_path / "new.png"], features=features)
    assert [row.image for row in found.captions] == [str(photos / "a.jpg")]
    assert "has no features of image" in found.failures[0].error


def test_photos_that_a_file_cannot_tell_apart_are_refused(tmp_path: Path):
    path = tmp_path / "grid.hdf5"
    with FeatureWriter(path) as writer:
        for image_id in ("1", "a/2.jpg", "2", "42", "x.y"):
            writer.write(image_id, {"features": np.ones((4, 3), dtype=np.float32)})
    stored = StoredFeatures(FeatureFile(path))
    stored.check(["a/1.jpg", "a/2.jpg", "b/2.jpg", "a/1.jpg", "b/3.jpg", "c/3.jpg"])
    for names in (
        ["a/1.jpg", "b/1.jpg"],
        ["a/1.jpg", "a/1.png"],
        ["b/2.jpg", "2"],
        ["COCO_val2014_000000000042.jpg", "z/0042.png"],
        ["x.y", "x.y.png"],
    ):
        with pytest.raises(InputError, match=re.escape(f"knows {names[0]} and {names[1]} by the same name")):
            stored.check(names)


def test_photos_of_the_same_name_are_refused_before_any_work(
    reader: Path, stored: dict[str, Path], photos: Path, tmp_path: Path
):
    places = [photos / "a.jpg", tmp_path / "a.jpg"]
    Image.open(places[0]).save(places[1])
    predictor = CaptionPredictor(read_model(reader), features=FeatureSources(stored["grid"], stored["region"]))
    with pytest.raises(InputError, match="by the same name"):
        predictor.caption(places)
    with pytest.raises(InputError, match="by the same name"):
        caption(predictor, places, out=tmp_path / "o.jsonl")
    assert not partial_file(tmp_path / "o.jsonl").exists()
    assert len(predictor.caption([places[0], places[0]])) == 2


def test_features_that_nobody_can_compute_are_asked_for(stored: dict[str, Path], photos: Path, tmp_path: Path):
    loaded = read_model(feature_reader(tmp_path / "m", stored, known=False))
    with pytest.raises(InputError, match=rf"{BACKBONE} with random weights.*--backbone-weights"):
        CaptionPredictor(loaded)
    with pytest.raises(InputError, match=r"region features.*--region-features"):
        CaptionPredictor(loaded, features=FeatureSources(grid=stored["grid"]))
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), weights)
    with pytest.raises(InputError, match="gives grid features of width"):  # its stage 3 is narrower than the files
        CaptionPredictor(loaded, features=FeatureSources(regions=stored["region"], backbone_weights=weights))
    whole = read_model(feature_reader(tmp_path / "n", stored, "backbone.stage=null", known=False))
    predictor = CaptionPredictor(whole, features=FeatureSources(regions=stored["region"], backbone_weights=weights))
    assert predictor.caption([photos / "a.jpg"])[0].caption


def test_features_by_other_weights_are_refused(stored: dict[str, Path], tmp_path: Path):
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), weights)
    data = captioner_recipe(*(f"data.{kind}_features={path}" for kind, path in stored.items())).data
    facts = {kind: {**(known or {}), "weights": "sha256:0"} for kind, known in feature_facts(data).items()}
    files = [f"data.{kind}_features={path}" for kind, path in stored.items()]
    loaded = read_model(write_captioner(tmp_path / "m", *files, features=facts))
    with pytest.raises(InputError, match=r"not be those the model was trained on: weights is sha256:"):
        CaptionPredictor(loaded, features=FeatureSources(backbone_weights=weights))


def test_files_that_have_no_use_are_refused(model: Path, stored: dict[str, Path]):
    for features, option in (
        (FeatureSources(grid=stored["grid"]), "--grid-features"),
        (FeatureSources(regions=stored["region"]), "--region-features"),
        (FeatureSources(backbone_weights=stored["grid"]), "--backbone-weights"),
    ):
        with pytest.raises(InputError, match=f"{option} .* has no use"):
            CaptionPredictor(read_model(model), features=features)


def test_files_of_another_width_are_refused(reader: Path, stored: dict[str, Path], tmp_path: Path, photos: Path):
    options = FeatureOptions(kind="grid", backbone="test_vit", pretrained=False, image_size=32)
    embed_images(photos, options, out=tmp_path / "narrow.hdf5", workers=0)
    with pytest.raises(InputError, match="of width 64, but the model reads"):
        CaptionPredictor(read_model(reader), features=FeatureSources(tmp_path / "narrow.hdf5", stored["region"]))


def test_training_keeps_what_made_its_features(tmp_path: Path, photos: Path):
    data = captioner_recipe().data
    paths = {}
    for kind in ("grid", "region"):
        paths[kind] = tmp_path / f"{kind}.hdf5"
        options = FeatureOptions(kind=kind, backbone=BACKBONE, pretrained=False, image_size=64)
        embed_images(data, options, out=paths[kind], workers=0)
    settings = [f"data.{kind}_features={path}" for kind, path in paths.items()]
    recipe = captioner_recipe(*settings, "train.epochs=1", "data.min_word_count=1")
    run = hlcli.train(recipe, tmp_path / "run").folder
    loaded = read_model(run)
    assert loaded.facts["features"] == {kind: FeatureFile(path, kind).facts for kind, path in paths.items()}
    split = evaluate_captions(CaptionPredictor(loaded, features=FeatureSources(of_data=True)), "val")
    assert split.metrics is not None
    assert split.metrics.num_images == 5
    for path in paths.values():
        path.unlink()
    assert len(hlcli.caption(run, [photos]).captions) == 8


def test_a_photo_is_looked_for_by_less_and_less_of_its_path():
    assert list(Photo("x/y/COCO_1.jpg", b"").ids()) == ["x/y/COCO_1.jpg", "y/COCO_1.jpg", "COCO_1.jpg", "COCO_1"]


def test_regions_fill_slots_and_the_rest_is_padding():
    found = fill_slots([torch.ones(2, 3), torch.ones(5, 3), torch.zeros(0, 3)], 4, torch.device("cpu"))
    assert found["region_features"].shape == (3, 4, 3)
    assert found["padding_mask"].tolist() == [[False, False, True, True], [False] * 4, [True] * 4]
