"""How all commands behave: help begins with an example, errors are one clear block, logs go to stderr."""

from __future__ import annotations

import errno
import logging
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from hlcli import HlcliError, InputError
from hlcli.cli.help_text import write_help
from hlcli.interrupts import STOPS
from hlcli.launching import is_first_process, leave_exit_code
from hlcli.library_errors import as_ours
from hlcli.plain_text import printable

INTERRUPTED = 130
SOME_FAILED = 3
"""Exit code of work that is finished, but for some items, which are listed."""
ORDER = (
    "download", "preprocess", "embed", "init", "debug", "train", "eval", "compare", "calibrate", "caption", "visualize",
    "recipes", "convert", "export", "push", "env",
)  # fmt: skip
"""The commands in the order in which one needs them; Typer itself lists groups last."""
_OVERRIDE = re.compile(r"[a-z_]+(\.\w+)*=")
_AGAINST_NAMES = (errno.ENAMETOOLONG, errno.EACCES)
"""What the system answers, wherever it is asked, of names that nobody can use, or not this user."""


class Command(TyperCommand):
    """A command; the lines of its docstring that begin with `Example:` stand above its usage."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take several values behind one --set, as in `--set train.epochs=1 optim.lr=1e-3`."""
        return super().parse_args(ctx, _with_every_set(args))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write examples, usage, text and options."""
        write_help(self, ctx, formatter)


class Group(TyperGroup):
    """Commands below a command, with help that looks like theirs."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write examples, usage, text, options and commands."""
        write_help(self, ctx, formatter)


class Commands(Group):
    """The top of the command line: turns errors that users can mend into a message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take --quiet and --debug behind the command's name too, where people write them."""
        end = args.index("--") if "--" in args else len(args)
        general = [word for word in args[:end] if word in ("--quiet", "--debug")]
        others = [word for word in args[:end] if word not in ("--quiet", "--debug")]
        return super().parse_args(ctx, [*general, *others, *args[end:]])

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands, in the order in which one needs them; others last."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for, and leave its exit code where launchers do not lose it."""
        try:
            with as_ours(), _refused_names():
                result = super().invoke(ctx)
        except HlcliError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            _show_error(error)
            leave_exit_code(error.exit_code)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            for number in STOPS:  # a second one must not change how this ends
                signal.signal(number, signal.SIG_IGN)
            typer.echo(f"Interrupted. {error}".strip(), err=True)
            leave_exit_code(INTERRUPTED)
            raise typer.Exit(INTERRUPTED) from error
        except typer.Exit as error:
            leave_exit_code(error.exit_code)
            raise
        leave_exit_code(0)
        return result


@contextmanager
def _refused_names() -> Iterator[None]:
    """While active, what the system has against a file's name is the user's to mend.

    Raises:
        InputError: naming the file.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _AGAINST_NAMES or error.filename is None:
            raise
        raise InputError(f"{error.filename}: {error.strerror}.", "Give another place.") from error


def _with_every_set(words: list[str]) -> list[str]:
    """The words with `--set` before every `key=value` that follows one which has it."""
    spelt: list[str] = []
    for word in words:
        follows = spelt[-2:-1] == ["--set"] or "".join(spelt[-1:]).startswith("--set=")
        spelt += ["--set", word] if follows and _OVERRIDE.match(word) else [word]
    return spelt


def stop_on_signals() -> None:
    """Let SIGTERM and SIGUSR1, which job schedulers send, end any command as Ctrl-C does."""
    for number in STOPS[1:]:
        signal.signal(number, signal.default_int_handler)


def _show_error(error: HlcliError) -> None:
    """Message and hint on stderr."""
    typer.echo("error: " + error.message.replace("\n", "\n  "), err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)


def ignore_warnings_of_pillow() -> None:
    """Leave out what Pillow says of odd images: those that it cannot decode are listed."""
    warnings.filterwarnings("ignore", module=r"PIL\b")


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at the moment: a progress bar takes its place while it is on screen."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The standard error stream of this moment."""
        return sys.stderr


class _Plain(logging.Formatter):
    """Names of others in messages move no cursor and clear no screen."""

    def format(self, record: logging.LogRecord) -> str:
        """The message with control characters spelt out."""
        return printable(super().format(record), lines=True)


def set_up_logging(*, quiet: bool, debug: bool) -> None:
    """One handler on stderr, plain messages; processes other than the first one only warn."""
    if quiet or not is_first_process():
        level = logging.WARNING
    else:
        level = logging.DEBUG if debug else logging.INFO
    handler = _StderrHandler()
    handler.setFormatter(_Plain("%(message)s"))
    logger = logging.getLogger("hlcli")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
