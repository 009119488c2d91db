"""A crawl of many small photos against what the same server gives to bare loops under the same limits.

    python benchmarks/downloads.py --out downloads.json

A server in a process of its own sends JPEG files, each after a short wait as over a network. The bare loops are httpx
and http.client, in as many threads as the crawl has connections, with the same spacing of requests; they throw
away what they get. The crawl also decodes every photo, writes it to disk durably and lists it. All run in turn, each in
a new process, and the median over the rounds counts; the shares are the crawl's speed as a share of each loop's, `of
limit` as a share of the requests per second that are allowed. Peak memory is that of the crawl's process.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from hlcli.data.transfers.crawl import ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.session import Session

CONNECTIONS = 8
UNLIMITED = 1e9
MEMORY_AT = (500, 2_000, 20_000)


def photo() -> bytes:
    """A JPEG file of some 20 kB."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


async def serve(latency_seconds: float) -> None:
    """Answer requests for `/NUMBER.jpg`, each with a file of its own; print the port first."""
    content = photo()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(latency_seconds)
            note = head.split(b" ", 2)[1]
            comment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note
            body = content[:2] + comment + content[2:]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(until_closed, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def running_server(latency_seconds: float) -> Iterator[str]:
    """The address of a server in another process."""
    words = [sys.executable, __file__, "--serve", str(latency_seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def crawl(urls: list[str], per_second: float) -> float:
    """Seconds that our crawl takes."""
    with tempfile.TemporaryDirectory() as name, Session(per_host=CONNECTIONS, per_second=per_second) as session:
        folder = Path(name)
        items = [ImageItem(str(number), url, f"low/{number}.jpg") for number, url in enumerate(urls)]
        start = time.perf_counter()
        report = crawl_images(plan_crawl(items, folder), folder, session=session)
        seconds = time.perf_counter() - start
        assert report.fetched == len(urls), report
        assert len(list((folder / "low").iterdir())) == len(urls)
    return seconds


def httpx_loop(urls: list[str], per_second: float) -> float:
    """Seconds that httpx alone takes, with as many connections and the same spacing."""
    with httpx.Client(trust_env=False) as client:
        return timed_loop(lambda url: client.get(url).raise_for_status().content, urls, per_second)


def http_client_loop(urls: list[str], per_second: float) -> float:
    """Seconds that http.client takes, with a connection per thread and the same spacing."""
    own = threading.local()

    def fetch(url: str) -> bytes:
        parts = urlsplit(url)
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(parts.netloc)
        own.connection.request("GET", parts.path)
        with own.connection.getresponse() as response:
            assert response.status == 200
            return response.read()

    return timed_loop(fetch, urls, per_second)


def timed_loop(fetch: Callable[[str], bytes], urls: list[str], per_second: float) -> float:
    """Seconds until all is fetched and thrown away, in as many threads as the crawl has connections."""
    lock, next_turn = threading.Lock(), 0.0

    def fetch_in_turn(url: str) -> int:
        nonlocal next_turn
        with lock:
            turn = max(next_turn, time.monotonic())
            next_turn = turn + 1 / per_second
        time.sleep(max(0.0, turn - time.monotonic()))
        return len(fetch(url))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        start = time.perf_counter()
        assert all(pool.map(fetch_in_turn, urls))
        return time.perf_counter() - start


SIDES: dict[str, Callable[[list[str], float], float]] = {
    "crawl": crawl,
    "httpx": httpx_loop,
    "http.client": http_client_loop,
}


def run_side(side: str, address: str, images: int, per_second: float) -> dict[str, float]:
    """Run one side in a new process: seconds, and peak memory in MB."""
    words = [sys.executable, __file__, "--side", side, "--address", address]
    words += ["--images", str(images), "--per-second", str(per_second)]
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def compare(images: int, per_second: float, latency_seconds: float, rounds: int) -> dict[str, float | None]:
    """One row: images per second of all sides, and the crawl's share of each loop's; None stands for no limit."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with running_server(latency_seconds) as address:
        for _ in range(rounds):  # alternating, so that a busy moment hits all alike
            for side, values in rates.items():
                values.append(images / run_side(side, address, images, per_second)["seconds"])
    speeds = {side: statistics.median(values) for side, values in rates.items()}
    limit = None if per_second == UNLIMITED else per_second
    row = {"images": images, "per_second": limit, "latency_ms": 1000 * latency_seconds, **speeds}
    for side in ("httpx", "http.client"):
        row[f"share_of_{side}"] = statistics.median(
            ours / other for ours, other in zip(rates["crawl"], rates[side], strict=True)
        )
    return row | {"of_limit": None if limit is None else speeds["crawl"] / limit}


def measure(images: int, rounds: int, latency_seconds: float) -> list[dict[str, float | None]]:
    """The rows of the table, which is printed."""
    print(
        f"{'photos':>7} {'limit':>7} {'latency':>8} {'crawl':>8} {'httpx':>8} {'share':>6} {'http.client':>11} "
        f"{'share':>6} {'of limit':>9}"
    )
    rows = []
    for count, per_second, times in ((100, 10.0, 1), (images, 100.0, rounds), (images, UNLIMITED, rounds)):
        row = compare(count, per_second, latency_seconds, times)
        rows.append(row)
        limit, of_limit = ("none", "") if per_second == UNLIMITED else (f"{per_second:g}/s", f"{row['of_limit']:.2f}")
        print(
            f"{count:7,} {limit:>7} {row['latency_ms']:5g} ms {row['crawl']:6.1f}/s {row['httpx']:6.1f}/s "
            f"{row['share_of_httpx']:6.2f} {row['http.client']:9.1f}/s {row['share_of_http.client']:6.2f} {of_limit:>9}"
        )
    return rows


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds before every answer")
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    parser.add_argument("--serve", type=float, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--address", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--per-second", type=float, default=UNLIMITED, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
    if options.side is not None:
        urls = [f"{options.address}/{number}.jpg" for number in range(options.images)]
        seconds = SIDES[options.side](urls, options.per_second)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "megabytes": peak}))
        return
    rows = measure(options.images, options.rounds, options.latency / 1000)
    with running_server(0.0) as address:
        megabytes = {count: run_side("crawl", address, count, UNLIMITED)["megabytes"] for count in MEMORY_AT}
    print("peak memory: " + ", ".join(f"{value:.0f} MB for {count:,} photos" for count, value in megabytes.items()))
    if options.out is not None:
        setting = {"connections": CONNECTIONS, "python": platform.python_version(), "cpus": os.cpu_count()}
        setting |= {name: version(name) for name in ("httpx", "pillow")}
        options.out.write_text(json.dumps({"setting": setting, "rows": rows, "megabytes": megabytes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
