"""Users who ask before they send, and who wait as long as a refusal says: a process of its own, a thread for each user.

Each sends one file after the other with `Expect: 100-continue`; of a refused one no byte is sent. What a run prints is
`Seen` as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.load import body_file

__all__ = ["Seen", "many_users"]

_LONGEST_WAIT_S = 60.0
_MIB = 1 << 20


@dataclass(slots=True)
class Seen:
    """What all users together saw in the time."""

    seconds: float = 0.0
    stored: int = 0
    """Files."""
    refused: int = 0
    without_retry_after: int = 0
    others: dict[str, int] = field(default_factory=dict)
    """Answers and errors that are neither."""


def many_users(port: int, *, users: int, seconds: float, size: int, label: str) -> Seen:
    """Users at addresses of their own who send files of `size` bytes for so many seconds.

    Raises:
        RuntimeError: the generator failed.
    """
    work = json.dumps({"port": port, "users": users, "seconds": seconds, "size": size, "label": label})
    done = subprocess.run(
        ["nice", "-n", "10", sys.executable, "-m", "bench.patient"],
        cwd=Path(__file__).resolve().parents[1],
        input=work,
        capture_output=True,
        text=True,
        timeout=seconds + 300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr[-2000:]}")
    return Seen(**json.loads(done.stdout))


class _User(threading.Thread):
    def __init__(self, port: int, number: int, *, label: str, body: int, size: int, until: float) -> None:
        super().__init__(daemon=True)
        self._port, self._source = port, f"127.4.{number // 250}.{1 + number % 250}"
        self._name = f"{label}-{number}"
        self._body, self._size, self._until = body, size, until
        self._sock: socket.socket | None = None
        self.statuses: Counter[str] = Counter()
        self.without_retry_after = 0

    def run(self) -> None:
        number = 0
        while time.monotonic() < self._until:
            number += 1
            try:
                wait = self._send(f"/api/v1/files/{self._name}-{number}.bin")
            except OSError as exc:
                self.statuses[type(exc).__name__] += 1
                self._close()
                wait = 1.0
            if wait:
                time.sleep(min(wait, _LONGEST_WAIT_S, max(0.0, self._until - time.monotonic())))
        self._close()

    def _send(self, target: str) -> float:
        """One file; seconds to wait before the next."""
        sock = self._connected()
        head = (
            f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {self._size}\r\nExpect: 100-continue\r\n\r\n"
        )
        sock.sendall(head.encode())
        status, headers = _answer(sock)
        if status == "100":
            sent = 0
            while sent < self._size:
                sent += os.sendfile(sock.fileno(), self._body, sent, self._size - sent)
            status, headers = _answer(sock)
        self.statuses[status] += 1
        if status != "201" or headers.get("connection") == "close":
            self._close()
        if status != "503":
            return 0.0
        if "retry-after" not in headers:
            self.without_retry_after += 1
        return float(headers.get("retry-after", 1))

    def _connected(self) -> socket.socket:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), source_address=(self._source, 0))
        return self._sock

    def _close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _answer(sock: socket.socket) -> tuple[str, dict[str, str]]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError("closed without an answer")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    left = int(headers.get("content-length", 0)) - len(rest)
    while left > 0:
        left -= len(sock.recv(left))
    return first.split()[1], headers


def _main() -> int:
    work = json.load(sys.stdin)
    path = body_file(work["size"])
    try:
        body = os.open(path, os.O_RDONLY)
    finally:
        path.unlink()
    began = time.monotonic()
    users = [
        _User(work["port"], number, label=work["label"], body=body, size=work["size"], until=began + work["seconds"])
        for number in range(work["users"])
    ]
    for user in users:
        user.start()
    for user in users:
        user.join()
    statuses: Counter[str] = Counter()
    for user in users:
        statuses.update(user.statuses)
    stored, refused = statuses.pop("201", 0), statuses.pop("503", 0)
    unsaid = sum(user.without_retry_after for user in users)
    print(json.dumps(asdict(Seen(time.monotonic() - began, stored, refused, unsaid, dict(statuses)))))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
