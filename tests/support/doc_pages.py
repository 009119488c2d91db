"""Code blocks of the documentation, and the command lines in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(
    r"^(?P<fence>```+)(?P<language>\w*)\n(?P<code>.*?)^(?P=fence)$(?:\n<!-- (?P<note>[^\n]*?) -->$)?",
    flags=re.DOTALL | re.MULTILINE,
)
_PROGRAM = re.compile(r"(?:^|&& )(?:\w+=\S+ )*(?:(?:accelerate launch|torchrun) .*?-m )?hlcli (?:-- )?(.+?)(?= && |$)")
_LAUNCHED_FOLDER = re.compile(r"^accelerate launch hlcli (.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        page: where it stands.
        line: number of its first line of code.
        language: word after the fence; nothing for what is typed into a shell.
        code: its text.
        note: of the comment `<!-- note -->` right below it, which only tests read.
    """

    page: Path
    line: int
    language: str
    code: str
    note: str


def pages() -> list[Path]:
    """The README and all pages in docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("code")) + 1, found["language"], found["code"], found["note"] or "")
        for found in _BLOCK.finditer(text)
    ]


def shell_lines(block: Block) -> Iterator[tuple[int, str]]:
    """The lines of a block that a shell would run, each with its number; `\\` at an end joins lines."""
    begun, first = "", block.line
    for number, line in enumerate(block.code.splitlines(), start=block.line):
        first = first if begun else number
        begun += line.removesuffix("\\") if line.endswith("\\") else line
        if not line.endswith("\\"):
            if begun.strip() and not begun.lstrip().startswith("#"):
                yield first, begun.strip()
            begun = ""


def program_words(line: str) -> list[list[str]]:
    """The words after `hlcli` of each call in a line, launched or not."""
    launched = _LAUNCHED_FOLDER.match(line)
    found = [launched[1]] if launched else _PROGRAM.findall(line)
    return [shlex.split(words, comments=True) for words in found]


def commands_in_sentences(page: Path) -> list[str]:
    """The commands that stand in backticks in the text of a page; of alternatives, `a|b`, the first."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"`(hlcli [^`\n…]+)`", text)
    return [re.sub(r"\\?\|\w+", "", line) for line in found]
