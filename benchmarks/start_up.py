"""How long the command line takes to say something, and where that time goes.

    python benchmarks/start_up.py --out start_up.json
    python benchmarks/start_up.py --only "hlcli --help" "python alone"

Wall seconds until a program has answered; of a training, until its first step has ended; of a caption and a
prediction, until they are printed. Models are tiny and trained on drawn scenes before, so what is left is starting.

`warm` is the median of later rounds, all programs in turn, so that a busy moment hits all alike. `cold` is a single
run with an empty cache of compiled modules (PYTHONPYCACHEPREFIX), as after an installation: Python compiles whatever
is imported. With --drop-caches, which takes root, files are read from the disk anew as well. `imports` are the seconds
that `python -X importtime` tells, by package, each without what it imports itself; telling them takes time too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

_TINY = ["train.epochs=1", "train.batch_size=8", "data.num_train=16", "data.num_val=8", "data.num_test=8"]
_HLCLI = ["-m", "hlcli"]
_MOST_PACKAGES = 8

Run = Callable[[list[str], Mapping[str, str]], float]


def until_done(words: list[str], environment: Mapping[str, str]) -> float:
    """Seconds until `python WORDS` has ended."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def until_step(words: list[str], environment: Mapping[str, str]) -> float:
    """Seconds until a training has logged its first step; then it is ended."""
    with tempfile.TemporaryDirectory(prefix="hlcli-start-") as folder:
        log = Path(folder, "run", "metrics.jsonl")
        start = time.perf_counter()
        command = [sys.executable, *words, "--set", "train.log_every_steps=1", "--run", str(log.parent)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (log.is_file() and '"step"' in log.read_text()):
            if process.poll() not in (None, 0):
                raise SystemExit(f"{' '.join(words)} failed.")
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        process.wait()
    return seconds


def settings(*values: str) -> list[str]:
    """`--set` before each."""
    return [word for value in (*_TINY, *values) for word in ("--set", value)]


def make_commands(folder: Path) -> dict[str, tuple[Run, list[str]]]:
    """What is measured: a name, how, and the words behind `python`; the models that some need are trained now."""
    photo = folder / "photo.png"
    Image.new("RGB", (64, 64), (200, 90, 30)).save(photo)
    for recipe in ("quickstart", "quickstart-caption"):
        words = [*_HLCLI, "train", "--recipe", recipe, *settings(), "--run", str(folder / recipe)]
        until_done(words, os.environ)
    return {
        "python alone": (until_done, ["-c", "pass"]),
        "import torch, timm": (until_done, ["-c", "import torch, timm"]),
        "hlcli --help": (until_done, [*_HLCLI, "--help"]),
        "hlcli recipes validate quickstart": (until_done, [*_HLCLI, "recipes", "validate", "quickstart"]),
        "first training step": (until_step, [*_HLCLI, "train", "--recipe", "quickstart", *settings()]),
        "first prediction": (
            until_done,
            [*_HLCLI, "eval", str(folder / "quickstart"), "--images", str(photo)],
        ),
        "first caption": (until_done, [*_HLCLI, "caption", str(folder / "quickstart-caption"), str(photo)]),
    }


def measure_cold(run: Run, words: list[str], *, drop_caches: bool) -> float:
    """Seconds of a first start."""
    with tempfile.TemporaryDirectory(prefix="hlcli-cold-") as empty:
        if drop_caches:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        return run(words, {**os.environ, "PYTHONPYCACHEPREFIX": empty})


def measure_imports(words: list[str]) -> dict[str, float]:
    """Seconds of imports by package, the most first."""
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True)
    spent: Counter[str] = Counter()
    for microseconds, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\w+)", done.stderr, re.MULTILINE):
        spent[name] += int(microseconds)
    return {name: count / 1e6 for name, count in spent.most_common()}


def show(name: str, row: dict) -> None:
    """A line, and one of its imports."""
    cold = f"{row['cold']:8.3f}" if row["cold"] is not None else " " * 8
    print(f"{name:36}{row['warm']:8.3f}{cold}{sum(row['imports'].values()):9.3f}")
    largest = list(row["imports"].items())[:_MOST_PACKAGES]
    print(f"{'':10}{', '.join(f'{package} {seconds:.2f}' for package, seconds in largest)}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="programs by their name in the table")
    parser.add_argument("--rounds", type=int, default=3, help="warm rounds, after one that is not counted")
    parser.add_argument("--no-cold", action="store_true", help="leave the cold starts out")
    parser.add_argument("--drop-caches", action="store_true", help="cold starts also read files anew; takes root")
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hlcli-start-") as folder:
        commands = make_commands(Path(folder))
        commands = {name: one for name, one in commands.items() if not options.only or name in options.only}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(options.rounds + 1):
            for name, (run, words) in commands.items():
                taken = run(words, os.environ)
                if number:
                    seconds[name].append(taken)
        print(f"{'seconds':36}{'warm':>8}{'cold':>8}{'imports':>9}")
        rows = {}
        for name, (run, words) in commands.items():
            cold = None if options.no_cold else measure_cold(run, words, drop_caches=options.drop_caches)
            run_folder = ["--run", str(Path(folder, "told"))] if run is until_step else []
            rows[name] = {"warm": statistics.median(seconds[name]), "cold": cold}
            rows[name]["imports"] = measure_imports([*words, *run_folder])
            show(name, rows[name])
    if options.out is not None:
        options.out.write_text(json.dumps({"python": sys.version.split()[0], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
