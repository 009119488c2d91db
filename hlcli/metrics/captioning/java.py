"""METEOR and SPICE: the Java programs that come with pycocoevalcap, run with time-outs and always ended.

SPICE also needs the CoreNLP models. pycocoevalcap would fetch them from inside its constructor, without a time-out;
here they are asked for first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import IO, Any

import numpy as np

from hlcli.errors import HlcliError, MissingDependencyError
from hlcli.metrics.captioning.arguments import Scores, check_captions

PROBE_SECONDS = 30
_METEOR_SECONDS = (120.0, 0.2)  # to start, and per image; ten times what a slow machine takes
_SPICE_SECONDS = (600.0, 5.0)
SPICE_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")

# SPICE looks into these packages, which Java 9 and later close; Java 8 does not read the variable.
_OPENED = ("lang", "math", "net", "text", "util", "util.concurrent")
_OPEN_MODULES = " ".join(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED)


@lru_cache(maxsize=1)
def java_version() -> str | None:
    """The version of the Java on PATH, None where there is none that runs; looked up once."""
    java = shutil.which("java")
    if java is None:
        return None
    try:
        probe = subprocess.run([java, "-version"], capture_output=True, timeout=PROBE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):  # also a stub that only says where to get Java
        return None
    found = re.search(rb'version "([^"]+)"', probe.stderr)
    return found[1].decode(errors="replace") if found else None


def check_meteor() -> None:
    """Make sure that METEOR can run.

    Raises:
        MissingDependencyError: saying what is missing.
    """
    _check_java("METEOR")
    _program_file("METEOR", "meteor/meteor-1.5.jar")


def check_spice() -> None:
    """Make sure that SPICE can run.

    Raises:
        MissingDependencyError: saying what is missing.
    """
    _check_java("SPICE")
    folder = _program_file("SPICE", "spice/spice-1.0.jar").parent / "lib"
    missing = [name for name in SPICE_MODELS if not (folder / name).is_file()]
    if missing:
        raise MissingDependencyError(
            f"SPICE needs the CoreNLP models, and {folder} has no {' and no '.join(missing)}.",
            "Fetch them once, with a network, by `python -m pycocoevalcap.spice.get_stanford_models`, "
            "or leave SPICE out of the metrics.",
        )


def meteor(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, timeout_seconds: float | None = None
) -> Scores:
    """METEOR 1.5 for English.

    Args:
        hypotheses: one tokenised caption per image.
        references: the tokenised true captions of each image, one or more.
        timeout_seconds: for everything; None: two minutes and 0.2 s per image.

    Raises:
        ValueError: when hypotheses and references do not fit together.
        MissingDependencyError: when there is no Java.
        HlcliError: when the program fails or takes too long.
    """
    check_captions(hypotheses, references)
    check_meteor()
    seconds = _limit(_METEOR_SECONDS, len(hypotheses)) if timeout_seconds is None else timeout_seconds
    jar = _program_file("METEOR", "meteor/meteor-1.5.jar")
    arguments = ["-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    with _running("METEOR", arguments, seconds) as program:
        statistics = []
        for hypothesis, captions in zip(hypotheses, references, strict=True):
            program.send(" ||| ".join(["SCORE", *map(_one_line, captions), _one_line(hypothesis)]))
            statistics.append(program.answer())
        program.send(" ||| ".join(["EVAL", *statistics]))
        per_image = np.array([program.number() for _ in hypotheses])
        return Scores(program.number(), per_image)


def spice(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, timeout_seconds: float | None = None
) -> Scores:
    """SPICE: the F-measure of the objects, attributes and relations that captions name.

    Arguments and errors as of `meteor`; without a limit it has ten minutes and 5 s per image.
    """
    check_captions(hypotheses, references)
    check_spice()
    seconds = _limit(_SPICE_SECONDS, len(hypotheses)) if timeout_seconds is None else timeout_seconds
    rows = [
        {"image_id": row, "test": hypothesis, "refs": list(captions)}
        for row, (hypothesis, captions) in enumerate(zip(hypotheses, references, strict=True))
    ]
    with tempfile.TemporaryDirectory(prefix="hlcli-spice-") as folder:
        given, found = Path(folder, "captions.json"), Path(folder, "scores.json")
        given.write_text(json.dumps(rows), encoding="utf-8")
        jar = _program_file("SPICE", "spice/spice-1.0.jar")
        arguments = ["-Xmx8G", "-jar", str(jar), str(given), "-out", str(found), "-subset", "-silent"]
        options = f"{os.environ.get('JDK_JAVA_OPTIONS', '')} {_OPEN_MODULES}"
        with _running("SPICE", arguments, seconds, {"JDK_JAVA_OPTIONS": options}) as program:
            program.finish()
            per_image = _read_spice(program, found, len(rows))
    return Scores(float(per_image.mean()), per_image)


def _read_spice(program: _Program, path: Path, num_images: int) -> np.ndarray:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        scores = {row["image_id"]: float(row["scores"]["All"]["f"]) for row in rows}
        return np.array([scores[image] for image in range(num_images)])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise program.failure("left no scores") from error


def _check_java(metric: str) -> None:
    if java_version() is None:
        raise MissingDependencyError(
            f"{metric} needs Java 8 or newer, and no `java` that runs is on PATH.",
            f"Install it (`java -version` must answer), or leave {metric} out of the metrics.",
        )


def _program_file(metric: str, name: str) -> Path:
    """A file of pycocoevalcap."""
    package = find_spec("pycocoevalcap")
    folders = [] if package is None else list(package.submodule_search_locations or ())
    path = next((path for folder in folders if (path := Path(folder, name)).is_file()), None)
    if path is None:
        raise MissingDependencyError(
            f"{metric} needs {name} of pycocoevalcap, which is not installed.", "Run `pip install pycocoevalcap`."
        )
    return path


def _limit(seconds: tuple[float, float], num_images: int) -> float:
    return seconds[0] + seconds[1] * num_images


def _one_line(caption: str) -> str:
    """A caption in METEOR's line protocol, where ||| separates."""
    return " ".join(caption.replace("|||", "").split())


