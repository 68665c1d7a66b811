"""How long status and HEAD take while the server is busy: with eight fast connections, and with a thousand slow ones."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from bench.asking import Question, asking, told
from bench.forebay import MIB, Forebay
from bench.load import Lane, Request, send
from bench.report import Figure
from bench.slow import trickle

__all__ = ["status"]

LANES = 8
PIECE = 64 * MIB
SLOW_RATE = 64_000
_TUS = {"Tus-Resumable": "1.0.0"}
_ASKER = "127.0.0.9"  # a user of its own, with an upload that nothing happens to
_IDLE_S = 5.0
_MB = 10**6


def status(directory: Path, *, rounds: int = 12, slow: int = 1000, slow_seconds: int = 30) -> list[Figure]:
    """Latencies of three questions in both situations, and memory in the second."""
    return [*_fast(directory / "fast", rounds), *_slow(directory / "slow", slow, slow_seconds)]


def _fast(directory: Path, rounds: int) -> list[Figure]:
    with Forebay(directory) as server:
        questions = _questions(server)
        with asking(server.port, questions, source=_ASKER) as idle:
            time.sleep(_IDLE_S)
        with asking(server.port, questions, source=_ASKER) as busy:
            for _ in range(rounds):
                upload = server.create(LANES * PIECE, chunk_size=PIECE)
                targets = [server.chunk_target(upload, number) for number in range(LANES)]
                answers = send(server.port, [Lane([Request(target, PIECE)]) for target in targets])
                if not answers.ok:
                    raise RuntimeError(f"not all was taken: {answers.statuses}")
                server.discard(upload)
    return _latencies(f"{LANES} connections as fast as they can", busy, idle)


def _slow(directory: Path, users: int, seconds: int) -> list[Figure]:
    settings = {
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": str(users + 1),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(users + 1),
    }
    sources = [f"127.1.{user // 250}.{1 + user % 250}" for user in range(users)]
    size = SLOW_RATE * seconds
    with Forebay(directory, settings) as server:
        questions = _questions(server)
        uploads = [server.create(size, chunk_size=max(size, MIB), source=source) for source in sources]
        lanes = [
            Lane([Request(server.chunk_target(upload, 0), size)], source)
            for upload, source in zip(uploads, sources, strict=True)
        ]
        with asking(server.port, questions, source=_ASKER) as busy:
            statuses = trickle(server.port, lanes, bytes_per_second=SLOW_RATE)
        if statuses != {"204": users}:
            raise RuntimeError(f"not all was taken: {statuses}")
        peak = server.peak_rss_mib() * MIB / _MB
    title = f"{users} uploads at {SLOW_RATE // 1000} kB/s"
    head = statistics.quantiles(busy["HEAD"], n=100)[98] * 1000
    return [
        Figure(
            f"{title}: peak RSS, and HEAD p99",
            "≤ 150 MB, ≤ 100 ms",
            f"{peak:.0f} MB, {head:.1f} ms",
            f"{seconds} s; {len(busy['HEAD'])} times asked",
            "slow",
        ),
        *_latencies(title, busy, {}),
    ]


def _questions(server: Forebay) -> list[Question]:
    """Of the system's status, of an upload by our API, and of one by tus (HEAD)."""
    upload = server.create(PIECE, chunk_size=PIECE, source=_ASKER)
    return [
        Question("upload-status", "GET", "/api/v1/system/upload-status"),
        Question("status of an upload", "GET", f"/api/v1/uploads/{upload['id']}"),
        Question("HEAD", "HEAD", _tus_upload(server), _TUS),
    ]


def _tus_upload(server: Forebay) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=(_ASKER, 0))
    try:
        connection.request("POST", "/api/v1/tus", headers={**_TUS, "Upload-Length": str(PIECE)})
        answer = connection.getresponse()
        if answer.status != HTTPStatus.CREATED:
            raise RuntimeError(f"no upload by tus: {answer.status}")
        return urlsplit(answer.headers["Location"]).path
    finally:
        connection.close()


def _latencies(title: str, busy: Mapping[str, Sequence[float]], idle: Mapping[str, Sequence[float]]) -> list[Figure]:
    return [
        Figure(
            f"{title}: {name}",
            "-",
            told(seconds),
            f"idle: {told(idle[name])}" if idle else "",
            values={"s": seconds},
        )
        for name, seconds in busy.items()
    ]
