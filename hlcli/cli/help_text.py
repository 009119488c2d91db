"""How help looks: examples first, each fit to be copied; words instead of types; nothing cut or parted at a hyphen."""

from __future__ import annotations

import re
from typing import Any

_HYPHEN = "\N{NON-BREAKING HYPHEN}"
"""Stands for a hyphen while lines are filled, which would else be parted there."""

_WORDS = {
    "str": "TEXT", "list[str]": "TEXT", "int": "NUMBER", "int range": "NUMBER", "float": "NUMBER",
    "float range": "NUMBER", "path": "PATH", "list[Path]": "PATH", "file": "FILE", "dir": "FOLDER",
}  # fmt: skip
"""What Typer calls the values of options, and what people call them."""

_RANGES = ((r"(\S+)<=x<=([^\s\];]+)", r"\1 to \2"), (r"x>=([^\s\];]+)", r"at least \1"))


def examples_of(text: str) -> list[str]:
    """The example lines of a command's docstring."""
    return [line for line in text.splitlines() if line.startswith("Example:")]


def without_examples(text: str) -> str:
    """The other lines."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("Example:")).strip()


def fold_example(line: str, width: int) -> str:
    """A command on as many lines as it needs, so that it still runs when it is copied.

    Args:
        line: `Example:` and a command.
        width: characters of a line; a word that is longer stays whole.
    """
    parts: list[str] = []
    for word in re.findall(r"(?:'[^']*'|\S)+", line):  # what stands in quotes is never parted
        joins = parts and (parts[-1].startswith("--") and " " not in parts[-1] and not word.startswith("--"))
        if joins:
            parts[-1] += f" {word}"  # an option and its value
        else:
            parts.append(word)
    lines, indent = [parts[0]], " " * len("Example: hlcli ")
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) + len(" \\") <= width or lines[-1] == parts[0]:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(indent + part)
    return "\n".join(lines)


def write_help(command: Any, ctx: Any, formatter: Any) -> None:
    """The whole help of a command or group: examples, usage, text, arguments, options, commands.

    Args:
        command: of Typer; its `help` may hold example lines.
        ctx: its context.
        formatter: click's, which collects the text.
    """
    text = command.help or ""
    for line in examples_of(text):
        formatter.write(f"{fold_example(line, formatter.width + 1)}\n")
    pieces = [piece.replace("{", "").replace("}", "") for piece in command.collect_usage_pieces(ctx)]
    formatter.write_usage(ctx.command_path, " ".join(pieces))
    if rest := without_examples(text):
        formatter.write_paragraph()
        formatter.indent()
        formatter.write_text(rest.replace("-", _HYPHEN))
        formatter.dedent()
    _write_rows("Arguments", [row for row in _rows(command, ctx) if not row[0].startswith("-")], formatter)
    _write_rows("Options", [row for row in _rows(command, ctx) if row[0].startswith("-")], formatter)
    if hasattr(command, "list_commands"):
        found = [(name, command.get_command(ctx, name)) for name in command.list_commands(ctx)]
        width = formatter.width * 10  # click cuts what is longer; the row is filled over lines instead
        rows = [(name, one.get_short_help_str(width).replace("-", _HYPHEN)) for name, one in found if not one.hidden]
        _write_rows("Commands", rows, formatter)
    formatter.buffer[:] = [written.replace(_HYPHEN, "-") for written in formatter.buffer]


def _write_rows(title: str, rows: list[tuple[str, str]], formatter: Any) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def _rows(command: Any, ctx: Any) -> list[tuple[str, str]]:
    """Arguments and options with their texts, in plain words."""
    rows = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        name, text = record
        word, _, kind = name.partition(" <")
        if kind:  # Typer's name of what an option takes; an argument's own name says it
            name = f"{word} {_WORDS.get(kind[:-1], kind[:-1])}" if word.startswith("-") else word
        for pattern, words in _RANGES:
            text = re.sub(pattern, words, text)
        rows.append((name, text.replace("-", _HYPHEN)))
    return rows
