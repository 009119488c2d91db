"""The JSON of any benchmark as a Markdown table, for pages and pull requests.

    python benchmarks/training_step.py --out training_step.json
    python benchmarks/markdown_table.py training_step.json

A line for each row of the file. What is the same in all rows stands above the table; what a row holds in an object gets
columns of its own (`rates.plain`), a list of two numbers is a range; longer lists and large objects are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_MOST_KEYS = 8
"""A larger object is a listing."""


def read_rows(document: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What was set, and the rows, of a benchmark's JSON."""
    rows = document if isinstance(document, list) else document["rows"]
    settings = {} if isinstance(document, list) else {key: value for key, value in document.items() if key != "rows"}
    settings |= settings.pop("setting", {})
    if isinstance(rows, Mapping):
        rows = [{"name": name, **(row if isinstance(row, Mapping) else {"value": row})} for name, row in rows.items()]
    return dict(_cells(settings)), [dict(_cells(row)) for row in rows]


def _cells(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names of columns with their text."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _cells(value, f"{prefix}{key}.") if len(value) <= _MOST_KEYS else ()
        elif not isinstance(value, list):
            yield f"{prefix}{key}", _text(value)
        elif len(value) == 2 and all(isinstance(one, int | float) for one in value):
            yield f"{prefix}{key}", "–".join(map(_text, value))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if type(value) is int else str(value).replace("|", "\\|")


def markdown(settings: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> str:
    """A sentence of what all rows share, and the table of the rest."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    alike = {key for key in columns if len(rows) > 1 and len({row.get(key) for row in rows}) == 1}
    shared = {**settings, **{key: rows[0][key] for key in columns if key in alike}}
    shown = [key for key in columns if key not in alike]
    lines = [", ".join(f"{key} {value}" for key, value in shared.items()) + ".", ""] if shared else []
    lines += [f"| {' | '.join(shown)} |", "|" + "---|" * len(shown)]
    lines += [f"| {' | '.join(row.get(key, '') for key in shown)} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Print a table for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="what benchmarks wrote with --out")
    for path in parser.parse_args().files:
        print(markdown(*read_rows(json.loads(path.read_text(encoding="utf-8")))), end="\n\n")


if __name__ == "__main__":
    main()
