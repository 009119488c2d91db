"""How long the command line takes to say something: median wall seconds of `--help` and `recipes validate`.

python benchmarks/start_up.py [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python alone": ["-c", "pass"],
    "hlcli --help": ["-m", "hlcli", "--help"],
    "hlcli recipes validate quickstart": ["-m", "hlcli", "recipes", "validate", "quickstart"],
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.rounds):  # alternating, so that a busy moment hits all alike
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:36s} {value:.3f} s")
    if options.out is not None:
        options.out.write_text(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
