"""Tokenising a batch of captions for the metrics, against the Java program that pycocoevalcap calls.

    python benchmarks/ptb_tokenizer.py --out ptb_tokenizer.json

Needs Java on PATH. The captions are made up of common words with now and then a clitic, a number, a quote or a bracket
(`--captions FILE` takes one caption per line instead); every round has captions that no one has seen before, so that
nothing is remembered. The Java program starts anew for every batch, as in training; that start is most of its time,
so the ratio falls as the batch grows: batches of 50 and of 1,000 are always told, `--sizes` adds others. Both get the
same captions in turn, each first in every other round; medians count, and the results must be equal. Processor time,
of the Java process too, is given beside the time on the clock: a busy machine holds up the many threads of Java more
than our one. Unix only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from hlcli.metrics.captioning.ptb import ptb_tokenize

SUBJECTS = "man woman dog child group cat train bus boy girl skier surfer player kitchen street".split()  # noqa: SIM905
VERBS = "is sitting on|stands near|runs along|is holding|looks at|rides past|is parked beside".split("|")  # noqa: SIM905
RARE = ["don't", '"stop" sign', "(left)", "4x4 truck", "5 o'clock", "t-shirt", "man's hat", "2:30 p.m.", "and/or", "$5"]
SIZES = (50, 1000)
Tokenize = Callable[[list[str]], list[str]]


def invent_captions(rng: random.Random, size: int) -> list[str]:
    """Captions of about a dozen words, one in five with something unusual."""
    captions = []
    for _ in range(size):
        words = [
            "A",
            rng.choice(SUBJECTS),
            rng.choice(VERBS),
            "a",
            rng.choice(SUBJECTS),
            "with the",
            rng.choice(SUBJECTS),
        ]
        words.insert(rng.randrange(1, 7), rng.choice(RARE) if rng.random() < 0.2 else rng.choice(SUBJECTS))
        words.append(f"and {rng.choice(SUBJECTS)}{rng.randrange(10**6)}")  # never the same again
        captions.append(" ".join(words) + rng.choice([".", " .", "", "!"]))
    return captions


def tokenize_in_java(captions: list[str]) -> list[str]:
    """Through pycocoevalcap."""
    found = PTBTokenizer().tokenize({row: [{"caption": caption}] for row, caption in enumerate(captions)})
    return [found[row][0] for row in range(len(captions))]


def tokenize_here(captions: list[str]) -> list[str]:
    """Without Java; what is remembered of earlier captions is forgotten first."""
    ptb_tokenize.cache_clear()
    return [ptb_tokenize(caption) for caption in captions]


CONTENDERS: dict[str, Tokenize] = {"hlcli": tokenize_here, "pycocoevalcap (Java)": tokenize_in_java}


def processor_seconds() -> float:
    """Processor time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(batches: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Median seconds, and processor seconds, of each contender over batches that all of them tokenise, in turn."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    for number, captions in enumerate(batches):
        results = {}
        for name in list(CONTENDERS)[:: -1 if number % 2 else 1]:
            start, used = time.perf_counter(), processor_seconds()
            results[name] = CONTENDERS[name](captions)
            seconds[name].append((time.perf_counter() - start, processor_seconds() - used))
        unequal = [row for row in zip(captions, *results.values(), strict=True) if row[1] != row[2]]
        if unequal:
            raise SystemExit(f"The tokens differ: {unequal[0]}")
    return {
        name: (statistics.median(wall for wall, _ in times), statistics.median(used for _, used in times))
        for name, times in seconds.items()
    }


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[], help="captions in further batches")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--captions", type=Path, help="text file, one caption per line, instead of invented ones")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    rng = random.Random(0)
    lines = options.captions.read_text(encoding="utf-8").splitlines() if options.captions else []
    sizes = sorted({*SIZES, *options.sizes})
    if lines and len(lines) < sizes[-1]:
        parser.error(f"{options.captions} has {len(lines):,} captions, fewer than a batch of {sizes[-1]:,}")
    measure([["A warm-up, for it's the first."]])
    rows = []
    for size in sizes:
        batches = [rng.sample(lines, size) if lines else invent_captions(rng, size) for _ in range(options.rounds)]
        medians = measure(batches)
        rows += [
            {
                "captions": size,
                "who": who,
                "seconds": wall,
                "ratio": wall / medians["hlcli"][0],
                "processor_seconds": used,
                "processor_ratio": used / medians["hlcli"][1],
            }
            for who, (wall, used) in medians.items()
        ]
    for row in rows:
        print(
            f"{row['captions']:6,} captions  {row['who']:22} {row['seconds']:9.5f} s {row['ratio']:8.1f}x",
            f"  processor {row['processor_seconds']:9.5f} s {row['processor_ratio']:8.1f}x",
        )
    if options.out is not None:
        java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.splitlines()[0]
        setting = {
            "rounds": options.rounds,
            "captions": "from a file" if lines else "invented",
            "python": platform.python_version(),
            "java": java,
            "pycocoevalcap": version("pycocoevalcap"),
            "cpus": os.cpu_count(),
        }
        options.out.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
