"""From the content of a report to its file: one page that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlcli.files import whole_file
from hlcli.plain_text import counted

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> None:
    """Write a page whole.

    Args:
        path: its file.
        template: `labels.html` or `captions.html`.
        content: what the template shows; every text in it is escaped.

    Raises:
        HlcliError: when the file cannot be written.
    """
    text = _render(template, content)
    with whole_file(path) as handle:
        handle.write(text)


def _render(template: str, content: Mapping[str, Any]) -> str:
    import hlcli

    script = _read("script.js")
    values = {
        **content,
        "version": hlcli.__version__,
        "style": _read("style.css"),
        "script": script,
        # Only this script may run: were a name of a label ever not escaped, the browser would not obey it.
        "script_sum": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    }
    return _environment().get_template(template).render(values) + "\n"


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"score": _score, "count": _count, "counted": counted, "percent": _percent, "grade": _grade}
    return environment


def _score(value: float | None) -> str:
    """Three digits after the point; a dash for what is no number."""
    return "–" if value is None or value != value else f"{value:.3f}"


def _count(value: int) -> str:
    return f"{value:,}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value == 0 or value >= 0.095 else f"{100 * value:.1f} %"


def _grade(value: float) -> int:
    """Which of the eight colours, from least to most, stands for a fraction."""
    return 0 if value != value else min(7, max(0, int(8 * value)))
