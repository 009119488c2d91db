"""The tab key: commands, recipes, data sets and figures are completed, in the shell itself and without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import program_environment
from typer.testing import CliRunner

from hlcli.cli.main import app
from hlcli.figures.drawing import KINDS


def completed(*words: str) -> list[str]:
    """What is offered for the last word, told in the form of bash."""
    told = {"_HLCLI_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return CliRunner().invoke(app, [], prog_name="hlcli", env=told).stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tr",), ["train"]),
        (("recipes", "sh"), ["show"]),
        (("train", "--overw"), ["--overwrite"]),
        (("train", "--recipe", "quickstart-"), ["quickstart-caption"]),
        (("eval", "x", "--recipe", "hleg/intent"), ["hleg/intentonomy"]),
        (("recipes", "show", "salgl/coco"), ["salgl/coco"]),
        (("download", "voc2007", "intento"), ["intentonomy"]),
        (("embed", "labels", "cu"), ["cub"]),
        (("debug", "data", "hleg/intent"), ["hleg/intentonomy"]),
        (("visualize", "le"), ["levels"]),
        (("init", "x", "--method", "s"), ["salgl", "sgre"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_names_are_completed(words: tuple[str, ...], offered: list[str]):
    assert completed("hlcli", *words)[: len(offered)] == offered


def test_every_kind_of_figure_is_offered():
    assert completed("hlcli", "visualize", "") == [kind.name for kind in KINDS]


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef hlcli"), ("fish", "complete --command hlcli")])
def test_other_shells_get_their_script(shell: str, sign: str):
    told = {"_HLCLI_COMPLETE": f"source_{shell}"}
    assert sign in CliRunner().invoke(app, [], prog_name="hlcli", env=told).stdout


def test_bash_completes_with_the_script_that_it_is_given(tmp_path: Path):
    """In bash, with the real program; a torch that cannot be imported shows that none is."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    program = tmp_path / "hlcli"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hlcli "$@"\n')
    program.chmod(0o755)
    environment = program_environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environment['PYTHONPATH']}"
    script = """
        eval "$(_HLCLI_COMPLETE=source_bash hlcli)"
        COMP_WORDS=(hlcli train --recipe hleg/) COMP_CWORD=3
        _hlcli_completion hlcli
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert "hleg/intentonomy" in done.stdout.splitlines(), done
    assert all(line.startswith("hleg/") for line in done.stdout.splitlines())
