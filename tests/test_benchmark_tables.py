"""The JSON of benchmarks as Markdown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "markdown_table.py"
TIMES = {"torch": "2.6", "rows": [
    {"method": "sgre", "size": 448, "seconds": 13.4111, "ratio": 1.514, "ratio_range": [1.51, 1.52], "labels": None},
    {"method": "a|b", "size": 448, "seconds": 12345.6, "ratio": 1.0, "ratio_range": [1, 1], "bytes": 2749239296},
]}  # fmt: skip
LISTINGS = {"setting": {"images": 64}, "rows": {
    "start": {"warm": 0.5, "rates": {"plain": 120.77, "fast": 241.2}, "imports": {str(n): n for n in range(9)}},
    "step": {"warm": 4.25, "runs": [1, 2, 3]},
}}  # fmt: skip


@pytest.mark.parametrize(
    ("document", "table"),
    [
        (TIMES, ["torch 2.6, size 448.", "", "| method | seconds | ratio | ratio_range | labels | bytes |",
                 "|---|---|---|---|---|---|", "| sgre | 13.4 | 1.51 | 1.51–1.52 | – |  |",
                 "| a\\|b | 12,346 | 1 | 1–1 |  | 2,749,239,296 |"]),
        (LISTINGS, ["images 64.", "", "| name | warm | rates.plain | rates.fast |", "|---|---|---|---|",
                    "| start | 0.5 | 121 | 241 |", "| step | 4.25 |  |  |"]),
        ([{"scene": 0.5}], ["| scene |", "|---|", "| 0.5 |"]),
    ],
)  # fmt: skip
def test_a_benchmark_becomes_a_markdown_table(document: Any, table: list[str], tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(document))
    command = [sys.executable, SCRIPT, tmp_path / "b.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [*table, ""]
