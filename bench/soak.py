"""A long time with faults: kill -9 while receiving (1), clients that vanish (13), a Drive that fails (22; see FAULTS.md).

The server is killed in the first third only: memory can be followed over a life of the process, and the last one is
two thirds of the time.
"""

from __future__ import annotations

import http.client
import random
import socket
import statistics
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.crowd import as_often
from bench.forebay import MIB, Forebay
from bench.report import Figure
from bench.scene import ELSEWHERE, MB, Drive, Sending, drive_server, made_file

__all__ = ["soak"]

CLIENTS = 3
SIZES = (1 * MB, 8 * MB, 40 * MB)
KILLS = 5
_FAULTS = 2  # 10 % of Drive's answers
_LOOK_S = 1.0
_VANISH_S = 0.5
_SILENT = 20  # the oldest goes when another comes
_SETTLED_S = 120.0
_TEN_MINUTES_S = 600.0
_WARM_SHARE = 0.25  # of the last life, in which what is cached is cached for the first time


@dataclass(slots=True)
class _Said:
    """By all clients."""

    done: dict[str, str] = field(default_factory=dict)
    """SHA-256 by name, of the files that a client says are there."""
    failed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Watched:
    """Of the last life."""

    times: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)


def soak(directory: Path, *, seconds: float = 600.0) -> list[Figure]:
    """Clients send one file after the other to Drive, until the time is over; then everything must be as it was."""
    said, watched = _Said(), _Watched()
    with Drive(latency_s=0.05, rate_mib=None, niceness=ELSEWHERE) as emulator:
        with drive_server(emulator, directory / "server") as server:
            _send(directory / "first", server.url, 0, said)
            _settle(server, None)
            before = _state(server)
            emulator.inject(as_often(_FAULTS))
            began = time.monotonic()
            over = threading.Event()
            with ExitStack() as stack:
                for number in range(1, CLIENTS + 1):
                    stack.enter_context(_repeated(over, _client(directory / f"client-{number}", server, number, said)))
                silent = stack.enter_context(_silent())
                stack.enter_context(_repeated(over, _vanishing(server, silent)))
                stack.callback(over.set)
                _kill_now_and_then(server, until=began + seconds / 3)
                _watch(server, watched, until=began + seconds)
            emulator.inject([])
            _settle(server, before)
            after = _state(server)
            took = time.monotonic() - began
        there = Counter((file["name"], file["digests"]["sha256"]) for file in emulator.files())
        injected, counts = emulator.injected(), emulator.counts()
    wrong = sum(there[name, digest] != 1 for name, digest in said.done.items())
    doubled = there.total() - len(said.done)
    return [_figure(watched, before, after, wrong=wrong), *_beside(said, doubled, injected, counts, took)]


def _figure(watched: _Watched, before: tuple[int, int], after: tuple[int, int], *, wrong: int) -> Figure:
    first = int(len(watched.times) * _WARM_SHARE)
    times, rss = watched.times[first:], watched.rss[first:]
    slope = statistics.linear_regression(times, rss).slope * _TEN_MINUTES_S * MIB / MB
    return Figure(
        "soak: RSS slope; descriptors and bytes of the spool, then and now; mismatches",
        "< 1 MB / 10 min; the same; 0",
        f"{slope:+.2f} MB / 10 min; {before[0]}, {before[1]} : {after[0]}, {after[1]}; {wrong}",
        f"over the last {times[-1] - times[0]:.0f} s; {min(rss):.1f} - {max(rss):.1f} MiB",
        "soak",
        {"s": times, "RSS MiB": rss},
    )


def _beside(said: _Said, doubled: int, injected: int, counts: dict[str, object], took: float) -> list[Figure]:
    why = "; ".join(sorted(set(said.failed)))[:300]
    return [
        Figure(
            "soak: files stored; given up by their clients; at Drive and nobody's",
            "-, 0, 0",
            f"{len(said.done)}, {len(said.failed)}, {doubled}",
            f"{took:.0f} s; {KILLS} times kill -9; {injected} faults of Drive's; "
            f"{counts['violations']} requests that Drive does not allow{f'; {why}' if why else ''}",
        )
    ]


