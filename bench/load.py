"""The load generator: as cheap as it can be, and the same for every server that is compared.

A process of its own. Each lane is a connection and a thread that sends its requests one after the other; a body is
`sendfile(2)` from a file in memory, so that nothing is copied and no GIL is held while bytes move; over TLS it is
encrypted from there, also without the GIL. The clock runs from the moment at which all lanes are connected (and have shaken
hands) until the last answer is there.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Answers", "Lane", "Request", "send"]

_ANSWER_BYTES = 64 * 1024
_LAST_CHUNK = b"0\r\n\r\n"
_TLS_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """One request with a body of `size` zero bytes, between `before` and `after` (the framing of a form)."""

    target: str
    size: int
    method: str = "PUT"
    headers: dict[str, str] = field(default_factory=dict)
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One connection, from `source` (each address of 127/8 is another user for a server without tokens)."""

    requests: Sequence[Request]
    source: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of it."""

    seconds: float
    statuses: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every answer is a success."""
        return all(status.startswith("2") for status in self.statuses)


def body_file(size: int) -> Path:
    """A sparse file of zeros in memory."""
    memory = Path("/dev/shm")
    path = (memory if memory.is_dir() else Path("/tmp")) / f"forebay-bench-{os.getpid()}"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(0)
        for _ in range(min(size, 64 << 20) >> 20):  # pages that exist: a hole would be filled while the clock runs
            file.write(bytes(1 << 20))
    return path


def send(
    port: int, lanes: Sequence[Lane], *, timeout_s: float = 600, niceness: int = 0, authority: Path | None = None
) -> Answers:
    """Run the lanes in a new process; returns when all answers have come.

    Args:
        port: where to.
        lanes: what to send.
        timeout_s: longest time for all of it.
        authority: over TLS, with a certificate that this one has signed (PEM).
        niceness: for many lanes on few processors: of users elsewhere, no thread stands in the server's way.

    Raises:
        RuntimeError: the generator failed; an answer other than a success is no failure of the generator.
    """
    trusted = None if authority is None else str(authority)
    work = json.dumps({"port": port, "lanes": [asdict(lane) for lane in lanes], "authority": trusted})
    done = subprocess.run(
        ["nice", "-n", str(niceness), sys.executable, __file__],
        input=work,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr[-2000:]}")
    return Answers(**json.loads(done.stdout))


class _Lane(threading.Thread):
    def __init__(
        self, port: int, lane: dict[str, Any], body: int, start: threading.Barrier, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(daemon=True)
        self._requests = lane["requests"]
        self._body = body
        self._tls = tls
        self._start_line = start
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.error: Exception | None = None
        self._port, self._source = port, lane["source"]
        self._sock = self._connected()
        self._left = b""
        self._closing = False

    def _connected(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), source_address=(self._source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname="localhost")

    def run(self) -> None:
        self._start_line.wait()
        try:
            for request in self._requests:
                began = time.perf_counter()
                if self._closing:  # a server that keeps no connection alive pays for each
                    self._sock.close()
                    self._sock = self._connected()
                self._send(request)
                self.statuses[self._answer()] += 1
                self.latencies.append(time.perf_counter() - began)
        except OSError as exc:
            self.error = exc
        self._sock.close()

    def _send(self, request: dict[str, Any]) -> None:
        size = request["size"]
        before, after = request["before"].encode(), request["after"].encode()
        fields = {"Host": "127.0.0.1", "Content-Length": len(before) + size + len(after), **request["headers"]}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"{request['method']} {request['target']} HTTP/1.1\r\n{lines}\r\n"
        self._sock.sendall(head.encode() + before, socket.MSG_MORE if size and self._tls is None else 0)
        self._send_body(size)
        if after:
            self._sock.sendall(after)

    def _send_body(self, size: int) -> None:
        sent = 0
        if self._tls is not None and size:
            with mmap.mmap(self._body, size, access=mmap.ACCESS_READ) as memory, memoryview(memory) as body:
                for sent in range(0, size, _TLS_PIECE_BYTES):
                    self._sock.sendall(body[sent : min(size, sent + _TLS_PIECE_BYTES)])
            return
        while sent < size:
            sent += os.sendfile(self._sock.fileno(), self._body, sent, size - sent)

    def _answer(self) -> str:
        data = self._left
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if b"transfer-encoding: chunked" in lines:
            while not rest.endswith(_LAST_CHUNK):
                rest += self._more()
            length = len(rest)
        while len(rest) < length:
            rest += self._more()
        self._left = rest[length:]
        self._closing = b"connection: close" in lines or lines[0].startswith(b"http/1.0")
        return lines[0].split()[1].decode()

    def _more(self) -> bytes:
        data = self._sock.recv(_ANSWER_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection without an answer")
        return data


def _main() -> int:
    work = json.load(sys.stdin)
    largest = max(request["size"] for lane in work["lanes"] for request in lane["requests"])
    path = body_file(largest)
    try:
        body = os.open(path, os.O_RDONLY)
    finally:
        path.unlink()
    start = threading.Barrier(len(work["lanes"]) + 1)
    threading.stack_size(256 * 1024)
    tls = None if work["authority"] is None else ssl.create_default_context(cafile=work["authority"])
    lanes = [_Lane(work["port"], lane, body, start, tls) for lane in work["lanes"]]
    for lane in lanes:
        lane.start()
    start.wait()
    began = time.perf_counter()
    for lane in lanes:
        lane.join()
    seconds = time.perf_counter() - began
    errors = [lane.error for lane in lanes if lane.error is not None]
    if errors:
        print(f"{len(errors)} lanes broke: {errors[0]!r}", file=sys.stderr)
        return 1
    statuses: Counter[str] = Counter()
    for lane in lanes:
        statuses.update(lane.statuses)
    latencies = [latency for lane in lanes for latency in lane.latencies]
    print(json.dumps(asdict(Answers(seconds, dict(statuses), latencies))))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
