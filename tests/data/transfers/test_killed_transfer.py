"""Programs that are killed: what is there is right, and the next run fetches only what is missing."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_files import make_tar
from faulty_server import Fault, FaultyServer, without_proxies  # noqa: F401
from local_program import archive_list
from warm_programs import WarmProgram

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
RANDOM = random.Random(7)
IMAGES = {f"kit/images/{i}.jpg": RANDOM.randbytes(100_000) for i in range(6)}
KIT = make_tar(IMAGES)
SLOW = Fault(trickle=(10_000, 0.02))


def final_files(folder: Path) -> dict[str, bytes]:
    """Files outside hidden folders and the folder of archives."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in paths.items() if not name.startswith((".", "archives/"))}


def downloads(place: Path, archives: dict[str, bytes], *, published: bool = True) -> Callable[[], WarmProgram]:
    """Starts downloads of these archives to `data`."""
    document = archive_list(place, archives, published=published)
    words = ("download", "voc2007", "--accept-licence", "--root", place / "data")
    return lambda: WarmProgram(*words, before=f"import local_program; local_program.use_archives({str(document)!r})")


def kill_when(program: WarmProgram, is_time: Callable[[], bool]) -> None:
    """Kill a program at a moment."""
    while not is_time():
        assert program.is_running(), program.errors()
        time.sleep(0.002)
    program.send(signal.SIGKILL)
    program.wait()


@pytest.mark.parametrize(("published", "kills"), [(True, 3), (False, 1)], ids=["sum", "no-sum"])
def test_a_transfer_killed_again_and_again_fetches_every_byte_once(tmp_path, published, kills):
    folder = tmp_path / "data" / "voc2007"
    part = folder / "archives" / "kit.tar.part"
    ends = sorted(random.Random(20).sample(range(10_000, len(KIT) - 200_000), kills))

    def have() -> int:
        return part.stat().st_size if part.exists() else 0

    with FaultyServer() as server:
        server.files["/kit.tar"] = KIT
        server.always["/kit.tar"] = SLOW
        start = downloads(tmp_path, {server.url("/kit.tar"): KIT}, published=published)
        expected = [0]
        for end in ends:
            kill_when(start(), lambda end=end: len(server.log) == len(expected) and have() >= end)
            assert end <= have() < len(KIT)
            assert final_files(folder) == {}
            expected.append(have())
        server.always.clear()
        done = start().wait()
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
        start = downloads(tmp_path, {server.url("/kit.tar"): kit})
        kill_when(start(), lambda: (hidden / "100.jpg").exists())
        assert hidden.is_dir()
        assert final_files(folder) == {}
        server.log.clear()
        done = start().wait()
    assert done.returncode == 0, done.stderr
    assert final_files(folder) == many
    assert server.log == []
    assert not hidden.exists()
