"""Files that once gave a traceback, a message that nobody could read, or a wrong meaning; found by `test_bad_files.py`.

Each is one line: the reader, the file, and what is said of it now (None: it is read, and what is damaged left out).
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from file_readers import Reader, data_set_readers
from model_file_readers import model_readers
from recipe_trees import SMALL
from result_file_readers import result_readers

import hlcli
from hlcli.data.caption_export import export_captions
from hlcli.data.datasets.folder import Folder
from hlcli.data.kept_labels import KEPT_LABELS_FILE, KeptLabels, check_kept_labels
from hlcli.data.labels import LabelSpace
from hlcli.errors import CheckpointError, DataError, HlcliError
from hlcli.recipe import Recipe
from hlcli.training.trackers import start_trackers

READERS: dict[str, Reader] = {
    reader.name: reader for reader in (*data_set_readers(), *model_readers(), *result_readers())
}
LEVEL = b'{"name": "fine", "label_names": ["cat", "dog"], "parent_index": null}'
LONG = b"x" * 100_000
EVENT = b'{"event": "step", "epoch": 1, "step": 2, "weights": "ema", "metrics": {"loss": 1}}'

FOUND: list[tuple[str, bytes, str | None]] = [
    ("labels of one's own", b"image,labels\na.jpg,d\x00g\n", "line 2 holds NUL"),
    ("labels of one's own", b"image,labels\na.jpg,d\x1bg\n", "'d\\x1bg' is no name of a label"),
    ("labels of one's own", b"image,labels,split,ca" + LONG, " … "),
    ("labels to measure on", b"image,labels\na.jpg," + LONG, "not in the label space"),
    ("hierarchy", b'{pets: [cat, "\\0"]}', "NUL"),
    ("table of lists", b"image,tags\na.jpg,\"['d\n\n\n']\"\nb.jpg,\"['c']\"\n", "is not a list of names"),
    ("table of lists", b"image,tags\na.jpg,\"['\\udfff']\"\n", "is not a list of names"),
    ("COCO instances", b'{"categories": [], "categories": [], "images": [], "annotations": []}', "given twice"),
    ("Intentonomy masks", b'{"low/a.jpg": {"scores": []}, "low/a.jpg": {"scores": []}}', "is there twice"),
    ("Intentonomy masks", b'{"low/a.jpg": {"scores": [1e999], "masks": []}}', "1e999 is too large"),
    ("VG-500 objects", b'[{"image_id": 1, "objects": [{"names": "dog"}]}]', "no list of names"),
    ("VG-500 objects", b'[{"image_id": 1, "objects": []}, {"image_id": 1, "objects": []}]', "given twice"),
    ("label list", b"a\x00.jpg,1\n", "a path below the folder of images was expected"),
    ("VOC images", b"\xef\xbb\xbf000005\n", None),
    ("labels.json", b'{"levels": [{"name": "fine", "label_names": "fine", "parent_index": null}]}', "labels.json: "),
    ("labels.json", b'{"levels": [' + LEVEL.replace(b'"dog"', b"[]") + b"]}", "a list of str was expected"),
    ("labels.json", b'{"levels": [' + LEVEL.replace(b'"dog"', b'"d\\ng"') + b"]}", "is no name of a label"),
    ("labels.json", b'{"levels": [' + LEVEL.replace(b"null", b"[0.5]") + b"]}", "a list of int was expected"),
    ("meta.json", b'{"version": 1, "splits": [[]], "image_root": ".."}', "does not describe a store"),
    ("model.json of labels", b'\xff\xfe{"format": 1}', "cannot be read"),
    ("status.json", b"[{}]", None),
    ("status.json", b'{"a": ' + b"[" * 100_000, None),
    ("metrics.jsonl", b"\xff\n" + EVENT + b"\n[]\n" + EVENT.replace(b"1}", b'"1"}'), None),
    ("metrics.jsonl", b"\n" * 140_000 + EVENT, None),
    ("thresholds", b'{"coarse": "0.5", "fine": 0.5}', "'0.5' is no number"),
    ("thresholds", b'{"coarse": 1.5, "fine": 0.5}', "t.json: thresholds must lie between 0 and 1"),
    ("thresholds", b'{"coarse": 1' + b"0" * 400 + b', "fine": 0.5}', "is too long"),
    ("names of labels", b"cat: ' '\n", "n.yaml: label 'cat' has an empty text"),
    ("names of labels", b"? " + LONG + b"\n: a\n", "is no label of the data set"),
    ("captions begun", b'{"work": ' + b"[" * 100_000 + b"\n", "its first line says nothing"),
    ("failures of captions", b"{}\n", "nothing says what made it"),
    ("plan of features", b'["a"]', "cannot be read"),
    ("part of features", b'{"keys": ["a"], "failures": [null]}', "an image and its error were expected"),
    ("part of features", b'{"keys": [1], "failures": []}', "does not say which images"),
    ("photos.jsonl", b'{"file": "\\u0000", "bytes": 1}\n{"file": "a", "bytes": 1, "url": 5}\n', None),
    ("failures.jsonl", b'{"id": {}, "url": "u", "attempts": 1, "status": 1, "error": "", "time": ""}\n', None),
    ("sums of members", b'{"file": 7, "bytes": 1, "crc32": 7}\n{"file": "\\u0000", "bytes": 1, "crc32": 7}\n', None),
]


@pytest.mark.parametrize(("name", "content", "message"), FOUND, ids=[f"{i}-{row[0]}" for i, row in enumerate(FOUND)])
def test_what_was_found_stays_mended(tmp_path: Path, name: str, content: bytes, message: str | None):
    (tmp_path / "files").mkdir()
    path = READERS[name].make(tmp_path / "files")
    path.write_bytes(content)
    if message is None:
        READERS[name].read(path)
        return
    with pytest.raises(HlcliError) as caught:
        READERS[name].read(path)
    assert message in str(caught.value)
    assert len(caught.value.message) <= 900


def test_damaged_lines_of_metrics_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\n" + EVENT + b'\n{"event": "step"}\n{"event": "st')
    assert hlcli.Run(tmp_path).events() == [json.loads(EVENT)]
    assert "metrics.jsonl: damaged lines are left out: 1, 3, 4." in caplog.text


@pytest.mark.parametrize("content", [b"[]", b'{"tensorboard": 5}', b"\xff", b"{"])
def test_damaged_names_of_trackers_are_told_before_one_is_opened(tmp_path: Path, content: bytes):
    (tmp_path / "trackers.json").write_bytes(content)
    accelerator = SimpleNamespace(is_main_process=True, trackers=[])
    recipe = Recipe.from_dict({**SMALL, "train": {"trackers": ["tensorboard"]}})
    with pytest.raises(CheckpointError, match=r"trackers\.json cannot be read") as caught:
        start_trackers(accelerator, hlcli.Run(tmp_path), recipe, 3)  # type: ignore[arg-type]
    assert "Delete it" in str(caught.value.hint)
    assert not accelerator.trackers


@pytest.mark.parametrize("content", [b"[]", b'{"a": {"file": 1, "ids": []}}', b'{"a": []}', b"\xff"])
def test_damaged_numbers_of_captions_are_told(tmp_path: Path, content: bytes):
    (tmp_path / "caption_ids.json").write_bytes(content)
    with pytest.raises(DataError, match=r"caption_ids\.json cannot be read"):
        export_captions(Folder(images=tmp_path, labels=tmp_path / "none.csv", store=tmp_path))


def test_kept_labels_that_are_no_text_are_others(tmp_path: Path):
    (tmp_path / KEPT_LABELS_FILE).write_bytes(b"\xff")
    with pytest.raises(DataError, match="are not those of"):
        check_kept_labels(tmp_path, KeptLabels([], [], []), LabelSpace.flat(["cat"]))


def test_a_message_can_always_be_shown():
    error = DataError("a\x1b[31m\u202e\ud800 of\u3000x\nb " + "y" * 10_000_000 + " is no label", "z\0")
    first, second = error.message.split("\n")
    assert first == "a\\x1b[31m\\u202e\\ud800 of\u3000x"
    assert len(second) == 900
    assert second.startswith("b yyy")
    assert second.endswith("yyy is no label")
    assert error.hint == "z\\x00"
    assert DataError(error.message, error.hint).message == error.message
