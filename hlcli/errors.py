"""The errors a user can cause or meet; each says what, where, and how to mend it.

HlcliError                     exit code 1: the work failed
├── InputError                 exit code 2: something that was given is wrong
│   ├── RecipeError            a recipe or an override
│   ├── DataError              a data set, a store, a label file, an image
│   └── CheckpointError        weights, runs, model folders
├── DownloadError              a transfer that could not be finished
├── LostProcessError           one of several processes that is gone, or does not answer
├── TrainingError              a run that cannot go on (a loss that is not finite)
└── MissingDependencyError     an optional package that is not installed

Anything else that reaches the user is our own mistake and keeps its traceback.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from hlcli.plain_text import printable

_LONGEST_LINE = 900
_ENDING = 300
"""Characters: of a line of a message, and of the end that is kept of a longer one."""


class HlcliError(Exception):
    """A failure with a message for the user and, where there is one, a remedy.

    Whatever a file or an option held, its lines can be shown: they are not endless, and have no control characters.

    Examples:
        >>> error = HlcliError("photos/a.jpg is missing.", "Give another one.")
        >>> error.message, error.hint
        ('photos/a.jpg is missing.', 'Give another one.')
        >>> print(error)
        photos/a.jpg is missing. Give another one.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        message = _in_lines(message)
        super().__init__(message)
        self.message = message
        self.hint = None if hint is None else _in_lines(hint)

    def __str__(self) -> str:
        if self.hint is None:
            return self.message
        stop = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{stop} {self.hint}"


class InputError(HlcliError):
    """Something the user gave (a path, an option, a file) is wrong."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe or an override is wrong; the message lists every mistake."""


class DataError(InputError):
    """A data set, a store, a label file or an image is missing or damaged."""


class CheckpointError(InputError):
    """Weights, a run folder or a model folder cannot be used."""


class DownloadError(HlcliError):
    """A file could not be fetched."""


class LostProcessError(HlcliError):
    """One of several processes that work together is gone, or did not come in time."""


class TrainingError(HlcliError):
    """Training cannot go on; the last good state is kept."""


class MissingDependencyError(HlcliError):
    """An optional package is needed for what was asked."""


def _in_lines(text: str) -> str:
    r"""Lines as they are, but with control characters spelt out, as `\x1b`, and without the middle of a long one."""
    if len(text) <= _LONGEST_LINE and text.isprintable():
        return text
    return "\n".join(_shortened(printable(_shortened(line))) for line in text.split("\n"))


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[: _LONGEST_LINE - _ENDING - 3]} … {line[-_ENDING:]}"


def in_a_line(error: BaseException, line: int = 0) -> str:
    """What kind of error it is, and a line of its message without its full stop."""
    lines = str(error).strip().splitlines()
    return textwrap.shorten(f"{type(error).__name__}: {lines[line] if lines else ''}", 240, placeholder=" …").strip(
        ": ."
    )


def named(items: Sequence[object], most: int = 5) -> str:
    """The first of some items, and how many more there are, as part of a message."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def nearest(name: str, known: Iterable[str], most: int = 1, likeness: float = 0.6) -> list[str]:
    """Which of the known names somebody may have meant, whatever the capitals, the likeliest first.

    Of a long name the beginning counts.

    Examples:
        >>> nearest("map", ["F1_macro", "mAP"])
        ['mAP']
    """
    import difflib

    by_small_letters: dict[str, str] = {}
    for one in known:
        by_small_letters.setdefault(one.lower(), one)
    close = difflib.get_close_matches(name[:100].lower(), by_small_letters, n=most, cutoff=likeness)
    return [by_small_letters[one] for one in close]
