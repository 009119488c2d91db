"""Object masks: decoded like pycocotools, resized like torch (as OpenCV does), and refused when they are damaged."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from intentonomy_files import ROWS, image_id, write_annotations, write_photos
from pycocotools import mask as coco

from hlcli.data.datasets.intentonomy import Intentonomy, IntentonomyOptions
from hlcli.data.datasets.intentonomy_masks import read_object_masks, unpack_counts
from hlcli.data.loader import LabelItem, TrainingImages
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_records
from hlcli.data.transforms import TrainTransform
from hlcli.errors import DataError, InputError

ID = image_id("train", 0)


def packed(pixels: np.ndarray) -> dict[str, Any]:
    """COCO's packed code of a mask [h, w]."""
    code = coco.encode(np.asfortranarray(pixels, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}


def listed(pixels: np.ndarray) -> dict[str, Any]:
    """The same as a list of runs, found one pixel at a time."""
    runs, current = [0], 0
    for pixel in pixels.ravel(order="F"):
        if pixel != current:
            runs.append(0)
            current = pixel
        runs[-1] += 1
    return {"size": list(pixels.shape), "counts": runs}


def packed_runs(runs: list[int]) -> str:
    """COCO's text of runs: the differences to the run two before, five bits a character, the sixth says "goes on"."""
    text = ""
    for position, run in enumerate(runs):
        number = run - runs[position - 2] if position > 2 else run
        while True:
            number, bits = number >> 5, number & 31
            ended = number == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if ended else bits | 32))
            if ended:
                break
    return text


def write_masks(path: Path, entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps(entries, indent=1))
    return path


def read_one(path: Path, entry: Any, grid: int = 7) -> torch.Tensor:
    write_masks(path, {f"low/{ID}.jpg": entry})
    return torch.tensor(read_object_masks(path, [ID], grid)[ID]).reshape(grid, grid)


def resized(pixels: np.ndarray, grid: int) -> torch.Tensor:
    dense = torch.from_numpy(pixels.astype(np.float64))[None, None]
    return torch.nn.functional.interpolate(
        dense, size=(grid, grid), mode="bilinear", align_corners=False, antialias=False
    )[0, 0].float()


def blobs(seed: int, height: int, width: int, number: int) -> np.ndarray:
    """Rectangles and single pixels: [number, height, width] bool."""
    rng = np.random.default_rng(seed)
    pixels = rng.random((number, height, width)) < 0.02
    for one in pixels:
        top, left = rng.integers(0, height), rng.integers(0, width)
        one[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = True
    return pixels


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    number=st.integers(1, 4),
    grid=st.integers(1, 16),
    form=st.sampled_from([packed, listed]),
)
def test_masks_are_the_resized_union_of_all_objects(tmp_path_factory, seed, height, width, number, grid, form):
    pixels = blobs(seed, height, width, number)
    entry = {"scores": [0.9] * number, "masks": [form(one) for one in pixels], "image_shape": [height, width]}
    path = tmp_path_factory.getbasetemp() / "masks.json"
    torch.testing.assert_close(read_one(path, entry, grid), resized(pixels.any(axis=0), grid), rtol=0, atol=2e-6)


@given(st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=12))
def test_packed_runs_are_the_ones_that_were_packed(runs):
    """Longer runs are left to the next test: pycocotools keeps five characters for each, and writes past the end."""
    height = sum(runs)
    text = coco.frPyObjects({"size": [height, 1], "counts": runs}, height, 1)["counts"].decode()
    assert text == packed_runs(runs)
    assert unpack_counts(text).tolist() == runs


@given(st.lists(st.integers(0, 2**34 - 1), min_size=1, max_size=12))
def test_long_runs_are_unpacked_too(runs):
    assert unpack_counts(packed_runs(runs)).tolist() == runs


@given(st.text(max_size=20))
def test_any_text_is_unpacked_or_refused(text):
    numbers = unpack_counts(text)
    assert numbers is None or len(numbers) <= len(text)


def test_only_sure_objects_count(tmp_path):
    whole, nothing = np.ones((6, 5)), np.zeros((6, 5))
    entry = {"scores": [0.6, 0.1], "masks": [packed(whole), packed(whole)]}
    assert not read_one(tmp_path / "m.json", entry).any()
    entry = {"scores": [0.601, 0.1], "masks": [packed(whole), packed(nothing)]}
    assert read_one(tmp_path / "m.json", entry).eq(1).all()


