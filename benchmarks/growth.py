"""How the cost of each piece of work grows: seconds and peak memory at growing sizes, and the exponent of the growth.

    python benchmarks/growth.py --only labels --out growth-labels.json
    python benchmarks/growth.py --only files "hlcli init"    # a group, or any work whose name holds the word
    python benchmarks/growth.py --from growth-*.json --plots docs/images    # draws what was measured

Groups: `labels` and `losses` (20 to 2,000 labels), `pixels` (side of the image, 112 to 896), `words` (longest caption,
5 to 60), `beams` (1 to 10), `rows` (metrics of 1,000 to 1,000,000 images or captions) and `files` (as many photos, or
rows of tables and stores). What is measured at each size is in `growth_networks.py` and `growth_rows.py`.

Each size runs in a process of its own, forked when all is imported, on one thread. Seconds are those of the processor,
which a busy machine changes less than those on the clock; the median of three calls (one, where that takes longer than
three). Memory is how far the resident memory rises in the first call above what is resident before it, so parameters
and inputs are not in it, gradients and results are. The exponent is that between the two largest sizes: 1 is linear, 2
quadratic; where constant costs still weigh, it is too small.
Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import growth_networks
import growth_rows
import torch
from growth_figures import draw_groups

WORKS = (*growth_networks.WORKS, *growth_rows.WORKS)
_STEADY_SECONDS = 3.0
_ROUNDS = 3


class Cost(NamedTuple):
    """What one piece of work takes at one size."""

    size: int
    seconds: float
    megabytes: float


def held(field: str) -> float:
    """Megabytes that this process holds now (VmRSS) or held at most (VmHWM)."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def measure_here(work: Any, size: int) -> Cost:
    """Measure in this process, which has not done the work at this size before."""
    work.prepare(min(work.sizes))()  # what only the first call of a library does
    call = work.prepare(size)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    before = held("VmRSS")
    seconds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
        if len(seconds) == 1:
            grown = held("VmHWM") - before
        if seconds[0] > _STEADY_SECONDS:
            break
    return Cost(size, statistics.median(seconds), grown)


def _answer(work: Any, size: int, answers: Connection) -> None:
    torch.set_num_threads(1)
    answers.send(measure_here(work, size))
    answers.close()


def measure(work: Any, size: int) -> Cost:
    """Measure in a process of its own.

    Raises:
        SystemExit: when that process fails.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(work, size, there))
    process.start()
    there.close()
    try:
        return Cost(*here.recv())
    except EOFError as error:
        raise SystemExit(f"{work.name} failed at {size:,} {work.group}.") from error
    finally:
        process.join()


def exponent(costs: Sequence[Cost], field: str) -> float | None:
    """The power of the size with which a cost grows between the two largest sizes; None where nothing is told."""
    if len(costs) < 2 or min(getattr(cost, field) for cost in costs[-2:]) <= 0:
        return None
    low, high = costs[-2:]
    return math.log(getattr(high, field) / getattr(low, field)) / math.log(high.size / low.size)


def grow(work: Any, largest: int | None) -> dict[str, Any]:
    """Measure at all sizes; ready for JSON."""
    costs = [measure(work, size) for size in work.sizes if largest is None or size <= largest]
    row = {"group": work.group, "name": work.name, "costs": [cost._asdict() for cost in costs]}
    return row | {"exponent": exponent(costs, "seconds"), "memory_exponent": exponent(costs, "megabytes")}


def show(row: dict[str, Any]) -> None:
    """A line for each size, the exponents in the last."""
    for number, cost in enumerate(row["costs"]):
        first = f"{row['group']:7}{row['name']:34}" if not number else " " * 41
        last = ""
        if number + 1 == len(row["costs"]):
            told = [row["exponent"], row["memory_exponent"]]
            last = "".join("      –" if value is None else f"{value:7.2f}" for value in told)
        print(f"{first}{cost['size']:>9,}{cost['seconds']:11.4f}{cost['megabytes']:9.0f}{last}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="groups, or words in names of works")
    parser.add_argument("--largest", type=int, help="leave larger sizes out")
    parser.add_argument("--scratch", type=Path, help="where files are made; with 1,000,000 of them, best in memory")
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw a figure of each group")
    parser.add_argument("--from", dest="given", nargs="+", type=Path, metavar="FILE", help="draw these results alone")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for path in options.given or ():
        rows += json.loads(path.read_text())["rows"]
    chosen = [
        work
        for work in (() if options.given else WORKS)
        if not options.only or any(word == work.group or word in work.name for word in options.only)
    ]
    if not chosen and not rows:
        raise SystemExit(f"Nothing is called {options.only}; there are {', '.join(work.name for work in WORKS)}.")
    print(f"{'':41}{'size':>9}{'seconds':>11}{'MB':>9}   exponents of both")
    with tempfile.TemporaryDirectory(prefix="hlcli-growth-", dir=options.scratch) as folder:
        tempfile.tempdir = folder  # where all works write
        for work in chosen:
            rows.append(grow(work, options.largest))
            show(rows[-1])
            if options.out is not None:  # what is measured so far
                report = {"python": sys.version.split()[0], "torch": torch.__version__, "rows": rows}
                options.out.write_text(json.dumps(report, indent=1) + "\n")
    if options.plots is not None:
        draw_groups(rows, options.plots)


if __name__ == "__main__":
    main()
