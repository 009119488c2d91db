from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_server import Fault, FaultyServer, without_proxies  # noqa: F401

from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import fetch_file

CONTENT = random.Random(7).randbytes(300_000)

CHILD = """
import sys
from pathlib import Path
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import fetch_file
with Session() as session:
    fetch_file([sys.argv[1]], Path(sys.argv[2]), session=session)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_transfer_goes_on_where_it_was(tmp_path):
    target, part = tmp_path / "file.bin", tmp_path / "file.bin.part"
    with FaultyServer() as server:
        server.files["/file.bin"] = CONTENT
        server.faults["/file.bin"] = [Fault(trickle=(20_000, 0.1))]
        command = [sys.executable, "-c", CHILD, server.url("/file.bin"), str(target)]
        child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])})
        while not (part.exists() and part.stat().st_size >= 60_000):
            assert child.poll() is None
            time.sleep(0.01)
        child.kill()
        child.wait()
        have = part.stat().st_size
        assert not target.exists()
        assert 0 < have < len(CONTENT)
        server.log.clear()
        with Session() as session:
            fetch_file([server.url("/file.bin")], target, session=session)
        assert [(entry.status, entry.headers["Range"]) for entry in server.log] == [(206, f"bytes={have}-")]
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]
