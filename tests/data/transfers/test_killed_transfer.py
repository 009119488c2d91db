"""Programs that are killed: what is there is right, and the next run fetches only what is missing."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_files import make_tar
from faulty_server import Fault, FaultyServer, without_proxies  # noqa: F401
from local_program import local_command, local_environment

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
RANDOM = random.Random(7)
IMAGES = {f"kit/images/{i}.jpg": RANDOM.randbytes(100_000) for i in range(6)}
KIT = make_tar(IMAGES)
SLOW = Fault(trickle=(10_000, 0.02))


def final_files(folder: Path) -> dict[str, bytes]:
    """Files outside hidden folders and the folder of archives."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if not name.startswith((".", "archives/"))}


def kill_when(command: list[str], is_time: Callable[[], bool]) -> None:
    """Start a program and kill it at a moment."""
    child = subprocess.Popen(command, env=local_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    with child.stderr:
        while not is_time():
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.002)
        child.kill()
        child.wait()


@pytest.mark.parametrize(("published", "kills"), [(True, 5), (False, 1)], ids=["sum", "no-sum"])
def test_a_transfer_killed_again_and_again_fetches_every_byte_once(tmp_path, published, kills):
    folder = tmp_path / "data" / "voc2007"
    part = folder / "archives" / "kit.tar.part"
    ends = sorted(random.Random(20).sample(range(10_000, len(KIT) - 200_000), kills))

    def have() -> int:
        return part.stat().st_size if part.exists() else 0

    with FaultyServer() as server:
        server.files["/kit.tar"] = KIT
        server.always["/kit.tar"] = SLOW
        words = ("download", "voc2007", "--accept-licence", "--root", tmp_path / "data")
        command = local_command(tmp_path, {server.url("/kit.tar"): KIT}, *words, published=published)
        expected = [0]
        for end in ends:
            kill_when(command, lambda end=end: len(server.log) == len(expected) and have() >= end)
            assert end <= have() < len(KIT)
            assert final_files(folder) == {}
            expected.append(have())
        server.always.clear()
        done = subprocess.run(command, env=local_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert final_files(folder) == IMAGES
    assert [entry.wanted for entry in server.log] == expected
    assert [entry.status for entry in server.log] == [200] + [206] * len(ends)
    assert not part.exists()


def test_an_unpacking_that_is_killed_begins_again_without_a_request(tmp_path):
    many = {f"kit/images/{i}.jpg": b"%d" % i for i in range(2500)}
    kit = make_tar(many, "gz")
    folder = tmp_path / "data" / "voc2007"
    hidden = folder / ".kit.tar.unpacking" / "kit" / "images"
    with FaultyServer() as server:
        server.files["/kit.tar"] = kit
        words = ("download", "voc2007", "--accept-licence", "--root", tmp_path / "data")
        command = local_command(tmp_path, {server.url("/kit.tar"): kit}, *words)
        kill_when(command, lambda: (hidden / "100.jpg").exists())
        assert hidden.is_dir()
        assert final_files(folder) == {}
        server.log.clear()
        done = subprocess.run(command, env=local_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert final_files(folder) == many
    assert server.log == []
    assert not hidden.exists()
