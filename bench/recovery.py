"""Kill -9 with a hundred uploads open and their chunks under way: how long until the server goes on where it was."""

from __future__ import annotations

import socket
import statistics
import time
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.load import Lane, Request, send
from bench.report import Figure

__all__ = ["recovery"]

UPLOADS = 100
_CHUNKS = 4
_ACKNOWLEDGED = 2


def recovery(directory: Path, *, rounds: int = 5) -> list[Figure]:
    """From the start of the next process until it listens, and until a chunk of each upload has been taken again."""
    settings = {
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": str(UPLOADS),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(UPLOADS),
    }
    empty: list[float] = []
    listening: list[float] = []
    going_on: list[float] = []
    lost = 0
    with Forebay(directory, settings) as server:
        for _ in range(rounds):
            empty.append(_started_again(server))
            uploads = [server.create(_CHUNKS * MIB, chunk_size=MIB) for _ in range(UPLOADS)]
            _all_taken(server, [(upload, number) for upload in uploads for number in range(_ACKNOWLEDGED)])
            with ExitStack() as stack:
                for upload in uploads:
                    stack.enter_context(_begun(server, server.chunk_target(upload, _ACKNOWLEDGED)))
                began = time.perf_counter()
                listening.append(_started_again(server))
            _all_taken(server, [(upload, _ACKNOWLEDGED) for upload in uploads])
            going_on.append(time.perf_counter() - began)
            for upload in uploads:
                view = server.call("GET", f"/api/v1/uploads/{upload['id']}")
                lost += view["missing"] != [{"start": (_ACKNOWLEDGED + 1) * MIB, "end": _CHUNKS * MIB}]
                server.discard(upload)
    return [
        Figure(
            f"kill -9 with {UPLOADS} uploads open: until the next process listens; uploads that lost a chunk",
            "-, 0",
            f"{statistics.median(listening):.2f} s, {lost}",
            f"with none open {statistics.median(empty):.2f} s; {statistics.median(going_on):.2f} s until each has a further "
            "chunk, from the kill",
            values={"listening s": listening, "none open s": empty, "going on s": going_on},
        )
    ]


def _started_again(server: Forebay) -> float:
    server.kill()
    began = time.perf_counter()
    server.start()
    server.call("GET", "/readyz")
    return time.perf_counter() - began


def _all_taken(server: Forebay, chunks: list[tuple[dict[str, object], int]]) -> None:
    requests = [Request(server.chunk_target(upload, number), MIB) for upload, number in chunks]
    answers = send(server.port, [Lane(requests[lane::8]) for lane in range(8)])
    if answers.statuses != {str(HTTPStatus.NO_CONTENT.value): len(chunks)}:
        raise RuntimeError(f"not all was taken: {answers.statuses}")


def _begun(server: Forebay, target: str) -> socket.socket:
    """A connection with half of a chunk."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {MIB}\r\n\r\n"
    sock.sendall(head.encode() + bytes(MIB // 2))
    return sock
