"""The tutorials, run as they are written: every command in its order, each with the files and the output it promises.

Only the amount of work is smaller (`SMALLER`). What notes below blocks say: `page_commands.py`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from doc_pages import ROOT, Block, blocks, shell_lines
from page_commands import check_files, run_block

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
TINY_DRAWINGS = "--set train.epochs=1 --set data.num_train=64 --set data.num_val=16 --set data.num_test=16"
SMALLER = {
    "hlcli train --recipe quickstart-caption": f"{TINY_DRAWINGS} --set eval.every_epochs=1",
    "hlcli train --recipe quickstart": f"{TINY_DRAWINGS} --set eval.every_epochs=1",
    "hlcli train --recipe quickstart --run runs/shorter": f"{TINY_DRAWINGS} --set train.epochs=2",
    "hlcli train --recipe mine": "--set train.epochs=1",
    "hlcli compare": "--resamples 20",
}
"""What is added to commands that begin so; of several beginnings the longest counts."""
FEWER = {"num_train=1200": "num_train=80", "num_test=60": "num_test=12"}
"""What Python code draws less of."""
OF_ALL_THE_WORK = ("every label has positives.", "0 errors, 0 warnings", "1 error, 0 warnings")
"""Parts of quoted lines that need as many pictures as the page has."""
NO_TEST_SPLIT = {"test"}
"""Words that are missing where a table has fewer than 500 photos."""


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_works_as_it_is_written(page: Path, work_folder: Path):
    done, said = 0, None
    for block in blocks(page):
        if block.language == "python":
            run_python(block)
            said = None
        elif block.language == "" and not block.note.startswith("not run: "):
            said = run_block(block, words_of)
            done += sum(line.startswith("hlcli ") for _, line in shell_lines(block))
        elif block.language == "text" and said is not None:  # else it is of a file
            assert lines_not_said(block, said) == [], f"{page.name}:{block.line}\n{said}"
    assert done >= 10


def run_python(block: Block) -> None:
    """Run Python code of a page, with fewer drawings."""
    code = block.code
    for much, less in FEWER.items():
        code = code.replace(much, less)
    lines_before = "\n" * (block.line - 1)  # so that a traceback names the line of the page
    exec(compile(lines_before + code, str(block.page), "exec"), {})
    check_files(block)


def words_of(line: str) -> list[str]:
    """The words after `hlcli` of a command line, with what is added."""
    begins = [begin for begin in SMALLER if line.startswith(begin)]
    return shlex.split(f"{line} {SMALLER[max(begins, key=len)]}" if begins else line, comments=True)[1:]


def lines_not_said(block: Block, said: str) -> list[str]:
    """Quoted lines with a word that the output does not have. Numbers may differ, and lines of files (JSON) too."""
    quoted = [] if block.code.startswith("{") else block.code.splitlines()
    wanted = [line for line in quoted if not any(part in line for part in OF_ALL_THE_WORK)]
    return [line for line in wanted if not words(line) - NO_TEST_SPLIT <= words(said)]


def words(text: str) -> set[str]:
    """Those of a text, without the s of plurals."""
    return {word.rstrip("s") for word in re.findall(r"[^\W\d_][\w/=-]*", text)}


def test_words_that_a_page_makes_up_are_found():
    block = Block(Path("a.md"), 1, "text", "mAP   0.9\nmapp  0.9\n…\n", "")
    assert lines_not_said(block, "| mAP | 0.1 |") == ["mapp  0.9"]


def test_what_is_not_run_says_why():
    left_out = [block for page in TUTORIALS for block in blocks(page) if block.note.startswith("not run: ")]
    assert [block.note for block in left_out] == [
        "not run: it fetches published weights",
        "not run: it needs an account",
    ]