@pytest.mark.parametrize("masks", [[], None])
def test_a_photo_without_objects_has_an_empty_mask(tmp_path, masks):
    assert read_one(tmp_path / "m.json", {"scores": [], "masks": masks, "image_shape": [4, 5]}).eq(0).all()


def test_masks_need_not_be_a_list_of_objects(tmp_path):
    first, second = blobs(3, 20, 30, 2)
    expected = read_one(tmp_path / "m.json", {"scores": [1, 1], "masks": [packed(first), packed(second)]})
    for form in (packed, listed):
        alone = {"scores": [1], "masks": form(first)}
        assert read_one(tmp_path / "m.json", alone).allclose(resized(first, 7))
        together = {"size": [20, 30], "counts": [form(first)["counts"], form(second)["counts"]]}
        assert torch.equal(read_one(tmp_path / "m.json", {"scores": [1, 1], "masks": together}), expected)


GOOD = packed(np.eye(4, 5))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], r"must have a list `scores` and `masks`"),
        ({"masks": []}, r"must have a list `scores` and `masks`"),
        ({"scores": ["high"], "masks": [GOOD]}, r"scores must be numbers"),
        ({"scores": [1.0], "masks": []}, r"has 1 scores but 0 masks"),
        ({"scores": [1.0], "masks": ["x"]}, r"masks\[0\]\.size must be height and width in pixels \(got None\)"),
        ({"scores": [1.0], "masks": [{**GOOD, "size": [0, 20]}]}, r"masks\[0\]\.size must be height and width"),
        ({"scores": [1.0], "masks": [{**GOOD, "size": [4, 10**9]}]}, r"masks\[0\]\.size must be height and width"),
        ({"scores": [0, 1], "masks": [GOOD, {**GOOD, "counts": "0é"}]}, r"masks\[1\]\.counts are neither"),
        ({"scores": [1.0], "masks": [{**GOOD, "counts": ""}]}, r"masks\[0\]\.counts are neither"),
        ({"scores": [1.0], "masks": [{**GOOD, "counts": "P"}]}, r"masks\[0\]\.counts are neither"),
        ({"scores": [1.0], "masks": [{**GOOD, "counts": "O"}]}, r"masks\[0\]\.counts are neither"),
        ({"scores": [1.0], "masks": [{**GOOD, "counts": "PPPPPPPPPP1"}]}, r"masks\[0\]\.counts are neither"),
        ({"scores": [1.0], "masks": [{**GOOD, "counts": [-1, 21]}]}, r"masks\[0\]\.counts are neither"),
        ({"scores": [1.0], "masks": [{**GOOD, "counts": GOOD["counts"][:3]}]}, r"its runs fill 5 of 4 × 5 pixels"),
        ({"scores": [1.0], "masks": [{**GOOD, "counts": [3, 18]}]}, r"its runs fill 21 of 4 × 5 pixels"),
        (
            {"scores": [1.0, 1.0], "masks": [GOOD, packed(np.eye(5, 4))]},
            r"have different sizes: \(4, 5\), \(5, 4\)",
        ),
    ],
)
def test_a_damaged_entry_is_named(tmp_path, entry, message):
    with pytest.raises(DataError, match=rf"m\.json: low/{ID}\.jpg\S* ?.*{message}"):
        read_one(tmp_path / "m.json", entry)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a"', '{"a": 1', '{"a": 1 "b": 2}', "{1: 2}", '{"a": nope}', "[" * 10**5]
)
def test_a_file_that_is_cut_short_or_no_object_is_named(tmp_path, text):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"m\.json is not JSON: .* at character \d"):
        read_object_masks(path, [ID])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"m\.json is missing.*--masks"):
        read_object_masks(tmp_path / "m.json", [ID])
    (tmp_path / "m.json").write_bytes(b'{"\xff": 1}')
    with pytest.raises(DataError, match=r"m\.json cannot be read"):
        read_object_masks(tmp_path / "m.json", [ID])
    (tmp_path / "m.json").write_text(f'{{"low/{ID}.jpg": {"[" * 10**5}')
    with pytest.raises(DataError, match=r"m\.json cannot be read"):
        read_object_masks(tmp_path / "m.json", [ID])