@contextmanager
def _repeated(over: threading.Event, step: Callable[[], None]) -> Iterator[None]:
    """Do that again and again in a thread until it is over; what goes wrong in it is raised at the end."""
    trouble: list[Exception] = []

    def run() -> None:
        try:
            while not over.is_set():
                step()
        except Exception as exc:  # noqa: BLE001 - raised where the block ends
            trouble.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if trouble:
        raise trouble[0]


def _client(directory: Path, server: Forebay, number: int, said: _Said) -> Callable[[], None]:
    seeds = iter(range(number * 1_000_000, (number + 1) * 1_000_000))
    return lambda: _send(directory, server.url, next(seeds), said)


def _send(directory: Path, url: str, seed: int, said: _Said) -> None:
    """A file that is like no other."""
    file = directory / f"{seed}.bin"
    digest = made_file(file, SIZES[seed % len(SIZES)], seed=seed)
    trouble = "the client ended without a word"
    with Sending(file, url=url, state=directory / "state", niceness=ELSEWHERE) as sending:
        for event in sending.events():  # to its end: a client that is done is not stopped
            match event["event"]:
                case "completed":
                    said.done[file.name], trouble = digest, ""
                case "failed" | "interrupted":
                    trouble = event["detail"]
    if trouble:
        said.failed.append(trouble)
    file.unlink()


@contextmanager
def _silent() -> Iterator[list[socket.socket]]:
    """Connections that are open and say nothing, closed in the end."""
    connections: list[socket.socket] = []
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def _vanishing(server: Forebay, silent: list[socket.socket]) -> Callable[[], None]:
    """A client that begins a chunk and is gone: with a reset, with an end, or without a word."""
    chance = random.Random(1)

    def step() -> None:
        time.sleep(_VANISH_S)
        try:
            upload = server.create(2 * MIB, chunk_size=MIB, source="127.0.0.7")
            sock = socket.create_connection(("127.0.0.1", server.port), 10, ("127.0.0.7", 0))
            head = f"PUT {server.chunk_target(upload, 0)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {MIB}\r\n\r\n"
            sock.sendall(head.encode() + bytes(MIB // 2))
            match chance.choice(("reset", "end", "silence")):
                case "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                case "end":
                    sock.close()
                case _:
                    silent.append(sock)
            if len(silent) > _SILENT:
                silent.pop(0).close()
            server.discard(upload, source="127.0.0.7")
        except (OSError, RuntimeError, http.client.HTTPException):
            pass  # the server was being killed, or refuses for now: it is told again soon

    return step


def _kill_now_and_then(server: Forebay, *, until: float) -> None:
    pause_s = (until - time.monotonic()) / KILLS
    for _ in range(KILLS):
        time.sleep(pause_s)
        server.kill()
        server.start()


def _watch(server: Forebay, watched: _Watched, *, until: float) -> None:
    while (now := time.monotonic()) < until:
        watched.times.append(now)
        watched.rss.append(server.rss_mib())
        time.sleep(_LOOK_S)


def _settle(server: Forebay, before: tuple[int, int] | None) -> None:
    """Wait until nothing is under way, and where we know what was before, until it is so again, or two minutes."""
    deadline = time.monotonic() + _SETTLED_S
    while time.monotonic() < deadline:
        active = server.call("GET", "/api/v1/system/upload-status")["concurrency_manager"]["active_uploads"]
        if not active and (
            before is None or all(now <= then for now, then in zip(_state(server), before, strict=True))
        ):
            return
        time.sleep(_LOOK_S)


def _state(server: Forebay) -> tuple[int, int]:
    """Open descriptors, and bytes in the spool."""
    descriptors = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    spool = server.directory / "var" / "spool"
    return descriptors, sum(path.stat().st_blocks * 512 for path in spool.rglob("*") if path.is_file())
