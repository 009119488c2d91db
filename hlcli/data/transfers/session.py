"""One HTTP client for all requests of a command: manners, time-outs, and what the answers mean.

Every failure becomes one of three things: `Transient` (try again), `Refused` (this URL will not do), or
`HostUnavailable` (no URL of this host will do).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

from hlcli.data.transfers.patience import Clock, HostGate, Patience, retry_after_seconds

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class Transient(Exception):
    """Something that may go better next time."""


class Refused(Exception):
    """A URL that gives nothing useful, now or in a minute.

    Args:
        status: the HTTP status, if there was an answer.
        attempts: how often the URL was asked.
        final_url: where redirects led.
    """

    def __init__(
        self, message: str, *, status: int | None = None, attempts: int = 1, final_url: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.attempts = attempts
        self.final_url = final_url


class _Busy(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for {seconds} s")
        self.seconds = seconds


class Session:
    """Sends requests; a context manager. Proxies and certificates are taken from the environment.

    Args:
        patience: numbers of the retry policy.
        clock: time; give another one in tests.
        per_host: most requests to one host at the same time.
        per_second: most new requests to one host in a second.
    """

    def __init__(
        self,
        patience: Patience | None = None,
        clock: Clock | None = None,
        *,
        per_host: int = 8,
        per_second: float = 10.0,
    ) -> None:
        import httpx

        self.patience = patience or Patience()
        self.clock = clock or Clock()
        self._gate = HostGate(
            self.clock,
            per_host=per_host,
            per_second=per_second,
            budget_seconds=self.patience.busy_budget_seconds,
        )
        read, connect = self.patience.read_seconds, self.patience.connect_seconds
        self._client = httpx.Client(
            headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(read, connect=connect, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            follow_redirects=True,
            event_hooks={"response": [_refuse_downgrade]},
        )

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
        while True:
            try:
                with self._gate.slot(url):
                    asked += 1
                    result = attempt()
                self._gate.succeeded(url)
                return result
            except _Busy as busy:
                self._gate.pause(url, busy.seconds)
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

    @contextmanager
    def get(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Send a GET request; the body of the answer is not read yet.

        Raises:
            Transient: on network errors and statuses that pass.
            Refused: on all other statuses that are errors, except 416.
        """
        import httpx

        try:
            with self._client.stream("GET", url, headers=headers) as response:
                self._judge(response)
                yield response
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
            return
        reason = f"HTTP {status} {response.reason_phrase}".rstrip()
        if status in (429, 503):
            asked = retry_after_seconds(response.headers.get("Retry-After"), response.headers.get("Date"))
            raise _Busy(self.patience.busy_seconds if asked is None else asked)
        if status == 408 or status >= 500:
            raise Transient(reason)
        raise Refused(reason, status=status, final_url=str(response.url))


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
