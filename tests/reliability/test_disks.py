"""Runs on disks that are full, or cannot be written: one message, the former state whole, and on with the run."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import disks_in_process
import pytest
from effort import IS_LONG
from killed_runs import assert_same_end
from tiny import tiny_recipe
from warm_programs import run_warm

import hlcli
from hlcli.errors import HlcliError, LostProcessError
from hlcli.runs import Run, log_to_file
from hlcli.training.ending import note_failure

_RECIPE = tiny_recipe("data.num_train=16", "data.num_val=8", "train.checkpoint_every_steps=1",
                      "train.log_every_steps=1", "train.keep_best_state=true")  # fmt: skip
_SIZES = range(4, 27_000, 200) if IS_LONG else (8, 8000, 18_000)
"""Kilobytes: full with the first files, with the first state, with the best one."""

_PROGRAM = """
import json, disks_in_process as s, sys
from pathlib import Path
folder, sizes = Path({folder!r}), {sizes!r}
disk, codes = folder / "disk", {{}}
s.enter()
for size in sizes:
    s.mount(disk, size)
    words = ["train", "--recipe", str(folder / "recipe.yaml"), "--run", str(disk / "run")]
    first = s.command(words, folder / f"{{size}}.first")
    held = sorted(str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file())
    s.remount(disk, "size=200m")
    begun = (disk / "run" / "recipe.yaml").is_file()
    second = s.command([*words, *(["--resume"] if begun else [])], folder / f"{{size}}.second")
    s.take_away(disk, folder / f"{{size}}.disk")
    codes[size] = [first, second, held]
(folder / "codes.json").write_text(json.dumps(codes))
sys.exit(0)
"""


def test_a_disk_that_is_full_at_any_write_costs_a_message_and_no_work(tmp_path: Path) -> None:
    if reason := disks_in_process.may_mount():
        pytest.skip(reason)
    whole = hlcli.train(_RECIPE, tmp_path / "whole")
    (tmp_path / "recipe.yaml").write_text(_RECIPE.to_yaml())
    done = run_warm(before=_PROGRAM.format(folder=str(tmp_path), sizes=list(_SIZES)))
    assert done.returncode == 0, done.stderr
    places = set()
    for size, (first, second, held) in json.loads((tmp_path / "codes.json").read_text()).items():
        said = (tmp_path / f"{size}.first").read_text()
        assert second == 0, (tmp_path / f"{size}.second").read_text()
        assert_same_end(whole, Run(tmp_path / f"{size}.disk" / "run"))
        if first == 0:
            continue
        assert first == 1, said
        assert "Traceback" not in said
        (message,) = [line for line in said.splitlines() if line.startswith("error:")]
        assert re.fullmatch(r"error: \S+ cannot be written: .*(No space left on device|os error 28).*", message), (
            message
        )
        assert not [path for path in held if re.search(r"\.tmp\d+$", path)], held
        places.add(message.split()[1].rpartition("/run")[2])
    print(f"{len(_SIZES)} sizes of disk; full at {sorted(places)}")  # noqa: T201
    assert len(places) == 3 or IS_LONG


def test_a_full_disk_does_not_hide_why_a_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that writes the status for a first process that was killed."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = Run(tmp_path / "run")
    run.lock()
    run.write_status("running", exit_code=None)
    run.unlock()
    second: Any = SimpleNamespace(is_main_process=False)
    monkeypatch.setattr(os, "replace", refuse)
    note_failure(second, run, LostProcessError("Process 1 has lost another one."))
    assert not run.is_ours
    assert "No space left on device. It still says 'running'." in caplog.text


_READ_ONLY = """
import disks_in_process as s, sys
from pathlib import Path
folder = Path({folder!r})
disk, codes = folder / "disk", []
s.enter()
s.mount(disk, 100_000)
words = ["train", "--recipe", str(folder / "recipe.yaml"), "--run", str(disk / "run")]
codes.append(s.command(words, folder / "first"))
s.remount(disk, "ro")
codes.append(s.command([*words, "--resume"], folder / "second"))
codes.append(s.command([*words[:-1], str(disk / "other")], folder / "third"))
print(codes)
sys.exit(0)
"""


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    if reason := disks_in_process.may_mount():
        pytest.skip(reason)
    (tmp_path / "recipe.yaml").write_text(_RECIPE.to_yaml())
    done = run_warm(before=_READ_ONLY.format(folder=str(tmp_path)))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[0, 1, 1]"), done.stderr
    for name, place in (("second", "run"), ("third", "other")):
        said = (tmp_path / name).read_text()
        assert said == f"error: {tmp_path / 'disk' / place} cannot be written: Read-only file system.\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that is about to write to a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    run = Run(tmp_path / "run")
    run.start(_RECIPE, "cpu", 1)
    return run


def test_a_line_of_metrics_that_does_not_fit_is_our_error(run: Run) -> None:
    run.metrics_file.unlink()
    run.metrics_file.symlink_to("/dev/full")
    with pytest.raises(HlcliError, match=r"metrics\.jsonl cannot be written: No space left on device\."):
        run.log_event({"event": "step"})


def test_a_log_that_does_not_fit_is_said_once_and_stops_nothing(
    run: Run, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    (run.folder / "log.txt").symlink_to("/dev/full")
    log_to_file(run.folder / "log.txt")
    with caplog.at_level(logging.INFO):
        for number in range(3):
            logging.getLogger("hlcli.x").info("Line %d.", number)
    said = [message for message in caplog.messages if "log.txt" in message]
    assert len(said) == 1
    assert "cannot be written and is not continued: [Errno 28] No space left on device" in said[0]
    assert [message for message in caplog.messages if message.startswith("Line")] == ["Line 0.", "Line 1.", "Line 2."]
    assert "Traceback" not in capfd.readouterr().err


def test_a_status_that_does_not_fit_hides_no_other_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Run, state: str, **_: object) -> None:
        if state == "failed":
            raise HlcliError("status.json cannot be written: No space left on device.")

    def fail(*_: object) -> None:
        raise HlcliError("The first message.")

    monkeypatch.setattr(Run, "write_status", refuse)
    monkeypatch.setattr("hlcli.training.loop._train_epoch", fail)
    with pytest.raises(HlcliError, match=r"The first message\."):
        hlcli.train(_RECIPE, tmp_path / "run")
    assert "status.json cannot be written: No space left on device. It still says ''." in caplog.messages
