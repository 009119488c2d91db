from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from command_line import failed
from command_line import run as command
from typer.testing import CliRunner

import hlcli
from hlcli.cli import main
from hlcli.cli.commands import Command, Commands, set_up_logging
from hlcli.errors import DownloadError, HlcliError, RecipeError
from hlcli.progress import Progress

CLONE = Path(hlcli.__file__).parents[1]
runner = CliRunner()


def failing_app(error: BaseException) -> typer.Typer:
    """The real top of the command line over a command that fails."""
    app = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(main.hlcli)

    @app.command("work", cls=Command)
    def work() -> None:
        """Fail.

        Example: hlcli work --hard
        """
        raise error

    return app


def test_alone_it_greets_and_names_ways_to_begin_that_exist() -> None:
    done = runner.invoke(main.app, [])
    assert done.exit_code == 0
    ways = [line.split() for line in done.stdout.splitlines() if line.startswith("  hlcli ")]
    assert [way[1] for way in ways] == ["train", "init", "recipes"]
    assert ways[0][-1] in hlcli.list_recipes()
    for way in ways:
        assert runner.invoke(main.app, [way[1], "--help"]).exit_code == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RANK")}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env={**variables, **environment}, capture_output=True, text=True, timeout=60
    )


def test_version_is_printed_and_nothing_else():
    result = runner.invoke(main.app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"hlcli {hlcli.__version__}\n")


def test_every_command_has_help_that_begins_with_an_example():
    top = typer.main.get_command(main.app)
    paths = [[name, *sub] for name, command in top.commands.items() for sub in _below(command)]
    assert ["recipes", "list"] in paths
    for path in paths:
        result = runner.invoke(main.app, [*path, "--help"])
        assert result.exit_code == 0
        assert result.output.startswith(f"Example: hlcli {' '.join(path)}"), path
        assert result.output.count("Example:") == result.output.split("Usage:")[0].count("Example:")


def test_commands_are_listed_whole_and_in_the_order_in_which_one_needs_them():
    lines = runner.invoke(main.app, ["--help"]).output.split("Commands:\n")[1].splitlines()
    order = ["download", "preprocess", "embed", "init", "debug", "train", "eval", "compare"]
    order += ["calibrate", "caption", "visualize", "recipes"]
    order += ["convert", "export", "push", "env"]
    assert [line.split()[0] for line in lines] == order
    assert not [line for line in lines if line.endswith("...")]


def _below(command) -> list[list[str]]:
    return [[name] for name in command.commands] if hasattr(command, "commands") else [[]]


@pytest.mark.parametrize(
    ("error", "code"),
    [(HlcliError("it broke", "mend it"), 1), (RecipeError("it broke", "mend it"), 2), (DownloadError("it broke"), 1)],
)
def test_a_users_mistake_gives_message_hint_and_code_without_a_traceback(error, code):
    result = runner.invoke(failing_app(error), ["work"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == "error: it broke\n" + ("hint: mend it\n" if error.hint else "")


def test_debug_adds_the_traceback_and_keeps_the_code():
    result = runner.invoke(failing_app(RecipeError("it broke")), ["--debug", "work"])
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: it broke\n")


@pytest.mark.parametrize("words", [
    ("train", "--recipe", "quickstart", "--run", "NAME"),
    ("eval", "NAME", "--images", "photos"),
    ("visualize", "curves", "NAME"),
    ("embed", "labels", "shapes", "--out", "NAME.safetensors"),
    ("embed", "images", ".", "--backbone", "test_resnet", "--out", "NAME.hdf5"),
    ("recipes", "copy", "quickstart", "NAME.yaml"),
    ("init", "new", "--images", ".", "--labels", "NAME.csv"),
])  # fmt: skip
def test_a_name_that_is_too_long_is_the_users_mistake_wherever_it_is_given(words: tuple[str, ...]):
    failed(command(*(word.replace("NAME", "o" * 300) for word in words)), "ooo", "File name too long")


def test_what_may_not_be_looked_at_is_the_users_mistake():
    result = runner.invoke(failing_app(PermissionError(errno.EACCES, "Permission denied", "locked/run")), ["work"])
    assert (result.exit_code, result.stderr) == (
        2,
        "error: locked/run: Permission denied.\nhint: Give another place.\n",
    )
    other = OSError(errno.EIO, "Input/output error", "disk")
    assert runner.invoke(failing_app(other), ["work"]).exception is other


def test_our_own_mistakes_keep_their_traceback():
    result = runner.invoke(failing_app(ZeroDivisionError("ours")), ["work"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_interrupt_gives_130():
    result = runner.invoke(failing_app(KeyboardInterrupt()), ["work"])
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


@pytest.mark.parametrize("words", [["trian"], ["--nonsense"], ["recipes", "validate"]])
def test_a_wrong_command_line_gives_2(words):
    result = runner.invoke(main.app, words)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("options", "rank", "expected"),
    [({}, "0", ["info", "warning"]), ({"quiet": True}, "0", ["warning"]), ({}, "1", ["warning"])],
)
def test_messages_go_to_stderr_and_fewer_when_quiet_or_not_the_first_process(
    options, rank, expected, capsys, monkeypatch
):
    monkeypatch.setenv("RANK", rank)
    set_up_logging(**{"quiet": False, "debug": False, **options})
    set_up_logging(**{"quiet": False, "debug": False, **options})  # a second call adds nothing
    logging.getLogger("hlcli.x").info("info")
    logging.getLogger("hlcli.x").warning("warning")
    with Progress("Work", total=1) as bar:
        bar.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if not line.startswith("Work")] == expected
    assert ("Work" in err) == ("info" in expected)


def test_all_ways_to_start_work(tmp_path):
    expected = (0, f"hlcli {hlcli.__version__}\n")
    for words, folder, environment in (
        (["hlcli", "--version"], CLONE, {}),
        ([str(CLONE / "hlcli"), "--version"], tmp_path, {}),
        (["-m", "hlcli", "--version"], CLONE, {}),
        (["-m", "hlcli", "--version"], tmp_path, {"PYTHONPATH": str(CLONE)}),
    ):
        done = run(*words, cwd=folder, **environment)
        assert (done.returncode, done.stdout) == expected, done.stderr


def test_a_folder_run_as_a_script_hides_no_library(tmp_path):
    package = tmp_path / "hlcli"
    shutil.copytree(CLONE / "hlcli", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "logging.py").write_text("raise SystemExit('the wrong logging')")
    done = run("hlcli", "--version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_program_is_called_hlcli_however_it_was_started():
    assert "Usage: hlcli [OPTIONS]" in run("-m", "hlcli", "--help", cwd=CLONE).stdout


def test_output_into_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m hlcli recipes show hleg/intentonomy | true"
    done = subprocess.run(["bash", "-c", command], cwd=CLONE, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
