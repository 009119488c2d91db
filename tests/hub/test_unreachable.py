"""A network without a hub behind it: nothing listens, the connection drops, or somebody else answers with a page."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from faulty_server import without_proxies  # noqa: F401
from hub_server import TOKEN
from tiny_captioner import write_captioner

from hlcli.errors import HlcliError
from hlcli.hub.names import local_model
from hlcli.hub.pushing import push

PAGE = b"<html>Welcome to our hotel</html>"


class _Dropping(BaseHTTPRequestHandler):
    """Ends every connection without a word."""

    def handle(self) -> None:
        self.rfile.readline()


class _Hotel(BaseHTTPRequestHandler):
    """Answers everything with a page."""

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    do_POST = do_HEAD = do_GET


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that can be pushed."""
    return write_captioner(tmp_path_factory.mktemp("work") / "model")


@pytest.mark.parametrize(
    ("handler", "reason"), [(None, "refused|cannot be reached"), (_Dropping, "disconnect"), (_Hotel, "somebody else")]
)
def test_a_hub_that_cannot_be_reached_is_said_in_words(
    handler: type[BaseHTTPRequestHandler] | None, reason: str, model: Path, tmp_path: Path, monkeypatch
):
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler or BaseHTTPRequestHandler)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    if handler is None:
        server.server_close()  # nothing listens there any more
    else:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for work in (lambda: push(model, "jane/words"), lambda: local_model("hf://jane/words", ["model.json"])):
            with pytest.raises(HlcliError, match=rf"jane/words.*({reason})") as caught:
                work()
            assert (caught.value.exit_code, "Check the network (HTTPS_PROXY" in str(caught.value)) == (1, True)
    finally:
        if handler is not None:
            server.shutdown()
            server.server_close()