def test_photos_that_nobody_asked_for_are_passed_over(tmp_path):
    path = write_masks(tmp_path / "m.json", {"low/x.jpg": "no entry", f"low/{ID}.jpg": {"scores": [], "masks": []}})
    assert read_object_masks(path, [ID], 2) == {ID: (0.0,) * 4}
    path.write_text("{ }")
    assert read_object_masks(path, [ID]) == {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_annotations(tmp_path)
    write_photos(tmp_path)
    return tmp_path


def masks_of_all(folder: Path, without: tuple[str, ...] = ()) -> Path:
    """Every photo's left half is object."""
    pixels = np.zeros((16, 24))
    pixels[:, :12] = 1
    ids = [image_id(split, position) for split, rows in ROWS.items() for position in range(len(rows))]
    entry = {"scores": [0.9, 0.2], "masks": [packed(pixels), packed(np.ones((16, 24)))], "image_shape": [16, 24]}
    return write_masks(folder / "coco_maskrcnn.json", {f"low/{i}.jpg": entry for i in ids if i not in without})


def prepare(folder: Path, **options: Any):
    return Intentonomy(root=folder).prepare(folder, IntentonomyOptions(allow_partial=True, **options))


def test_masks_reach_the_store_and_change_nothing_else(folder):
    plain = prepare(folder)
    section = Intentonomy(store=folder / "store")
    options = {"allow_partial": True, "masks": masks_of_all(folder), "mask_grid": 4}
    made = preprocess(section, source=folder, options=options, image_size=12)
    assert made.meta["notes"]["missing_masks"] == {"train": [], "val": [], "test": []}
    assert "coco_maskrcnn.json" in made.meta["notes"]["sources"]
    stored = open_records(section, "train")
    assert [record.object_mask for record in stored] == [(1.0, 1.0, 0.0, 0.0) * 4] * 4
    assert [(r.image_id, r.labels) for r in stored] == [(r.image_id, r.labels) for r in plain.splits["train"]]
    assert all(record.object_mask == () for records in plain.splits.values() for record in records)


def test_a_photo_without_mask_counts_as_empty_up_to_a_share(folder, caplog):
    gone = (image_id("train", 2), image_id("val", 0), image_id("val", 1))
    masks = masks_of_all(folder, without=gone)
    with pytest.raises(DataError, match=rf"has no masks for 1 of 4 train photos: {gone[0]}\..*--max-missing"):
        prepare(folder, masks=masks)
    prepared = prepare(folder, masks=masks, max_missing=0.25)
    assert prepared.notes["missing_masks"] == {"train": [gone[0]], "val": list(gone[1:]), "test": []}
    assert [sum(record.object_mask) > 0 for record in prepared.splits["train"]] == [True, True, False, True]
    assert prepared.splits["val"][0].object_mask == (0.0,) * 49
    assert "2 of 2 val photos" in caplog.text


def test_a_grid_has_at_least_one_cell(folder):
    section = Intentonomy(store=folder / "store")
    with pytest.raises(InputError, match=r"options\.mask_grid: must be at least 1 \(got 0\)"):
        preprocess(section, source=folder, options={"masks": masks_of_all(folder), "mask_grid": 0})


def test_masks_are_mirrored_with_their_photos(folder):
    prepared = prepare(folder, masks=masks_of_all(folder), mask_grid=2)
    records = prepared.splits["train"]
    images = TrainingImages(records, 28, TrainTransform((8, 12), horizontal_flip=True), seed=3)
    plain = TrainingImages(records, 28, TrainTransform((8, 12)), seed=3)
    seen = set()
    for key in [(epoch, row) for epoch in range(5) for row in range(4)]:
        item, upright = images[key], plain[key]
        assert isinstance(item, LabelItem)
        assert isinstance(upright, LabelItem)
        mirrored = not torch.equal(item.image, upright.image)
        assert torch.equal(item.image.flip(-1) if mirrored else item.image, upright.image)
        assert item.object_mask == ((0.0, 1.0) * 2 if mirrored else (1.0, 0.0) * 2)
        seen.add(mirrored)
    assert seen == {True, False}


def test_looking_ahead_whether_an_image_is_mirrored_gives_the_same_answer():
    transform = TrainTransform(4, horizontal_flip=True)
    answers = [transform.mirrors(random.Random(seed)) for seed in range(50)]
    assert answers == [transform.mirrors(random.Random(seed)) for seed in range(50)]
    assert 10 < sum(answers) < 40
    assert not TrainTransform(4).mirrors(random.Random(0))
