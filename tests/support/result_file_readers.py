"""What unfinished work leaves behind, for the next run to go on with: results, features, downloads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from file_readers import Reader, text_file

from hlcli.data.datasets.base import DownloadOptions, Source
from hlcli.data.failures import Failure
from hlcli.data.labels import LabelSpace
from hlcli.data.transfers.archive_plan import is_done
from hlcli.data.transfers.manifest import Manifest, read_failures
from hlcli.data.transfers.verification import find_changed
from hlcli.features.shards import Shards
from hlcli.launching import find_processes
from hlcli.prediction.caption_files import caption_file
from hlcli.prediction.caption_rows import Caption
from hlcli.prediction.label_files import prediction_file
from hlcli.prediction.label_rows import PredictedLabel, Prediction
from hlcli.prediction.result_files import ResultFile, partial_file

_LABELS = LabelSpace.flat(["cat", "dog"])
_NAMES = ("a.jpg", "b.jpg", "c.jpg", "ü.jpg")
_FAILED = "b.jpg"
_WORK = {"model": "m"}


def _caption(name: str) -> Caption:
    return Caption(name, f"a cat in {name}", -1.25)


def _captions(out: Path) -> ResultFile[Caption]:
    return caption_file(out, _NAMES, _WORK, find_processes(cpu=True))


def _prediction(name: str) -> Prediction:
    return Prediction(name, (PredictedLabel("cat", "fine", 0.75), PredictedLabel("dog", "fine", 0.5)), ())


def _predictions(out: Path) -> ResultFile[Prediction]:
    return prediction_file(out, _NAMES, _WORK, find_processes(cpu=True), _LABELS)


class _Kind:
    """A kind of results: a file of them in the making, and the result of an image."""

    def __init__(self, file: Callable[[Path], ResultFile[Any]], result: Callable[[str], Any]) -> None:
        self.file, self.result = file, result

    def _write(self, out: Path, names: tuple[str, ...], *, finish: bool) -> None:
        with self.file(out) as file:
            file.begin(resume=False, batch_size=1)
            for name in names:
                file.write(Failure(name, "truncated") if name == _FAILED else self.result(name))
            if finish:
                file.finish(keep=False)

    def begun(self, folder: Path) -> Path:
        """Three of four images are done."""
        self._write(folder / "out.jsonl", _NAMES[:3], finish=False)
        return partial_file(folder / "out.jsonl")

    def finished(self, damaged: str) -> Callable[[Path], Path]:
        """All are done."""

        def make(folder: Path) -> Path:
            self._write(folder / "out.jsonl", _NAMES, finish=True)
            return folder / damaged

        return make

    def go_on(self, path: Path) -> int:
        """Go on to the end: every image must have a result, or be a failure, exactly once."""
        out = path.with_name("out.jsonl")
        with self.file(out) as file:
            done = file.begin(resume=True, batch_size=1)
            for name in _NAMES[done:]:
                file.write(self.result(name))
            results, failures = file.finish(keep=True)
        named = [json.loads(line)["image"] for line in out.read_bytes().splitlines()]
        assert sorted([*named, *(row.image for row in failures)]) == sorted(_NAMES)
        assert not results or [row.image for row in results] == named
        return done


def _shards(path: Path) -> Any:
    shards = Shards(path.parent.with_suffix(""), 2, 1, "float16")
    shards.begin({"kind": "grid"}, resume=True)
    return shards.pending(), shards.failures()


def _begin_shards(damaged: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        shards = Shards(folder / "out", 2, 1, "float16")
        shards.begin({"kind": "grid"}, resume=False)
        shards.finish(0, ["a"], [Failure("b.jpg", "truncated")])
        return shards.folder / damaged

    return make


_ARCHIVE = Source("a.zip", unpack_to=".")


def _fetched(damaged: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / ".fetched").mkdir()
        return text_file(damaged, content)(folder / ".fetched")

    return make


def _manifest(path: Path) -> Any:
    manifest = Manifest(path.parent)
    return manifest.files, [manifest.holds(file) for file in manifest.files]


def _failures(path: Path) -> Any:
    return read_failures(path.parent)


def _done(path: Path) -> bool:
    return is_done(_ARCHIVE, path.parent.parent, DownloadOptions())


def _changed(path: Path) -> Any:
    return find_changed([_ARCHIVE], path.parent.parent)


def result_readers() -> list[Reader]:
    """Files of unfinished and of finished work."""
    captions, predictions = _Kind(_captions, _caption), _Kind(_predictions, _prediction)
    row = json.dumps({"file": "low/a.jpg", "bytes": 12, "url": "http://x", "sha256": "0" * 64}) + "\n"
    failure = {"id": "a", "url": "u", "attempts": 1, "status": 404, "error": "e", "final_url": None, "time": "t"}
    member = json.dumps({"file": "low/a.jpg", "bytes": 12, "crc32": 7}) + "\n"
    stamp = json.dumps({"checksum": None, "samples": {"a": 3}})
    return [
        Reader("captions begun", captions.begun, captions.go_on),
        Reader("captions finished", captions.finished("out.jsonl"), captions.go_on),
        Reader("failures of captions", captions.finished("out.failures.jsonl"), captions.go_on),
        Reader("record of captions", captions.finished(".out.jsonl.work"), captions.go_on),
        Reader("predictions begun", predictions.begun, predictions.go_on),
        Reader("plan of features", _begin_shards("plan.json"), _shards),
        Reader("part of features", _begin_shards("00000.json"), _shards),
        Reader("photos.jsonl", text_file("photos.jsonl", row * 2), _manifest),
        Reader("failures.jsonl", text_file("failures.jsonl", json.dumps(failure) + "\n"), _failures),
        Reader("sum of a file", _fetched("a.zip.json", stamp), _done),
        Reader("sums of members", _fetched("a.zip.members.jsonl", member), _changed),
    ]
