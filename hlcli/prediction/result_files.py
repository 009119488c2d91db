"""Files of results that survive a kill: results pile up in `OUT.partial`, and OUT appears when it is whole.

The first line of `OUT.partial` says what the work is; each further line is one image's result, or why it has none.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, NamedTuple, Protocol, Self, TypeVar

from hlcli.data.failures import Failure, failure_of, read_failures, write_failures
from hlcli.errors import DataError, InputError
from hlcli.files import writing
from hlcli.json_text import parse_json
from hlcli.launching import Processes, from_first
from hlcli.prediction.result_work import WorkRecord, differences

logger = logging.getLogger(__name__)


class _Result(Protocol):
    """What is found in an image, ready for JSON."""

    @property
    def image(self) -> str:
        """The image's name."""

    def to_json(self) -> dict[str, Any]:
        """The line that is written for the image."""


Result = TypeVar("Result", bound=_Result)


class ResultForm(NamedTuple, Generic[Result]):
    """A kind of result.

    Args:
        read: the result that a line was written for; ValueError, KeyError or TypeError for another line.
        write: writes the finished file.
        read_finished: what a finished file says; None where nobody keeps that in memory.
    """

    read: Callable[[dict[str, Any]], Result]
    write: Callable[[Path, Iterable[Result]], None]
    read_finished: Callable[[Path], list[Result]] | None = None


def partial_file(out: Path) -> Path:
    """Where results pile up until the file is whole."""
    return out.with_name(out.name + ".partial")


class ResultFile(Generic[Result]):
    """A file of results in the making, a context manager. The first process writes, all know how far it is.

    Everything is called within the block, which keeps other programs away from the file.

    Args:
        out: the file.
        names: of all images.
        work: what decides the results, ready for JSON.
        processes: who shares the work.
        form: which kind of result.
    """

    def __init__(
        self, out: Path, names: Sequence[str], work: dict[str, Any], processes: Processes, form: ResultForm[Result]
    ) -> None:
        self.out, self.names, self.processes, self.form = out, names, processes, form
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
        return from_first(self.processes, lambda: self._begin(resume, batch_size))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            with suppress(OSError):  # of a full disk, which was told of before; `_finish` closes a file that is whole
                self._handle.close()
        self._record.unlock()
        if kind is KeyboardInterrupt and self.partial.exists():
            raise KeyboardInterrupt(f"{self.partial} keeps what is done; --resume goes on.") from error

    def write(self, result: Result | Failure) -> None:
        """Add the next image; it is safe from a kill when this returns."""
        if self._handle is None:
            return
        with writing(self.partial):
            self._handle.write(_line(result.to_json()))
            self._handle.flush()

    def finish(self, *, keep: bool) -> tuple[list[Result], list[Failure]]:
        """Give the file its name and list the failures beside it.

        Returns:
            On the first process, the results where they are to be kept, and the failures.

        Raises:
            HlcliError: when a file cannot be read or written.
        """
        if not self.processes.is_main_process:
            return [], []
        with writing(self.out):
            if self._is_finished:
                read = self.form.read_finished
                return (read(self.out) if keep and read is not None else []), read_failures(self.out)
            return self._finish(keep)

    def _finish(self, keep: bool) -> tuple[list[Result], list[Failure]]:
        assert self._handle is not None, "`begin` opens it"
        self._handle.close()
        failures = [row for row in self._rows() if isinstance(row, Failure)]
        kept = list(self._results()) if keep else []
        self.form.write(self.out, self._results())
        write_failures(self.out, failures)
        self._record.write()
        self.partial.unlink()  # last: whatever is not done by now is done again
        return kept, failures

    def _begin(self, resume: bool, batch_size: int) -> int:
        with writing(self.out):
            return self._open(resume, batch_size)

    def _open(self, resume: bool, batch_size: int) -> int:
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
                is_good = self._read(line).image == name
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

    def _results(self) -> Iterator[Result]:
        return (row for row in self._rows() if not isinstance(row, Failure))

    def _rows(self) -> Iterator[Result | Failure]:
        """Everything so far."""
        with open(self.partial, "rb") as handle:
            next(handle)
            yield from map(self._read, handle)

    def _read(self, line: bytes) -> Result | Failure:
        """What a line of `OUT.partial` says.

        Raises:
            ValueError, KeyError, TypeError: when it says something else.
        """
        row = parse_json(line)
        return failure_of(row) if "error" in row else self.form.read(row)


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
