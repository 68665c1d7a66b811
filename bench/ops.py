"""What it costs the server that somebody looks at the operations page while 200 uploads are under way."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bench.forebay import Forebay
from bench.load import Lane, Request, send
from bench.report import Figure
from bench.scene import ELSEWHERE

__all__ = ["ops"]

KIB = 1024
CHUNK = 256 * KIB  # the smallest: most of what a chunk costs is then the server's own work


def ops(directory: Path, *, uploads: int = 200, chunks: int = 20, rounds: int = 5) -> list[Figure]:
    """Chunks a second with a viewer, over chunks a second without one; they take turns, and who begins changes."""
    settings = {
        "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(uploads),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": str(uploads),
    }
    rates: dict[bool, list[float]] = {False: [], True: []}
    costs: dict[bool, list[float]] = {False: [], True: []}
    samples: list[float] = []
    with Forebay(directory / "server", settings) as server:
        for number in range(rounds):
            for looked_at in (True, False) if number % 2 else (False, True):
                lanes, made = _begin(server, uploads, chunks)
                with _viewer(server) if looked_at else nullcontext(bytearray()) as seen:
                    before = server.cpu_seconds()
                    answers = send(server.port, lanes, niceness=ELSEWHERE)
                    used_s = server.cpu_seconds() - before
                if looked_at:
                    samples.append(seen.count(b"event: sample") / answers.seconds)
                if not answers.ok:
                    raise RuntimeError(f"not all was taken: {answers.statuses}")
                costs[looked_at].append(used_s / (uploads * chunks))
                rates[looked_at].append(uploads * chunks / answers.seconds)
                for upload, source in made:
                    server.discard(upload, source=source)
    ratios = [seen / unseen for seen, unseen in zip(rates[True], rates[False], strict=True)]
    work = [seen / unseen for seen, unseen in zip(costs[True], costs[False], strict=True)]
    viewed, unviewed = (statistics.median(rates[looked_at]) for looked_at in (True, False))
    return [
        Figure(
            f"{uploads} uploads, chunks of 256 KiB: rate with a viewer of /ops / without",
            "≥ 0.97",
            f"{statistics.median(ratios):.3f}",
            f"{viewed:.0f} : {unviewed:.0f} /s; {statistics.median(samples):.1f} samples a second",
        ),
        Figure(
            "the same: the server's processor time per chunk, with a viewer / without",
            "-",
            f"{statistics.median(work):.3f}",
            f"{statistics.median(costs[True]) * 1e6:.0f} : {statistics.median(costs[False]) * 1e6:.0f} µs",
        ),
    ]


def _begin(server: Forebay, uploads: int, chunks: int) -> tuple[list[Lane], list[tuple[dict[str, object], str]]]:
    """An upload for each user, and a connection that sends it."""
    lanes, made = [], []
    for number in range(uploads):
        source = f"127.0.{1 + number // 250}.{1 + number % 250}"
        upload = server.create(chunks * CHUNK, chunk_size=CHUNK, source=source)
        requests = [Request(server.chunk_target(upload, chunk), CHUNK) for chunk in range(chunks)]
        lanes.append(Lane(requests, source))
        made.append((upload, source))
    return lanes, made


@contextmanager
def _viewer(server: Forebay) -> Iterator[bytearray]:
    """Somebody who reads the stream; yields what came, which is whole when the block has ended."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/api/v1/ops/events")
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"the stream answered {answer.status}")
    seen, over = bytearray(), threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.extend(answer.read1(1 << 20))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(1.0)  # the beginning, which is once
    seen.clear()
    try:
        yield seen
    finally:
        over.set()
        reader.join()
        connection.close()
