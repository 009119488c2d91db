"""A local HTTP server that misbehaves on demand and remembers what it was asked."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from hlcli.data.transfers.patience import Clock


@dataclass(frozen=True)
class Fault:
    """How one answer goes wrong."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    drop_after: int | None = None
    ignore_range: bool = False
    ignore_if_range: bool = False
    refuse_if_range: bool = False
    wrong_content_range: bool = False
    gzip: bool = False
    trickle: tuple[int, float] | None = None


GOOD = Fault()


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    status: int
    first: int


class FakeClock(Clock):
    """Waits take no time; they are counted, and time moves on by them."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return super().now() + sum(self.waits)

    def sleep(self, seconds: float) -> None:
        self.check()
        with self._lock:
            self.waits.append(seconds)


class FaultyServer:
    """`files` are served by path; `faults[path]` are used up one per request, `always[path]` stay."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.log: list[Asked] = []
        self.busiest = 0
        self._busy = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                with server._lock:
                    server._busy += 1
                    server.busiest = max(server.busiest, server._busy)
                try:
                    server._answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with server._lock:
                        server._busy -= 1

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: clients that go away are part of the tests."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def asked(self, path: str) -> list[Asked]:
        return [entry for entry in self.log if entry.path.split("?")[0] == path]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        with self._lock:
            queue = self.faults[path]
            fault = queue.pop(0) if queue else self.always.get(path, GOOD)
        content = self.files.get(path, b"")
        status = 404 if path not in self.files else 200
        headers = {
            "ETag": self.etags.get(path, f'"{len(content)}"'),
            "Content-Type": self.types.get(path, "image/jpeg"),
        }
        first = self._first_byte(request, headers["ETag"], fault)
        if fault.status is not None:
            status, content, first = fault.status, fault.body or b"", 0
        elif fault.body is not None:
            content, first = fault.body, 0
        elif status == 200 and first and first >= len(content):
            status, headers["Content-Range"], content, first = 416, f"bytes */{len(content)}", b"", 0
        elif status == 200 and first:
            shown = first + 7 if fault.wrong_content_range else first
            status, headers["Content-Range"] = 206, f"bytes {shown}-{len(content) - 1}/{len(content)}"
        body = content[first:]
        if fault.gzip:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self.log.append(Asked(request.path, dict(request.headers), status, first))
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), **fault.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        self._send(request, body, fault)

    @staticmethod
    def _first_byte(request: BaseHTTPRequestHandler, etag: str, fault: Fault) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if match is None or fault.ignore_range:
            return 0
        condition = request.headers.get("If-Range")
        changed = condition is not None and condition != etag and not fault.ignore_if_range
        return 0 if changed or (condition and fault.refuse_if_range) else int(match[1])

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> None:
        if fault.drop_after is not None and fault.drop_after < len(body):
            request.wfile.write(body[: fault.drop_after])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
        elif fault.trickle is not None:
            step, delay = fault.trickle
            for start in range(0, len(body), step):
                request.wfile.write(body[start : start + step])
                request.wfile.flush()
                time.sleep(delay)
        else:
            request.wfile.write(body)


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not stand between a test and its server."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
