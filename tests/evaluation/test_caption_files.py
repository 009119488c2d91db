from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlcli.errors import DataError, InputError
from hlcli.evaluation.caption_files import score_captions
from hlcli.metrics.captioning.summary import caption_metrics

NUMBERS = (9, 391895, 25)
CAPTIONS = ("A dog runs on the mat.", "The cat", "two birds, on a wire")
REFERENCES = (
    ("A dog runs on a mat.", "The dog is running."),
    ("The cat sleeps.",),
    ("Two birds on a wire!", "Birds sit on the wire.", "A wire with two birds."),
)
FILES = tuple(f"COCO_val2014_{number:012d}.jpg" for number in NUMBERS)
EXPECTED = caption_metrics(CAPTIONS, REFERENCES).values


def write(path: Path, document: Any) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in document), encoding="utf-8")
    else:
        path.write_text(json.dumps(document), encoding="utf-8")
    return path


def coco(folder: Path, *, with_images: bool = True, ids: tuple[Any, ...] = NUMBERS, files=FILES) -> Path:
    annotations = [
        {"id": 10 * row + k, "image_id": ids[row], "caption": REFERENCES[row][k]}
        for k in range(3)  # as in the real files, captions of one image do not follow each other
        for row in range(3)
        if k < len(REFERENCES[row])
    ]
    images = [{"id": number, "file_name": file} for number, file in zip(ids, files, strict=True)]
    document = {"images": [*images, {"id": 777, "file_name": "none.jpg"}], "annotations": annotations}
    return write(folder / "captions.json", document if with_images else {"annotations": annotations})


def karpathy(folder: Path, *, with_numbers: bool = True) -> Path:
    splits = ("test", "test", "test", "restval", "train", "val")
    files = (*FILES, "r.jpg", "t.jpg", "v.jpg") if with_numbers else ("00.jpg", "0012.jpg", "1.jpg", "r", "t", "v")
    numbers = (*NUMBERS, 1001, 1002, 1003)
    images = [
        {"filename": file, "split": split, "sentences": [{"raw": text, "tokens": []} for text in texts], "imgid": row}
        | ({"cocoid": number, "filepath": "val2014"} if with_numbers else {})
        for row, (file, split, number, texts) in enumerate(
            zip(files, splits, numbers, (*REFERENCES, ("a",), ("b",), ("c",)), strict=True)
        )
    ]
    return write(folder / "dataset_coco.json", {"images": images, "dataset": "coco"})


def results(folder: Path, *, order: tuple[int, ...] = (2, 0, 1)) -> Path:
    return write(folder / "results.json", [{"image_id": NUMBERS[row], "caption": CAPTIONS[row]} for row in order])


def lines(folder: Path, names: tuple[str, ...]) -> Path:
    rows = [
        {"image": name, "caption": caption, "log_prob": -1.0, "alternatives": []}
        for name, caption in zip(names, CAPTIONS, strict=True)
    ]
    return write(folder / "results.jsonl", rows)


def test_results_in_any_order_are_scored_in_the_order_of_the_references(tmp_path: Path):
    metrics = score_captions(results(tmp_path), coco(tmp_path))
    assert metrics.values == EXPECTED
    assert metrics.image_ids == ("9", "391895", "25")
    assert metrics.num_images == 3


def test_karpathy_file_is_scored_on_the_split_of_the_results(tmp_path: Path):
    assert score_captions(results(tmp_path), karpathy(tmp_path)).values == EXPECTED
    assert score_captions(results(tmp_path), karpathy(tmp_path), split="test").values == EXPECTED


def test_rest_of_val_belongs_to_train(tmp_path: Path):
    rows = [{"image_id": 1001, "caption": "a"}, {"image_id": 1002, "caption": "b"}]
    path = write(tmp_path / "train.json", rows)
    assert score_captions(path, karpathy(tmp_path), names=["ROUGE-L"]).values == {"ROUGE-L": 1.0}


@pytest.mark.parametrize(
    "names",
    [
        tuple(f"photos/val/{file}" for file in FILES),
        FILES,
        ("9", "000000391895", "COCO_val2014_000000000025"),
    ],
)
@pytest.mark.parametrize("references", [coco, karpathy])
def test_our_lines_are_matched_by_path_name_or_number(tmp_path: Path, names, references):
    assert score_captions(lines(tmp_path, names), references(tmp_path)).values == EXPECTED


def test_names_of_coco_need_no_list_of_images(tmp_path: Path):
    assert score_captions(lines(tmp_path, FILES), coco(tmp_path, with_images=False)).values == EXPECTED


def test_set_without_coco_numbers_is_matched_by_file_name_and_not_by_place(tmp_path: Path):
    path = karpathy(tmp_path, with_numbers=False)
    for names in (("00.jpg", "0012.jpg", "1.jpg"), ("00", "0012", "1")):
        assert score_captions(lines(tmp_path, names), path).values == EXPECTED


def test_numbers_of_images_go_before_numbers_in_file_names(tmp_path: Path):
    path = coco(tmp_path, ids=(1, 2, 3), files=("2.jpg", "3.jpg", "1.jpg"))
    rows = [{"image_id": number, "caption": CAPTIONS[number - 1]} for number in (1, 2, 3)]
    assert score_captions(write(tmp_path / "results.json", rows), path).values == EXPECTED
    assert score_captions(lines(tmp_path, ("2.jpg", "3.jpg", "1.jpg")), path).values == EXPECTED


