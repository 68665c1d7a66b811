"""Many connections at a low, even rate: one process, one thread, one small `send` per connection and quarter of a second."""

from __future__ import annotations

import heapq
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.load import Lane

__all__ = ["trickle"]

_PERIOD_S = 0.25
_BEGINNING_S = 2.0  # over which they begin, and so end: a thousand people don't press a key in the same millisecond


def trickle(port: int, lanes: Sequence[Lane], *, bytes_per_second: int, timeout_s: float = 300) -> dict[str, int]:
    """Send each lane's one request at that rate; returns how often each status was answered.

    Raises:
        RuntimeError: the generator failed.
    """
    work = json.dumps({"port": port, "rate": bytes_per_second, "lanes": [asdict(lane) for lane in lanes]})
    done = subprocess.run(
        [sys.executable, "-m", "bench.slow"],
        cwd=Path(__file__).resolve().parents[1],
        input=work,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr[-2000:]}")
    statuses: dict[str, int] = json.loads(done.stdout)
    return statuses


class _Body:
    def __init__(self, port: int, lane: dict[str, Any]) -> None:
        (request,) = lane["requests"]
        self.left: int = request["size"]
        self.sock = socket.create_connection(("127.0.0.1", port), source_address=(lane["source"], 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"PUT {request['target']} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {self.left}\r\n\r\n"
        self.sock.sendall(head.encode())


def _main() -> int:
    work = json.load(sys.stdin)
    piece = bytes(int(work["rate"] * _PERIOD_S))
    lanes = work["lanes"]
    bodies: dict[int, _Body] = {}
    began = time.monotonic()
    due = [(began + _BEGINNING_S * number / len(lanes), number) for number in range(len(lanes))]
    while due:
        at, number = heapq.heappop(due)
        wait = at - time.monotonic()
        if wait > 0.002:
            time.sleep(wait)
        if number not in bodies:
            bodies[number] = _Body(work["port"], lanes[number])
        body = bodies[number]
        count = min(len(piece), body.left)
        body.sock.sendall(piece[:count])
        body.left -= count
        if body.left:
            heapq.heappush(due, (at + _PERIOD_S, number))
    statuses = Counter(body.sock.recv(4096).split(b" ", 2)[1].decode() for body in bodies.values())
    print(json.dumps(statuses))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
