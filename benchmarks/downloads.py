"""A crawl of many small photos against what the same server gives to a bare loop under the same limits.

    python benchmarks/downloads.py --out downloads.json

A server in a process of its own sends JPEG files, each after a short wait as over a network. The bare loop is httpx in
as many threads as the crawl has connections, with the same spacing of requests; it throws away what it gets. The crawl
also decodes every photo, writes it to disk durably and lists it. Both run in turn, each in a new process, and the
median over the rounds counts; `share` is the crawl's speed as a share of the bare loop's, `of limit` as a share of the
requests per second that are allowed. Peak memory is that of the crawl's process, for fewer and for all photos.
"""

from __future__ import annotations

import argparse
import asyncio
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

import httpx
import numpy as np
from PIL import Image

from hlcli.data.transfers.crawl import ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.session import Session

CONNECTIONS = 8
UNLIMITED = 1e9


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


def bare_loop(urls: list[str], per_second: float) -> float:
    """Seconds that httpx alone takes, with as many connections and the same spacing."""
    lock, next_turn = threading.Lock(), 0.0
    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(CONNECTIONS) as pool:

        def fetch(url: str) -> int:
            nonlocal next_turn
            with lock:
                turn = max(next_turn, time.monotonic())
                next_turn = turn + 1 / per_second
            time.sleep(max(0.0, turn - time.monotonic()))
            return len(client.get(url).raise_for_status().content)

        start = time.perf_counter()
        assert all(pool.map(fetch, urls))
        return time.perf_counter() - start


SIDES: dict[str, Callable[[list[str], float], float]] = {"crawl": crawl, "bare loop": bare_loop}


def run_side(side: str, address: str, images: int, per_second: float) -> dict[str, float]:
    """Run one side in a new process: seconds, and peak memory in MB."""
    words = [sys.executable, __file__, "--side", side, "--address", address]
    words += ["--images", str(images), "--per-second", str(per_second)]
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def compare(images: int, per_second: float, latency_seconds: float, rounds: int) -> dict[str, float | None]:
    """One row: images per second of both sides, and their ratio; None stands for no limit."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with running_server(latency_seconds) as address:
        for _ in range(rounds):  # alternating, so that a busy moment hits both alike
            for side, values in rates.items():
                values.append(images / run_side(side, address, images, per_second)["seconds"])
    ours, bare = (statistics.median(values) for values in rates.values())
    shares = [mine / other for mine, other in zip(*rates.values(), strict=True)]
    limit = None if per_second == UNLIMITED else per_second
    return {
        "images": images, "per_second": limit, "latency_ms": 1000 * latency_seconds, "crawl": ours, "bare": bare,
        "share": statistics.median(shares), "of_limit": None if limit is None else ours / limit,
    }  # fmt: skip


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
    rows = []
    print(f"{'photos':>7} {'limit':>7} {'latency':>8} {'crawl':>8} {'bare':>8} {'share':>6} {'of limit':>9}")
    settings = [(100, 10.0, 1), (options.images, 100.0, options.rounds), (options.images, UNLIMITED, options.rounds)]
    for images, per_second, rounds in settings:
        row = compare(images, per_second, options.latency / 1000, rounds)
        rows.append(row)
        limit, of_limit = ("none", "") if per_second == UNLIMITED else (f"{per_second:g}/s", f"{row['of_limit']:.2f}")
        print(
            f"{images:7,} {limit:>7} {row['latency_ms']:5g} ms {row['crawl']:6.1f}/s {row['bare']:6.1f}/s "
            f"{row['share']:6.2f} {of_limit:>9}"
        )
    with running_server(0.0) as address:
        counts = (options.images // 4, options.images)
        few, all_of_them = (run_side("crawl", address, count, UNLIMITED)["megabytes"] for count in counts)
    print(f"peak memory: {few:.0f} MB for {counts[0]:,} photos, {all_of_them:.0f} MB for {counts[1]:,}: "
          f"ratio {all_of_them / few:.3f}")  # fmt: skip
    if options.out is not None:
        setting = {"connections": CONNECTIONS, "python": platform.python_version(), "cpus": os.cpu_count()}
        setting |= {name: version(name) for name in ("httpx", "pillow")}
        memory = {"photos": counts, "megabytes": (few, all_of_them), "ratio": all_of_them / few}
        options.out.write_text(json.dumps({"setting": setting, "rows": rows, "memory": memory}, indent=1) + "\n")


if __name__ == "__main__":
    main()