class _Program:
    """A running Java program that is asked line by line."""

    def __init__(self, name: str, process: subprocess.Popen[str], log: IO[str], seconds: float) -> None:
        self.name, self.process, self.log, self.seconds = name, process, log, seconds
        self.was_stopped = False

    def stop(self) -> None:
        """End it because its time is over."""
        self.was_stopped = True
        _end(self.process)

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        except OSError as error:
            raise self.failure("ended early") from error

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise self.failure("ended early")
        return line.strip()

    def number(self) -> float:
        line = self.answer()
        try:
            return float(line)
        except ValueError as error:
            raise self.failure(f"answered {line[:80]!r} where a number was expected") from error

    def finish(self) -> None:
        """Wait for its end, which must be a success; what it says meanwhile does not matter."""
        self.process.communicate()
        if self.process.returncode != 0:
            raise self.failure(f"ended with code {self.process.returncode}")

    def failure(self, what: str) -> HlcliError:
        """The error for this moment, with the program's last words."""
        if self.was_stopped:
            return HlcliError(f"{self.name} was stopped: it took more than {self.seconds:.0f} seconds.")
        self.log.seek(0)
        lines = [line.strip() for line in self.log if not line.startswith("NOTE: Picked up ")]
        words = " / ".join(lines[:3])
        return HlcliError(f"{self.name} (Java {java_version()}) {what}: {words or 'it gave no reason'}.")


@contextmanager
def _running(
    name: str, arguments: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
) -> Iterator[_Program]:
    """Run Java for the length of the block, at most so many seconds; it never outlives the block."""
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    command = [shutil.which("java") or "java", "-Dfile.encoding=UTF-8", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command, stderr=log, env={**os.environ, **(environment or {})}, start_new_session=True, **options
        )
        program = _Program(name, process, log, seconds)
        watchdog = Timer(seconds, program.stop)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield program
        finally:
            watchdog.cancel()
            _end(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was never read by the program
                    assert pipe is not None
                    pipe.close()


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a program with all that it started."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
