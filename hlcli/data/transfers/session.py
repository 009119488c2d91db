"""One HTTP client for all requests of a command: manners, time-outs, and what the answers mean.

Every failure becomes one of three things: `Transient` (try again), `Refused` (this URL will not do), or
`HostUnavailable` (no URL of this host will do).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hlcli.data.transfers.patience import Clock, HostGate, HostUnavailable, Patience, retry_after_seconds
from hlcli.errors import InputError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_FORBIDS_WHEN_BUSY = ("flickr.com", "staticflickr.com")
"""Hosts that say 403 to those who ask too often; what is gone has other answers there."""

_MOST_REDIRECTS = 20


class Transient(Exception):
    """Something that may go better next time."""


class Refused(Exception):
    """A URL that gives nothing useful, now or in a minute.

    Args:
        status: the HTTP status, if there was an answer.
        attempts: how often the URL was asked.
        final_url: where redirects led.
        is_gone: whether it will give nothing tomorrow either, whatever the status says.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        attempts: int = 1,
        final_url: str | None = None,
        is_gone: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.attempts = attempts
        self.final_url = final_url
        self.is_gone = is_gone


class _Busy(Exception):
    """The host of `url`, where redirects may have led, wants to be left alone for a while; `status` is its answer."""

    def __init__(self, seconds: float, status: int, url: str) -> None:
        super().__init__(f"busy for {seconds} s")
        self.seconds = seconds
        self.status = status
        self.url = url


