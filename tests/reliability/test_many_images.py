"""Folders of very many images: flat memory, and a kill in the middle costs nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
from effort import effort
from noise_photos import noise_jpeg
from tiny_captioner import write_captioner
from tiny_label_models import save_tiny_label_model
from warm_programs import WarmProgram

from hlcli.data.failures import failures_file
from hlcli.prediction.result_files import partial_file

IMAGES = effort(220, 100_000)
FEWER_IMAGES = effort(44, 10_000)
_DAMAGED_EVERY = 97
_PER_FOLDER = 1000
_MOST_GROWTH = 24_000
"""Kilobytes between the most of the first half, without its first tenth, and the most of the second. (Loader processes
hand images over as open files, one for each on its way: their number goes up and down, so medians are compared.)"""

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc")


class Look(NamedTuple):
    """What a program holds when so many images are done."""

    done: int
    seconds: float
    kilobytes: int
    open_files: int


def write_many(folder: Path, count: int) -> Path:
    """A folder of small photos, some of them damaged."""
    contents = [noise_jpeg(seed) for seed in range(16)]
    for number in range(count):
        path = folder / f"{number // _PER_FOLDER:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = contents[number % len(contents)]
        path.write_bytes(content[:200] if number % _DAMAGED_EVERY == 5 else content)
    return folder


def watch(program: WarmProgram, out: Path) -> list[Look]:
    """Look at a program, now and then, until it ends."""
    looks, done, begun = [], 0, time.monotonic()
    size, partial, pid = 0, partial_file(out), program.pid
    while program.is_running():
        try:
            with partial.open("rb") as handle:
                handle.seek(size)
                new = handle.read()
            size, done = size + len(new), done + new.count(b"\n")
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            files = len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, IndexError):
            time.sleep(0.001)
            continue
        looks.append(Look(done - 1, time.monotonic() - begun, pages * os.sysconf("SC_PAGESIZE") // 1024, files))
        time.sleep(effort(1, 250) / 1000)
    return looks


def at(looks: list[Look], done: float) -> Look:
    """The first look at which so many images were done."""
    return next(look for look in looks if look.done >= done)


def report(what: str, looks: list[Look], count: int) -> None:
    """Figures for docs/reliability.md, shown by a long run and beside a failure."""
    first = at(looks, 1)
    sys.stderr.write(f"{what}: first result after {first.seconds:.1f} s\n")
    for share in (0.1, 0.5, 0.98):
        look = at(looks, share * count)
        rate = (look.done - first.done) / max(look.seconds - first.seconds, 1e-9)
        sys.stderr.write(f"{share:.0%}: {look}, {rate:.0f} images/s\n")


def check_killed_and_resumed(words: list[object], out: Path, whole: Path, count: int) -> None:
    """A program that is killed half-way and goes on leaves the same files as one that was not."""
    program = WarmProgram(*words, "--out", out)
    try:
        while not (partial_file(out).exists() and partial_file(out).stat().st_size > whole.stat().st_size // 2):
            assert program.is_running(), program.errors()
            time.sleep(0.001)
    finally:
        program.send(signal.SIGKILL)
        program.wait()
    assert not out.exists()
    begun = partial_file(out).read_bytes().count(b"\n") - 1
    assert 0 < begun < count
    done = WarmProgram(*words, "--out", out, "--resume").wait()
    assert done.returncode == 3, done.stderr
    assert f"of {count} images are done" in done.stderr
    assert not partial_file(out).exists()
    assert out.read_bytes() == whole.read_bytes()
    assert failures_file(out).read_bytes() == failures_file(whole).read_bytes()


@pytest.mark.parametrize("verb", ["eval", "caption"])
def test_memory_stays_flat_and_a_kill_costs_nothing(verb: str, tmp_path: Path):
    count = IMAGES if verb == "eval" else FEWER_IMAGES
    photos, whole = write_many(tmp_path / "photos", count), tmp_path / "whole.jsonl"
    if verb == "eval":
        words: list[object] = ["eval", save_tiny_label_model(tmp_path / "model", "linear"), "--images", photos]
    else:
        words = ["caption", write_captioner(tmp_path / "model"), photos]
    words += ["--batch-size", effort(8, 64), "--workers", effort(0, 1)]
    program = WarmProgram(*words, "--out", whole)
    looks = watch(program, whole)
    done = program.wait()
    assert done.returncode == 3, done.stderr
    report(verb, looks, count)
    names = [json.loads(line)["image"] for path in (whole, failures_file(whole)) for line in path.open("rb")]
    assert sorted(names) == sorted(str(path) for path in photos.rglob("*.jpg"))
    damaged = len(range(5, count, _DAMAGED_EVERY))
    assert len(failures_file(whole).read_bytes().splitlines()) == damaged
    early = [look for look in looks if 0.1 <= look.done / count <= 0.5]
    late = [look for look in looks if look.done > 0.5 * count]
    grown = max(look.kilobytes for look in late) - max(look.kilobytes for look in early)
    assert grown < _MOST_GROWTH, looks[:: len(looks) // 20 or 1]
    opened = median(look.open_files for look in late) - median(look.open_files for look in early)
    assert opened < effort(10, 64), looks[:: len(looks) // 20 or 1]
    check_killed_and_resumed(words, tmp_path / "killed.jsonl", whole, count)
