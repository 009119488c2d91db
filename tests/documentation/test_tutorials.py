"""The tutorials, run as they are written: every command in its order, each with the files that it promises.

Only the amount of work is smaller (`SMALLER`). Below a block a page may say, in a comment that readers do not see:
`<!-- makes: FILE… -->`, `<!-- exit code: N -->` of its last command, or `<!-- not run: reason -->`.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from command_line import run
from doc_pages import ROOT, Block, blocks, shell_lines

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
TINY_DRAWINGS = "--set train.epochs=1 --set data.num_train=64 --set data.num_val=16 --set data.num_test=16"
SMALLER = {
    "hlcli train --recipe quickstart-caption": f"{TINY_DRAWINGS} --set eval.every_epochs=1",
    "hlcli train --recipe quickstart": f"{TINY_DRAWINGS} --set eval.every_epochs=1",
    "hlcli train --recipe mine": "--set train.epochs=1",
    "hlcli compare": "--resamples 20",
}
"""What is added to commands that begin so."""
FEWER = {"num_train=1200": "num_train=80", "num_test=60": "num_test=12"}
"""What Python code draws less of."""


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_works_as_it_is_written(page: Path, work_folder: Path):
    done = 0
    for block in blocks(page):
        if block.language == "python":
            run_python(block)
        elif block.language == "" and not block.note.startswith("not run: "):
            done += run_shell(block)
        else:
            continue
        if block.note.startswith("makes: "):
            missing = [file for file in block.note.split()[1:] if not (work_folder / file).is_file()]
            assert not missing, f"{page.name}:{block.line}: {missing}"
    assert done >= 10


def run_python(block: Block) -> None:
    """Run Python code of a page, with fewer drawings."""
    code = block.code
    for much, less in FEWER.items():
        code = code.replace(much, less)
    lines_before = "\n" * (block.line - 1)  # so that a traceback names the line of the page
    exec(compile(lines_before + code, str(block.page), "exec"), {})


def run_shell(block: Block) -> int:
    """Run the commands of a block; how many of them were ours."""
    lines = [line for line in shell_lines(block) if not line[1].startswith("pip install ")]
    ours = 0
    for number, line in lines:
        wanted = int(block.note.removeprefix("exit code: ")) if block.note.startswith("exit code: ") else 0
        wanted = wanted if (number, line) == lines[-1] else 0
        if line.startswith("hlcli "):
            ended = run(*shlex.split(smaller(line), comments=True)[1:])
            code, said, ours = ended.exit_code, ended.output, ours + 1
        else:
            shell = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
            code, said = shell.returncode, shell.stdout + shell.stderr
        assert code == wanted, f"{block.page.name}:{number}: {line}\nended with {code}\n{said}"
    return ours


def smaller(line: str) -> str:
    """A command with what is added to it; of several beginnings the longest counts."""
    begins = [begin for begin in SMALLER if line.startswith(begin)]
    return f"{line} {SMALLER[max(begins, key=len)]}" if begins else line


def test_what_is_not_run_says_why():
    left_out = [block for page in TUTORIALS for block in blocks(page) if block.note.startswith("not run: ")]
    assert [block.note for block in left_out] == [
        "not run: it fetches published weights",
        "not run: it needs an account",
    ]