def test_same_name_in_two_folders_is_only_taken_with_its_folder(tmp_path: Path):
    path = coco(tmp_path, ids=("x", "y", "z"), files=("a/1.jpg", "b/1.jpg", "b/2.jpg"))
    assert score_captions(lines(tmp_path, ("in/a/1.jpg", "./b/1.jpg", "2.jpg")), path).values == EXPECTED
    with pytest.raises(DataError, match=r"2 names fit several images of .*: 1\.jpg, c/1\.jpg"):
        score_captions(lines(tmp_path, ("1.jpg", "c/1.jpg", "2.jpg")), path)


@pytest.mark.parametrize("references", [coco, karpathy])
def test_images_without_a_result_are_listed(tmp_path: Path, references):
    path = results(tmp_path, order=(2,))
    with pytest.raises(DataError, match=r"results\.json: 2 of 3 images of .* have no caption: 9, 391895\."):
        score_captions(path, references(tmp_path))


def test_image_with_two_captions_is_listed(tmp_path: Path):
    with pytest.raises(DataError, match="1 image has more than one caption: 25"):
        score_captions(results(tmp_path, order=(0, 1, 2, 2)), coco(tmp_path))


def test_images_without_references_are_listed_five_at_most(tmp_path: Path):
    rows = [{"image_id": number, "caption": ""} for number in (777, 9, *range(1, 8))]
    with pytest.raises(DataError, match=r"8 of 9 captions .* without references .*: 777, 1, 2, 3, 4 and 3 more"):
        score_captions(write(tmp_path / "results.json", rows), coco(tmp_path))


def test_results_of_several_splits_or_of_another_split_are_refused(tmp_path: Path):
    rows = [{"image_id": number, "caption": ""} for number in (*NUMBERS, 1003)]
    path = write(tmp_path / "results.json", rows)
    with pytest.raises(DataError, match=r"several splits of .*: test, val"):
        score_captions(path, karpathy(tmp_path))
    with pytest.raises(DataError, match="3 captions are for images outside split val: 9, 391895, 25"):
        score_captions(path, karpathy(tmp_path), split="val")
    with pytest.raises(DataError, match="no split 'dev'; it has test, train, val"):
        score_captions(path, karpathy(tmp_path), split="dev")
    with pytest.raises(DataError, match="no split 'val'; it has no splits at all"):
        score_captions(results(tmp_path), coco(tmp_path), split="val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "results.json is not JSON: .* line 1, column 2"),
        ("[]", "holds no captions.*image_id"),
        ('{"annotations": []}', "holds no captions.*image_id"),
        ('[{"caption": "a"}]', "entry 0 has neither `image_id` nor `image`"),
        ('[{"image_id": true, "caption": "a"}]', "entry 0 names no image: True"),
        ('[{"image_id": 1.5, "caption": "a"}]', "entry 0 names no image: 1.5 is neither a whole number nor text"),
        ('[{"image_id": NaN, "caption": "a"}]', "cannot be read: NaN is no number"),
        ('[{"image_id": 9, "caption": "a"}, {"image_id": 25}]', "entry 1, image 25, has no text `caption`"),
        ("[7]", "entry 0 has neither .*got 7"),
        (None, "results.json is missing"),
    ],
)
def test_damaged_results_are_refused(tmp_path: Path, content: str | None, message: str):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        score_captions(path, coco(tmp_path))


def test_whole_numbers_may_be_written_as_tables_do(tmp_path: Path):
    rows = [{"image_id": float(number), "caption": text} for number, text in zip(NUMBERS, CAPTIONS, strict=True)]
    found = write(tmp_path / "results.json", rows)
    assert score_captions(found, coco(tmp_path)).values == EXPECTED
    metrics = score_captions(results(tmp_path), coco(tmp_path, ids=tuple(map(float, NUMBERS))))
    assert (metrics.values, metrics.image_ids) == (EXPECTED, ("9", "391895", "25"))


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_byte_order_mark_does_no_harm(tmp_path: Path, ending: str):
    rows = [{"image_id": number, "caption": text} for number, text in zip(NUMBERS, CAPTIONS, strict=True)]
    path = write(tmp_path / f"results{ending}", rows)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert score_captions(path, coco(tmp_path)).values == EXPECTED


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_deep_nesting_is_no_traceback(tmp_path: Path, ending: str):
    path = tmp_path / f"results{ending}"
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match=r"cannot be read: it is nested too deeply"):
        score_captions(path, coco(tmp_path))


def test_damaged_line_is_named(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"image": "9", "caption": "a"}\n{"image": "25", "capt')
    with pytest.raises(DataError, match=r"results\.jsonl: line 2 is not JSON"):
        score_captions(path, coco(tmp_path))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "neither COCO's `annotations` nor Karpathy's `images`"),
        ({"annotations": []}, "holds no captions"),
        ({"annotations": [{"image_id": 9, "category_id": 1}]}, "neither COCO's caption annotations.*caption"),
        ({"annotations": [{"image_id": 9, "caption": None}]}, "caption None"),
        ({"images": [{"filename": "a.jpg", "split": "test"}]}, "sentences"),
    ],
)
def test_damaged_references_are_refused(tmp_path: Path, document, message: str):
    with pytest.raises(DataError, match=message):
        score_captions(results(tmp_path), write(tmp_path / "references.json", document))


def test_unknown_metric_is_refused_before_any_file_is_read(tmp_path: Path):
    with pytest.raises(InputError, match=r"BLEU, METEOR, ROUGE-L, CIDEr, SPICE \(got BLUE\)"):
        score_captions(tmp_path / "none.json", tmp_path / "none.json", names=["BLUE"])
