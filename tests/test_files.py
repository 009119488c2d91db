"""Files and folders are whole or not there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hlcli import files
from hlcli.errors import HlcliError, named
from hlcli.files import recover_folder, remove_leftovers, sha256_of, whole_file, whole_folder, write_json


def _fail_half_way(block: AbstractContextManager) -> None:
    with block as opened:
        if isinstance(opened, Path):
            write_json(opened / "a.json", {"version": 2})
        else:
            opened.write("new")
        raise RuntimeError("half way")


def test_failing_block_leaves_old_file_and_no_rubbish(tmp_path: Path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        _fail_half_way(whole_file(target))
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_unwritable_place_is_our_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HlcliError, match="cannot be written"), whole_file(tmp_path / "file" / "below.txt") as handle:
        handle.write("x")


def test_folder_replaces_the_old_one_only_when_whole(tmp_path: Path):
    target = tmp_path / "model"
    with whole_folder(target) as building:
        write_json(building / "a.json", {"version": 1})
    with pytest.raises(RuntimeError, match="half way"):
        _fail_half_way(whole_folder(target))
    assert '"version": 1' in (target / "a.json").read_text()
    assert os.listdir(tmp_path) == ["model"]


def test_two_at_once_do_not_mix_their_files_in_one_folder(tmp_path: Path):
    target = tmp_path / "model"
    with whole_folder(target) as building:
        (building / "weights").write_text("first")
        with pytest.raises(HlcliError, match=r"Another process writes .*model\."), whole_folder(target) as other:
            (other / "weights").write_text("second")
        (building / "description").write_text("first")
    assert {path.name: path.read_text() for path in target.iterdir()} == {"weights": "first", "description": "first"}
    assert os.listdir(tmp_path) == ["model"]


def test_a_reader_does_not_finish_what_another_process_is_finishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target, rename = tmp_path / "model", os.rename
    with whole_folder(target) as building:
        (building / "value").write_text("old")
    monkeypatch.setattr(files, "_PAUSE", 0.001)
    seen = []

    def renamed(*places: Path) -> None:
        rename(*places)
        seen.append(target.exists())
        recover_folder(target)

    monkeypatch.setattr(os, "rename", renamed)
    with whole_folder(target) as building:
        (building / "value").write_text("new")
    assert seen == [True, False, True]
    assert (target / "value").read_text() == "new"
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_folder_survives_a_kill_between_renames(tmp_path: Path, renames: int):
    target = tmp_path / "model"
    with whole_folder(target) as building:
        (building / "value").write_text("old")
    program = textwrap.dedent(
        f"""
        import os, signal, sys
        from pathlib import Path
        from hlcli import files
        real, count = os.rename, 0
        def rename(a, b):
            global count
            if count == {renames}:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            real(a, b)
        os.rename = rename
        with files.whole_folder(Path(sys.argv[1])) as building:
            (building / "value").write_text("new")
        """
    )
    code = subprocess.run([sys.executable, "-c", program, str(target)]).returncode
    assert code == (-signal.SIGKILL if renames < 3 else 0)
    recover_folder(target)
    assert (target / "value").read_text() == ("old" if renames == 0 else "new")
    with whole_folder(target) as building:
        (building / "value").write_text("newer")
    assert os.listdir(tmp_path) == ["model"]
    assert (target / "value").read_text() == "newer"


def test_full_disk_behind_another_error_is_still_ours(tmp_path: Path):
    def write(block: AbstractContextManager) -> None:
        with block:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            finally:
                raise RuntimeError("unexpected pos 505664 vs 505560")  # what torch.save makes of it

    with pytest.raises(HlcliError, match="No space left on device"):
        write(whole_file(tmp_path / "a.pt", "wb"))
    assert os.listdir(tmp_path) == []


def test_the_sum_of_a_file_is_the_published_one(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "0"), (5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4 and 1 more"), (2000, "0, 1, 2, 3, 4 and 1,995 more")],
)
def test_five_items_are_named_and_the_others_counted(count: int, text: str):
    assert named(range(count)) == text


def test_a_file_that_was_killed_between_its_two_names_is_replaced_and_leaves_nothing(tmp_path: Path):
    path, former = tmp_path / "a", tmp_path / "b"
    path.write_text("first")
    former.hardlink_to(path)
    with whole_file(path, former=former) as handle:
        handle.write("second")
    assert (path.read_text(), former.read_text()) == ("second", "first")
    assert sorted(tmp_path.iterdir()) == [path, former]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_file_that_is_replaced_stays_under_another_name(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path, former = tmp_path / "a", tmp_path / "b"
    for text in ("first", "second", "third"):
        with whole_file(path, former=former) as handle:
            handle.write(text)
    assert (path.read_text(), former.read_text()) == ("third", "second")
    with pytest.raises(RuntimeError, match="half way"):
        _fail_half_way(whole_file(path, former=former))
    assert (path.read_text(), former.read_text()) == ("third", "second")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(tmp_path: Path):
    names = [".a.pt.tmp12", "below/.b.json.tmp3", ".keep", "a.tmp12", ".c.tmp", ".d.tmpx", "below/.e.tmp4.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        names[2:]
    )
