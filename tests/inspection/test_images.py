"""Images that are damaged or odd are named, by any number of processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspected import found, reencoded, scene, write_folder
from PIL import Image

from hlcli.inspection.data import debug_data
from hlcli.recipe import Recipe


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A truncated JPEG file, a web page, an empty file, an icon, a banner and a grey picture beside two scenes."""
    photos = tmp_path / "photos"
    photos.mkdir()
    scene(50).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(data[: len(data) // 2])
    (photos / "page.jpg").write_text("<html>404</html>")
    (photos / "empty.png").write_bytes(b"")
    scene(51, 24).save(photos / "icon.png")
    scene(52).resize((400, 60)).save(photos / "banner.png")
    scene(53).convert("L").save(photos / "grey.png")
    return tmp_path


ROWS = {"a.png": "cat,train", "cut.jpg": "cat,train", "page.jpg": "dog,train", "empty.png": "dog,val",
        "icon.png": "dog,train", "banner.png": "cat,val", "grey.png": "cat,train", "b.png": "dog,val"}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_damaged_and_odd_images_are_named(damaged: Path, workers: int):
    inspection = debug_data(write_folder(damaged, ROWS), workers=workers)
    broken = [finding for finding in inspection.findings if "cannot be decoded" in finding.what]
    assert [(finding.level, finding.splits) for finding in broken] == [("error", ("train",)), ("error", ("val",))]
    cut, page = broken[0].where
    assert cut.startswith("train cut.jpg: ")
    assert "truncated" in cut
    assert page == "train page.jpg: it is a web page, not an image."
    assert broken[1].where == ("val empty.png: it is empty (0 bytes).",)
    assert found(inspection, "images", "below 32 pixels").where == ("train icon.png (24×24)",)
    assert found(inspection, "images", "5 times").where == ("val banner.png (400×60)",)
    assert found(inspection, "images", "not stored as RGB (L)").where == ("train grey.png (160×160)",)
    text = "5 images decoded: smallest 24×24, median 160×160, largest 160×160 pixels; 4 RGB, 1 L."
    assert found(inspection, "images", "decoded: smallest").what == text


def test_without_images_none_is_opened(damaged: Path):
    inspection = debug_data(write_folder(damaged, ROWS), images=False)
    assert {finding.about for finding in inspection.findings} == {"labels"}


def test_a_sample_is_drawn_by_its_seed(damaged: Path):
    data = write_folder(damaged, ROWS)
    texts = [str(debug_data(data, sample=3, seed=seed, workers=1).findings) for seed in (0, 0, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1
    assert debug_data(data, sample=100, workers=1) == debug_data(data, workers=1)


def test_all_images_undecodable_is_a_finding_too(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("none")
    inspection = debug_data(write_folder(tmp_path, {"a.png": "x,train"}), workers=1)
    assert found(inspection, "images", "cannot be decoded").where[0].startswith("train a.png: it is not an image")


def test_copies_across_splits_are_errors_and_within_a_split_warnings(tmp_path: Path):
    names = [f"{number}.png" for number in range(6)]
    rows = {name: f"{'cat' if number % 2 else 'dog'},{'val' if number > 3 else 'train'}"
            for number, name in enumerate(names)}  # fmt: skip
    write_folder(tmp_path, rows)
    reencoded(scene(1)).save(tmp_path / "photos" / "leak.jpg")
    reencoded(scene(2)).save(tmp_path / "photos" / "again.jpg")
    inspection = debug_data(write_folder(tmp_path, {**rows, "leak.jpg": "cat,val", "again.jpg": "cat,train"}))
    leak = found(inspection, "duplicates", "more than one split")
    assert (leak.level, leak.splits, leak.where) == ("error", ("train", "val"), ("train 1.png = val leak.jpg",))
    copies = found(inspection, "duplicates", "several times in one split")
    assert (copies.level, copies.splits, copies.where) == ("warning", ("train",), ("train 2.png = train again.jpg",))
    other = found(inspection, "duplicates", "different labels")
    assert other.where == copies.where


@pytest.mark.parametrize(("side", "level"), [(128, None), (200, "warning")])
def test_a_recipe_that_enlarges_its_photos_is_told(tmp_path: Path, side: int, level: str | None):
    data = write_folder(tmp_path, {"a.png": "cat,train", "b.png": "dog,val"})
    tree = {"data": {**data.model_dump(mode="json"), "image_size": side}, "model": {"method": "linear"}}
    inspection = debug_data(Recipe.from_dict(tree), workers=1)
    levels = [finding.level for finding in inspection.findings if "data.image_size" in finding.what]
    assert levels == ([level] if level else [])


def test_a_transparent_picture_is_decoded(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    Image.new("RGBA", (64, 64), (255, 0, 0, 90)).save(tmp_path / "photos" / "a.png")
    inspection = debug_data(write_folder(tmp_path, {"a.png": "x,train"}), workers=1)
    assert found(inspection, "images", "not stored as RGB (RGBA)").level == "note"
