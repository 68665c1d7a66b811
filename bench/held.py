"""Ten thousand connections, each in the middle of a chunk and silent: what that costs in memory."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.report import Figure

__all__ = ["held"]

KIB = 1024
_PER_UPLOAD = 64  # the most chunks in flight that a server allows for one
_CHUNK = MIB
_OTHERS = 400  # descriptors: database, log, a spool file for each upload
_MOST_CODED = 0.1  # of all
_SENT = 100 * KIB
_SETTLED_S = 120.0
_MB = 10**6


def held(directory: Path, *, wanted: int = 10_000, seconds: float = 20.0) -> list[Figure]:
    """Resident memory while all are held, the most in `seconds`; and that the server still answers.

    A connection whose body is on its way takes two descriptors of the server, the socket and a duplicate of it; one
    whose body has no declared length (chunked transfer coding) takes one. Where the limit does not allow two for all,
    some are of that kind, a tenth at most; and where that is not enough, they are fewer than wanted.
    """
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors_left = former[1] - _OTHERS
    connections = min(wanted, int(descriptors_left / (2 - _MOST_CODED)))
    coded = max(0, 2 * connections - descriptors_left)
    uploads = -(-connections // _PER_UPLOAD)
    settings = {
        "PARALLEL_UPLOAD_MAX_CONNECTIONS": str(connections + 64),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": str(uploads),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(uploads),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_CHUNKS": str(_PER_UPLOAD),
        "PARALLEL_UPLOAD_BODY_IDLE_S": "3600",
        "PARALLEL_UPLOAD_MIN_RATE_BYTES": "0",
        "PARALLEL_UPLOAD_SLOT_IDLE_S": "3600",
        "PARALLEL_UPLOAD_SHUTDOWN_GRACE_S": "1",
    }
    resource.setrlimit(resource.RLIMIT_NOFILE, (former[1], former[1]))  # the server inherits it
    try:
        with Forebay(directory, settings) as server, ExitStack() as stack:
            idle = server.rss_mib()
            heads = _heads(server, connections, coded)
            began = time.monotonic()
            for source, head in heads:
                stack.enter_context(_begun(server.port, source, head))
            while (here := _in_flight(server)) < connections:
                if time.monotonic() - began > _SETTLED_S:
                    raise RuntimeError(f"only {here:.0f} of {connections} chunks are in flight")
                time.sleep(0.5)
            taken = time.monotonic() - began
            samples = []
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                samples.append(server.rss_mib())
                time.sleep(1)
            asked = time.perf_counter()
            server.call("GET", "/api/v1/system/upload-status")
            answered_s = time.perf_counter() - asked
            peak = server.peak_rss_mib()
            descriptors = sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)
    return [
        Figure(
            f"RSS, {connections} connections held, each mid-chunk and silent",
            "≤ 400 MB",
            f"{max(samples) * MIB / _MB:.0f} MB",
            f"idle {idle * MIB / _MB:.0f} MB, peak {peak * MIB / _MB:.0f} MB; all there after {taken:.0f} s; "
            f"{(max(samples) - idle) * MIB / connections / KIB:.1f} KiB each; {_PER_UPLOAD} of an upload, {coded} in chunked coding; "
            f"{descriptors} descriptors of {former[1]}; status then in {answered_s * 1000:.0f} ms",
            "held",
            {"RSS MiB": samples},
        )
    ]


def _in_flight(server: Forebay) -> int:
    return int(server.call("GET", "/api/v1/system/upload-status")["chunk_processor"]["chunks_in_flight"])


def _heads(server: Forebay, connections: int, coded: int) -> list[tuple[str, bytes]]:
    """For each connection its address and how its request begins; each address is a user with one upload."""
    heads = []
    for number in range(0, connections, _PER_UPLOAD):
        user = number // _PER_UPLOAD
        source = f"127.2.{user // 250}.{1 + user % 250}"
        upload = server.create(_PER_UPLOAD * _CHUNK, chunk_size=_CHUNK, source=source)
        for chunk in range(min(_PER_UPLOAD, connections - number)):
            target = server.chunk_target(upload, chunk)
            if number + chunk < coded:
                framing = f"Transfer-Encoding: chunked\r\n\r\n{_CHUNK:x}\r\n"
            else:
                framing = f"Content-Length: {_CHUNK}\r\n\r\n"
            heads.append((source, f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}".encode()))
    return heads


def _begun(port: int, source: str, head: bytes) -> socket.socket:
    """A connection that has sent a tenth of its chunk."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))
    sock.sendall(head + bytes(_SENT))
    return sock
