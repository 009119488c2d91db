"""The command line as people type it, inside the test's own process."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from hlcli.cli.main import app


def run(*words: object) -> Any:
    """What `hlcli WORDS…` said and how it ended."""
    return CliRunner().invoke(app, [str(word) for word in words])


def failed(done: Any, *texts: str, code: int = 2) -> None:
    """Check that a command ended with this code and these texts on stderr, nothing on stdout, and no traceback."""
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.stdout == "", done.stdout
    for text in texts:
        assert text in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
