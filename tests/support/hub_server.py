"""A stand-in for the Hugging Face hub: makes repositories, takes commits, gives their files, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_secret"


class Hub:
    """What the hub holds: files by repository; and what it was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.messages: list[str] = []
        self.asked: list[str] = []

    def commit(self, repository: str) -> str:
        """The id of the newest version."""
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in self.files[repository].items()}
        return hashlib.sha1(json.dumps(sums).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.asked.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            self._answer(200, {"files": files})
        elif "/commit/" in self.path:
            self._take_commit("/".join(self.path.split("/")[3:5]), body)
        else:
            self._answer(200, {})

    def _create(self, asked: dict[str, Any]) -> None:
        repository = f"{asked['organization']}/{asked['name']}"
        if repository in self.hub.files:
            self._answer(409, {"error": "You already created this model repo", "url": self._page(repository)})
            return
        self.hub.files[repository] = {}
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(repository)
        self._answer(200, {"url": self._page(repository)})

    def _take_commit(self, repository: str, body: bytes) -> None:
        for row in map(json.loads, body.decode().splitlines()):
            if row["key"] == "header":
                self.hub.messages.append(row["value"]["summary"])
            elif row["key"] == "file":
                self.hub.files[repository][row["value"]["path"]] = base64.b64decode(row["value"]["content"])
        commit = self.hub.commit(repository)
        page = f"{self._page(repository)}/commit/{commit}"
        self._answer(200, {"success": True, "commitOid": commit, "commitUrl": page, "hookOutput": ""})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        parts = self.path.partition("?")[0].strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        repository = "/".join(parts[2:4] if is_api else parts[:2])
        files = self.hub.files.get(repository)
        if files is None:
            self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif is_api and parts[4:5] == ["tree"]:
            sums = {name: hashlib.sha1(data).hexdigest() for name, data in files.items()}
            rows = [{"type": "file", "oid": sums[name], "size": len(files[name]), "path": name} for name in files]
            self._answer(200, rows)
        elif is_api:
            siblings = [{"rfilename": name} for name in files]
            self._answer(200, {"id": repository, "sha": self.hub.commit(repository), "siblings": siblings})
        else:
            self._give_file(repository, files, "/".join(parts[4:]))

    def _give_file(self, repository: str, files: dict[str, bytes], name: str) -> None:
        if name not in files:
            self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        etag = f'"{hashlib.sha1(files[name]).hexdigest()}"'
        self._answer(200, files[name], {"ETag": etag, "X-Repo-Commit": self.hub.commit(repository)})

    def _page(self, repository: str) -> str:
        return f"{self.hub.address}/{repository}"

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        is_file = isinstance(content, bytes)
        data = content if is_file else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if is_file else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on this machine, for as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