class Session:
    """Sends requests; a context manager.

    The environment says which proxies are used (HTTPS_PROXY, NO_PROXY…) and which certificates are trusted
    (SSL_CERT_FILE, SSL_CERT_DIR, else REQUESTS_CA_BUNDLE).

    Args:
        patience: numbers of the retry policy.
        clock: time; give another one in tests.
        per_host: most requests to one host at the same time.
        per_second: most new requests to one host in a second.
        proxy: URL of a proxy for all requests, in place of the environment's.

    Raises:
        InputError: when a proxy or the certificates cannot be used.
    """

    def __init__(
        self,
        patience: Patience | None = None,
        clock: Clock | None = None,
        *,
        per_host: int = 8,
        per_second: float = 10.0,
        proxy: str | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self.clock = clock or Clock()
        self._gate = HostGate(
            self.clock,
            per_host=per_host,
            per_second=per_second,
            budget_seconds=self.patience.busy_budget_seconds,
        )
        self._client = _open_client(self.patience, proxy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def persist(self, url: str, attempt: Callable[[], T], progressed: Callable[[], bool] = lambda: False) -> T:
        """Call `attempt` until it succeeds; wait between failures, and for hosts that are busy.

        Args:
            url: what is asked for.
            attempt: one request.
            progressed: whether an attempt that failed brought us nearer all the same; then counting restarts.

        Raises:
            Refused: when patience ends, or at once when trying again is no use.
            HostUnavailable: when the host asks for more time than there is, or fails again and again.
        """
        failures = asked = 0
        answers: int | None = None  # of the busy host until it last said that it is busy
        while True:
            try:
                asked += 1
                result = attempt()
                self._gate.succeeded(url)
                return result
            except _Busy as busy:
                before, answers = answers, self._gate.num_answers(busy.url)
                others_answered = before is not None and before < answers
                self._pause(url, busy, asked, perhaps_alone=busy.status == 403 or others_answered)
            except Refused as refused:
                self._gate.succeeded(url)
                refused.attempts = asked
                raise
            except Transient as error:
                failures = 1 if progressed() else failures + 1
                if failures >= (1 if self._gate.is_doubtful(url) else self.patience.tries):
                    self._gate.gave_up(url, str(error))
                    raise Refused(f"{error} (asked {asked} times)", attempts=asked) from error
                self.clock.sleep(self.patience.wait_seconds(failures))

    def _pause(self, url: str, busy: _Busy, asked: int, *, perhaps_alone: bool) -> None:
        """Leave the busy host alone, and the one that was asked; an address that alone is busy is given up."""
        is_last_try = asked >= self.patience.tries
        refused = Refused(
            f"HTTP {busy.status} (asked {asked} times)", status=busy.status, attempts=asked, final_url=busy.url
        )
        if is_last_try and perhaps_alone:
            raise refused from busy
        try:
            for one in dict.fromkeys((busy.url, url)):
                self._gate.pause(one, busy.seconds, url)
        except HostUnavailable:
            if is_last_try and self._gate.is_paused_for(busy.url, url):
                raise refused from busy
            raise

    @contextmanager
    def get(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Send a GET request; the body of the answer is not read yet.

        Hosts that redirects lead to are asked at their turn; no place at one is held while waiting for another.

        Raises:
            Transient: on network errors and statuses that pass.
            Refused: on all other statuses that are errors, except 416.
        """
        import httpx

        try:
            request = self._client.build_request("GET", url, headers=headers)
            for _ in range(_MOST_REDIRECTS + 1):
                with self._gate.slot(str(request.url)), closing(self._client.send(request, stream=True)) as response:
                    if response.next_request is None:
                        self._judge(response)
                        yield response
                        return
                    self._gate.answered(str(request.url))
                    response.read()
                    request = response.next_request
            raise httpx.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects", request=request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        except httpx.RequestError as error:
            raise Transient(f"{type(error).__name__}: {error}") from error

    def body(self, response: httpx.Response) -> Iterator[bytes]:
        """The bytes of an answer as they come in; a body that hardly moves is given up."""
        since, received = self.clock.now(), 0
        for chunk in response.iter_bytes():
            self.clock.check()
            received += len(chunk)
            yield chunk
            if self.clock.now() - since >= self.patience.stall_seconds:
                if received < self.patience.stall_bytes:
                    raise Transient(f"stalled: {received} bytes in {self.patience.stall_seconds:g} s")
                since, received = self.clock.now(), 0

    def _judge(self, response: httpx.Response) -> None:
        """Raise what a status means, unless it is good or has to do with ranges."""
        status = response.status_code
        if status in (200, 206, 416):
            self._gate.answered(str(response.url))
            return
        reason = f"HTTP {status} {response.reason_phrase}".rstrip()
        if status in (429, 503) or (status == 403 and _forbids_when_busy(response.url.host)):
            asked = retry_after_seconds(response.headers.get("Retry-After"), response.headers.get("Date"))
            raise _Busy(self.patience.busy_seconds if asked is None else asked, status, str(response.url))
        if status == 408 or status >= 500:
            raise Transient(reason)
        self._gate.answered(str(response.url))
        raise Refused(reason, status=status, final_url=str(response.url))


def _forbids_when_busy(host: str) -> bool:
    return any(host == name or host.endswith(f".{name}") for name in _FORBIDS_WHEN_BUSY)


def _open_client(patience: Patience, proxy: str | None) -> httpx.Client:
    """The client of a session.

    Raises:
        InputError: when a proxy or the certificates cannot be used.
    """
    import httpx

    whence = f"--proxy {proxy}" if proxy is not None else "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY"
    try:
        return httpx.Client(
            headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(patience.read_seconds, connect=patience.connect_seconds, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            follow_redirects=False,  # `Session.get` does, so that every host has its turn
            event_hooks={"response": [_refuse_downgrade]},
            proxy=proxy,
            verify=_trusted(),
        )
    except ImportError as error:  # httpx needs a package more for SOCKS
        raise InputError(f"{whence}: {error}".rstrip(".") + ".", "Give the address of an HTTP proxy.") from error
    except (ValueError, httpx.InvalidURL) as error:
        raise InputError(f"{whence}: {error}".rstrip(".") + ".", "Write http://HOST:PORT.") from error


def _trusted() -> Any:
    """What `verify` of httpx takes: it knows SSL_CERT_FILE and SSL_CERT_DIR itself, but not what requests reads.

    Raises:
        InputError: when the file of certificates cannot be read.
    """
    own = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    name = own or "REQUESTS_CA_BUNDLE"
    place = os.environ.get(name)
    if not place:
        return True
    try:
        is_folder = os.path.isdir(place)
        return ssl.create_default_context(cafile=None if is_folder else place, capath=place if is_folder else None)
    except OSError as error:
        message = f"{name}: {place} cannot be read as certificates: {error.strerror or error}."
        raise InputError(message, "Correct or unset it.") from error


def _user_agent() -> str:
    """`hlcli/<version>`."""
    from hlcli import __version__

    return f"hlcli/{__version__}"


def _refuse_downgrade(response: httpx.Response) -> None:
    """Stop at a redirect that leads from https to http."""
    if response.has_redirect_location and response.url.scheme == "https":
        target = response.url.join(response.headers["Location"])
        if target.scheme != "https":
            raise Refused(f"redirect from https to {target}", status=response.status_code, final_url=str(target))
