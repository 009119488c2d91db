"""A local HTTP server that misbehaves on demand and remembers what it was asked."""

from __future__ import annotations

import gzip
import os
import re
import socket
import ssl
import struct
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hlcli.data.transfers.patience import Clock


@dataclass(frozen=True)
class Fault:
    """How one answer goes wrong.

    Args:
        status: this one, with `body` or nothing.
        headers: sent besides or instead; None leaves one out.
        body: sent whole, whatever was asked for.
        drop_after: bytes of the body after which the connection ends; more than there are: at the end of the body.
        reset: the connection does not end in order, but is torn down.
        raw: sent instead of an answer.
        delay: seconds of silence before the answer.
        ignore_range: the whole file for a part of it.
        ignore_if_range: a part of a file that has changed.
        refuse_if_range: the whole file for `If-Range`, though nothing has changed.
        wrong_content_range: another place than that of the bytes.
        gzip: the body compressed.
        chunked: the body in a chunk, without a length; cut short, it lacks the mark of its end.
        trickle: so many bytes at a time, and seconds between.
    """

    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    drop_after: int | None = None
    reset: bool = False
    raw: bytes | None = None
    delay: float = 0.0
    ignore_range: bool = False
    ignore_if_range: bool = False
    refuse_if_range: bool = False
    wrong_content_range: bool = False
    gzip: bool = False
    chunked: bool = False
    trickle: tuple[int, float] | None = None


GOOD = Fault()


class Asked(NamedTuple):
    """A request, the status it was answered with, and the first byte that was sent."""

    path: str
    headers: dict[str, str]
    status: int
    first: int

    @property
    def wanted(self) -> int:
        """The first byte that was asked for."""
        return int(self.headers.get("Range", "bytes=0-")[len("bytes=") : -1])


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
    """`files` are served by path; `faults[path]` are used up one per request, `always[path]` stay.

    With a certificate (a PEM file that has the key too) it speaks https.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.log: list[Asked] = []
        self.busiest = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._scheme = "http" if certificate is None else "https"
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes; the second would wait 40 ms

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
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def url(self, path: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}{path}"

    def asked(self, path: str) -> list[Asked]:
        return [entry for entry in self.log if entry.path.split("?")[0] == path]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        with self._lock:
            queue = self.faults[path]
            fault = queue.pop(0) if queue else self.always.get(path, GOOD)
        self._closing.wait(fault.delay)
        if fault.raw is not None:
            self.log.append(Asked(request.path, dict(request.headers), 0, 0))
            request.wfile.write(fault.raw)
            request.close_connection = True
            return
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
        headers |= {"Transfer-Encoding": "chunked"} if fault.chunked else {"Content-Length": str(len(body))}
        for name, value in {**headers, **fault.headers}.items():
            if value is not None:
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

    def _send(self, request: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> None:
        cut = body[: fault.drop_after]
        if fault.chunked:
            whole = fault.drop_after is None
            cut = b"%x\r\n%s\r\n%s" % (len(cut), cut, b"0\r\n\r\n" if whole else b"")
        if fault.trickle is None:
            request.wfile.write(cut)
        else:
            step, delay = fault.trickle
            for start in range(0, len(cut), step):
                request.wfile.write(cut[start : start + step])
                request.wfile.flush()
                self._closing.wait(delay)
        if fault.drop_after is None:
            return
        request.wfile.flush()
        request.close_connection = True
        if fault.reset:
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(request.connection.detach())
        else:
            request.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not stand between a test and its server."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
