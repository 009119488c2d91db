"""METEOR and SPICE, asked of Java programs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hlcli.errors import HlcliError, MissingDependencyError
from hlcli.metrics.captioning import java
from hlcli.metrics.captioning.summary import caption_metrics

from .caption_samples import HYPOTHESES, REFERENCES

# Java. A stand-in for the program answers as the protocol says; the real METEOR runs in the golden tests.


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    java.java_version.cache_clear()
    yield
    java.java_version.cache_clear()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_probe: None):
    """Puts a `java` on PATH that is this Python code; `-version` is answered already."""
    if os.name != "posix":
        pytest.skip("needs a script that can be executed")

    def install(code: str) -> Path:
        script = tmp_path / "bin" / "java"
        script.parent.mkdir()
        script.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\n"
            f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
            "if '-version' in sys.argv:\n"
            "    print('openjdk version \"17.0.1\" 2021', file=sys.stderr); sys.exit()\n" + code
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(script.parent))
        return tmp_path / "pid"

    return install


def has_ended(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


METEOR = """
sizes = []
for line in sys.stdin:
    kind, *parts = line.rstrip("\\n").split(" ||| ")
    if kind == "SCORE":
        print(len(parts) - 1, len(parts[-1]), flush=True)
    else:
        scores = [int(part.split()[0]) / 10 for part in parts]
        print("\\n".join(map(str, [*scores, 0.5])), flush=True)
"""


def test_meteor_is_asked_in_its_protocol_and_ended(stand_in):
    pid_file = stand_in(METEOR)
    scores = java.meteor(["a ||| dog\nruns", "", "c"], REFERENCES)
    assert scores.value == 0.5
    assert scores.per_image.tolist() == [0.3, 0.2, 0.4]  # numbers of references, so nothing was split in two
    assert has_ended(pid_file)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("time.sleep(60)", "took more than 1 second"),
        ("import subprocess; subprocess.run(['/bin/sleep', '60'])", "took more than 1 second"),
        ("sys.exit('out of memory')", "ended early: out of memory"),
        ("sys.stdin.readline(); print('1', flush=True); sys.exit(3)", "ended early: it gave no reason"),
        ("[print('x', flush=True) for _ in sys.stdin]", "'x' where a number was expected"),
    ],
)
def test_meteor_that_fails_is_ended_and_explained(stand_in, code: str, message: str):
    pid_file = stand_in(code)
    with pytest.raises(HlcliError, match=message):
        java.meteor(HYPOTHESES, REFERENCES, timeout_seconds=1)
    assert has_ended(pid_file)


SPICE = """
rows = json.load(open(sys.argv[sys.argv.index("-out") - 1]))
scores = [{"image_id": row["image_id"], "scores": {"All": {"f": len(row["refs"]) / 10}}} for row in reversed(rows)]
assert "--add-opens=java.base/java.lang=ALL-UNNAMED" in os.environ["JDK_JAVA_OPTIONS"]
print("x" * 200_000)
json.dump(scores, open(sys.argv[sys.argv.index("-out") + 1], "w"))
"""


@pytest.fixture
def spice_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pycocoevalcap with the models of SPICE, which the real one fetches."""
    package = tmp_path / "path" / "pycocoevalcap"
    (package / "spice" / "lib").mkdir(parents=True)
    for name in ("spice-1.0.jar", *(f"lib/{name}" for name in java.SPICE_MODELS)):
        (package / "spice" / name).touch()
    monkeypatch.syspath_prepend(package.parent)  # its folders are searched in this order
    return package


def test_spice_scores_stay_with_their_images(stand_in, spice_models: Path):
    pid_file = stand_in(SPICE)
    scores = java.spice(HYPOTHESES, REFERENCES)
    assert scores.per_image.tolist() == [0.3, 0.2, 0.4]
    assert scores.value == pytest.approx(0.3)
    assert has_ended(pid_file)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("time.sleep(60)", "took more than 1 second"),
        ("sys.exit('no heap')", "ended with code 1: no heap"),
        ("", "left no scores: it gave no reason"),
    ],
)
def test_spice_that_fails_is_ended_and_explained(stand_in, spice_models: Path, code: str, message: str):
    pid_file = stand_in(code)
    with pytest.raises(HlcliError, match=message):
        java.spice(HYPOTHESES, REFERENCES, timeout_seconds=1)
    assert has_ended(pid_file)


def test_missing_models_of_spice_are_named_with_the_command_that_fetches_them(stand_in, spice_models: Path):
    stand_in(SPICE)
    (spice_models / "spice" / "lib" / java.SPICE_MODELS[1]).unlink()
    with pytest.raises(MissingDependencyError, match=r"3\.6\.0-models\.jar.*get_stanford_models"):
        caption_metrics(HYPOTHESES, REFERENCES, names=["SPICE"])


@pytest.mark.parametrize("metric", ["METEOR", "SPICE"])
def test_missing_java_is_said_before_any_work(metric, monkeypatch: pytest.MonkeyPatch, fresh_probe: None):
    monkeypatch.setenv("PATH", "")
    assert java.java_version() is None
    with pytest.raises(MissingDependencyError, match=f"{metric} needs Java 8 or newer"):
        caption_metrics([], [], names=[metric])


def test_java_that_does_not_run_counts_as_missing(stand_in):
    pid_file = stand_in("")
    script = pid_file.parent / "bin" / "java"
    script.write_text("#!/bin/sh\necho 'No Java runtime present, requesting install.' >&2\nexit 1\n")
    assert java.java_version() is None


@pytest.mark.skipif(shutil.which("java") is None, reason="no java on PATH")
def test_version_is_the_one_that_java_tells(fresh_probe: None):
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    version = java.java_version()
    assert version is not None
    assert f'"{version}"' in said
