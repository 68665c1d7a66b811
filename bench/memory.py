"""Memory is a setting: the same for many users and for large files; and what a thousand slow connections cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.forebay import MIB, Forebay
from bench.load import Lane, Request, send
from bench.report import Figure
from bench.slow import trickle

__all__ = ["lanes_of", "memory"]

GIB = 1024 * MIB
USERS = 20
LANES = 8
LARGE_GIB = 20
SLOW = 1000
SLOW_RATE = 64_000
SLOW_SECONDS = 30
_ELSEWHERE = 10


def memory(directory: Path) -> list[Figure]:
    """Peaks of resident memory, each of a server of its own."""
    # The slow ones first: after 40 GiB have been written and deleted the machine is busy with that for a while.
    slow = _slow_users(directory / "slow")
    return [*_many_users(directory / "users"), _large_file(directory), *slow]


def _many_users(directory: Path) -> list[Figure]:
    sources = [f"127.0.0.{2 + user}" for user in range(USERS)]
    with Forebay(directory) as server:
        uploads = [server.create(GIB, source=source) for source in sources]
        lanes = [
            lane
            for upload, source in zip(uploads, sources, strict=True)
            for lane in lanes_of(server, upload, source=source)
        ]
        with server.watching_lag() as lag:
            answers = send(server.port, lanes, niceness=_ELSEWHERE)
        if not answers.ok:
            raise RuntimeError(f"not all was taken: {answers.statuses}")
        peak = server.peak_rss_mib()
        slabs = server.metric("forebay_pool_slabs") * server.metric("forebay_pool_slab_bytes") / MIB
        for upload, source in zip(uploads, sources, strict=True):
            server.discard(upload, source=source)
    rate = USERS * GIB / MIB / answers.seconds
    return [
        Figure(
            f"peak RSS, {USERS} users x 1 GiB at once, {len(lanes)} connections",
            "≤ 200 MiB",
            f"{peak:.0f} MiB",
            f"pool {slabs:.0f} MiB; {rate:.0f} MiB/s (the disk's rate), {answers.seconds:.0f} s",
        ),
        Figure("loop blocked meanwhile", "≤ 50 ms", *lag()),
    ]


def _large_file(directory: Path) -> Figure:
    peaks = []
    for size in (GIB, LARGE_GIB * GIB):
        with Forebay(directory / f"file-{size // GIB}") as server:
            upload = server.create(size)
            answers = send(server.port, lanes_of(server, upload))
            if not answers.ok:
                raise RuntimeError(f"not all was taken: {answers.statuses}")
            peaks.append(server.peak_rss_mib())
            server.discard(upload)
    small, large = peaks
    return Figure(
        f"peak RSS, a file of {LARGE_GIB} GiB / of 1 GiB",
        "0.95 - 1.05",
        f"{large / small:.3f}",
        f"{large:.1f} : {small:.1f} MiB",
        "large",
        {"large MiB": [large], "small MiB": [small]},
    )


def _slow_users(directory: Path) -> list[Figure]:
    settings = {
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": str(SLOW),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(SLOW),
    }
    sources = [f"127.1.{user // 250}.{1 + user % 250}" for user in range(SLOW)]
    size = SLOW_RATE * SLOW_SECONDS
    with Forebay(directory, settings) as server:
        idle = server.rss_mib()
        uploads = [server.create(size, chunk_size=2 * MIB, source=source) for source in sources]
        lanes = [
            Lane([Request(server.chunk_target(upload, 0), size)], source)
            for upload, source in zip(uploads, sources, strict=True)
        ]
        before = server.cpu_seconds()
        began = time.monotonic()
        with server.watching_lag() as lag:
            statuses = trickle(server.port, lanes, bytes_per_second=SLOW_RATE)
        seconds = time.monotonic() - began
        cores = (server.cpu_seconds() - before) / seconds
        if statuses != {"204": SLOW}:
            raise RuntimeError(f"not all was taken: {statuses}")
        peak = server.peak_rss_mib()
    return [
        Figure(
            f"peak RSS, {SLOW} uploads at {SLOW_RATE // 1000} kB/s each",
            "≤ 200 MiB",
            f"{peak:.0f} MiB",
            f"idle {idle:.0f} MiB; {seconds:.0f} s, {cores:.2f} cores",
        ),
        Figure("loop blocked meanwhile", "≤ 50 ms", *lag()),
    ]


def lanes_of(
    server: Forebay, upload: Mapping[str, Any], *, connections: int = LANES, source: str = "127.0.0.1"
) -> list[Lane]:
    """The upload's chunks, dealt out to connections."""
    count, chunk, size = int(upload["chunk_count"]), int(upload["chunk_size"]), int(upload["size"])
    requests = [
        Request(server.chunk_target(upload, number), min(chunk, size - number * chunk)) for number in range(count)
    ]
    return [Lane(requests[lane::connections], source) for lane in range(min(connections, count))]
