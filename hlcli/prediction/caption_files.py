"""Files of captions that survive a kill: results pile up in `OUT.partial`, and OUT appears when it is whole.

The first line of `OUT.partial` says what the work is; each further line is one image's caption, or why it has none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from accelerate.utils import broadcast_object_list

from hlcli.data.coco_results import coco_image_id, write_coco_results
from hlcli.data.failures import Failure, failures_file, write_failures
from hlcli.errors import DataError, HlcliError, InputError
from hlcli.files import whole_file
from hlcli.launching import Processes
from hlcli.prediction.caption_rows import Caption
from hlcli.prediction.caption_work import WorkRecord, differences
from hlcli.prediction.label_files import check_prediction_file

logger = logging.getLogger(__name__)

_ENDINGS = (".jsonl", ".json")


def partial_file(out: Path) -> Path:
    """Where results pile up until the file is whole."""
    return out.with_name(out.name + ".partial")


def check_caption_file(out: str | Path) -> None:
    """Refuse a file of another format, and a folder; see `check_prediction_file`."""
    check_prediction_file(Path(out), _ENDINGS)


class CaptionFile:
    """A file of captions in the making, a context manager. The first process writes, all know how far it is.

    Everything is called within the block, which keeps other programs away from the file.

    Args:
        out: `.jsonl`, or `.json` for COCO's result format.
        names: of all images.
        work: what decides the captions, ready for JSON.
        processes: who shares the work.
    """

    def __init__(self, out: Path, names: Sequence[str], work: dict[str, Any], processes: Processes) -> None:
        self.out, self.names, self.processes = out, names, processes
        self.partial = partial_file(out)
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        self.work = json.loads(json.dumps({"images": f"{len(names)}, sha256:{digest}", **work}))
        self._is_finished = False
        self._handle: IO[str] | None = None  # OUT.partial
        self._record = WorkRecord(out, self.work)

    def begin(self, *, resume: bool, batch_size: int) -> int:
        """Start, or go on; returns how many images are done. That is a whole number of batches, so that the batches
        of the rest are those of an uninterrupted run.

        Raises:
            InputError: when the work cannot go on, or would destroy results that nobody gave up.
        """
        answer: list[Any] = [None]
        if self.processes.is_main_process:
            try:
                answer = [self._begin(resume, batch_size)]
            except HlcliError as error:
                answer = [error]
            except OSError as error:
                answer = [_unwritable(Path(error.filename or self.partial), error)]
        if self.processes.num_processes > 1:
            broadcast_object_list(answer)
        if isinstance(answer[0], HlcliError):
            raise answer[0]
        return int(answer[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.close()
        self._record.unlock()
        if kind is KeyboardInterrupt and self.partial.exists():
            raise KeyboardInterrupt(f"{self.partial} keeps what is done; --resume goes on.") from error

    def write(self, result: Caption | Failure) -> None:
        """Add the next image; it is safe from a kill when this returns."""
        if self._handle is None:
            return
        try:
            self._handle.write(_line(result.to_json()))
            self._handle.flush()
        except OSError as error:
            raise _unwritable(self.partial, error) from error

    def finish(self, *, keep: bool) -> tuple[list[Caption], list[Failure]]:
        """Give the file its name and list the failures beside it.

        Returns:
            On the first process, the captions where they are to be kept, and the failures.

        Raises:
            HlcliError: when a file cannot be read or written.
        """
        if not self.processes.is_main_process:
            return [], []
        try:
            if self._is_finished:
                return (self._finished_captions() if keep else []), self._listed_failures()
            return self._finish(keep)
        except OSError as error:
            raise _unwritable(Path(error.filename or self.out), error) from error

    def _finish(self, keep: bool) -> tuple[list[Caption], list[Failure]]:
        assert self._handle is not None, "`begin` opens it"
        self._handle.close()
        failures = [row for row in self._rows() if isinstance(row, Failure)]
        kept = [row for row in self._rows() if isinstance(row, Caption)] if keep else []
        captions = (row for row in self._rows() if isinstance(row, Caption))
        if self.out.suffix == ".json":
            write_coco_results(self.out, ((row.image, row.caption) for row in captions))
        else:
            with whole_file(self.out) as handle:
                handle.writelines(_line(row.to_json()) for row in captions)
        write_failures(self.out, failures)
        self._record.write()
        self.partial.unlink()  # last: whatever is not done by now is done again
        return kept, failures

    def _begin(self, resume: bool, batch_size: int) -> int:
        check_caption_file(self.out)
        if self.out.suffix == ".json":
            for name in self.names:
                coco_image_id(name)  # before the work, not after it
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._record.lock()
        if not self.partial.exists():
            if not resume or not self.out.exists():
                return self._open_new()
            self._record.check()
            logger.info("%s is finished already.", self.out)
            self._is_finished = True
            return len(self.names)
        if not resume:
            raise InputError(
                f"{self.out} was begun before: {self.partial} holds what is done.",
                "Give --resume to go on, or delete that file.",
            )
        return self._go_on(batch_size)

    def _open_new(self) -> int:
        self._handle = open(self.partial, "w", encoding="utf-8")  # noqa: SIM115 - `__exit__` closes it
        self._handle.write(_line({"work": self.work}))
        self._handle.flush()
        return 0

    def _go_on(self, batch_size: int) -> int:
        """Keep the lines that are as they should be, in whole batches."""
        with open(self.partial, "rb") as handle:
            first = handle.readline()
            if not first.endswith(b"\n"):  # killed at once
                return self._open_new()
            self._check_work(first)
            lengths = [len(line) for line in self._good_lines(handle)]
        done = len(lengths)
        done -= done % batch_size if done < len(self.names) else 0
        self._handle = open(self.partial, "r+", encoding="utf-8")  # noqa: SIM115
        self._handle.truncate(len(first) + sum(lengths[:done]))
        self._handle.seek(0, 2)
        logger.info("%s: %d of %d images are done.", self.partial, done, len(self.names))
        return done

    def _good_lines(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """The results up to the first one that is not of its image, or that a kill or a fault has damaged."""
        for number, (name, line) in enumerate(zip(self.names, lines, strict=False), start=2):
            if not line.endswith(b"\n"):
                return
            try:
                is_good = _result(line).image == name
            except (ValueError, KeyError, TypeError):
                is_good = False
            if not is_good:
                logger.warning("%s: line %d is damaged; from there on the work is done again.", self.partial, number)
                return
            yield line

    def _check_work(self, line: bytes) -> None:
        differing = differences(line, self.work)
        if differing is None:
            raise DataError(f"{self.partial} is damaged: its first line says nothing.", "Delete it.")
        if differing:
            raise InputError(
                f"{self.partial} was begun with other {', '.join(differing)}.",
                "Give the same as then, or delete it and begin anew.",
            )

    def _rows(self) -> Iterator[Caption | Failure]:
        """All results so far."""
        with open(self.partial, "rb") as handle:
            next(handle)
            yield from map(_result, handle)

    def _finished_captions(self) -> list[Caption]:
        """What a finished file says; COCO's format has no log-probabilities."""
        try:
            with open(self.out, encoding="utf-8") as handle:
                if self.out.suffix == ".jsonl":
                    return [Caption.from_json(json.loads(line)) for line in handle]
                rows = json.load(handle)
            names = {coco_image_id(name): name for name in self.names}
            return [Caption(names.get(row["image_id"], ""), row["caption"], math.nan) for row in rows]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.out} holds no captions: {error!r}.", "Delete it, or give another --out.") from error

    def _listed_failures(self) -> list[Failure]:
        listed = failures_file(self.out)
        if not listed.exists():
            return []
        with open(listed, encoding="utf-8") as handle:
            return [Failure(**json.loads(line)) for line in handle]


def _result(line: bytes) -> Caption | Failure:
    """What a line of `OUT.partial` says.

    Raises:
        ValueError, KeyError, TypeError: when it says something else.
    """
    row = json.loads(line.decode(), parse_constant=_refuse)
    return Failure(row["image"], row["error"]) if "error" in row else Caption.from_json(row)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _unwritable(path: Path, error: OSError) -> HlcliError:
    return HlcliError(f"{path} cannot be written: {error.strerror or error}.")
