"""The simulated line of the bench and the demo: what it promises to be, it is. Only its own errors are judged narrowly;
how much slower a busy machine makes it is no verdict about it.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

_LINK = Path(__file__).resolve().parents[3] / "bench" / "link.py"
_MIB = 1 << 20
_RTT_S = 0.04
_BUSY = 3.0  # times slower, at most, on a machine that does other things


class Server:
    """Behind the line: answers what came with its digest, or repeats what comes."""

    def __init__(self, stack: ExitStack, *, echo: bool = False, deaf: bool = False) -> None:
        self._echo, self._deaf = echo, deaf
        self._over = threading.Event()
        self._listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listening.settimeout(20)
        self.port = self._listening.getsockname()[1]
        stack.callback(self._over.set)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                sock, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
        except OSError:
            return

    def _serve(self, sock: socket.socket) -> None:
        digest = hashlib.sha256()
        with sock, suppress(ConnectionError):
            if self._deaf:
                self._over.wait(20)
                return
            while data := sock.recv(_MIB):
                digest.update(data)
                if self._echo:
                    sock.sendall(data)
            sock.sendall(digest.hexdigest().encode())


Start = Callable[..., int]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What ends with the test."""
    with ExitStack() as made:
        yield made


@pytest.fixture
def line(stack: ExitStack) -> Start:
    """`line(port, *options)`: starts the program and gives its port; it must end with status 0."""

    def start(port: int, *options: str) -> int:
        command = [sys.executable, str(_LINK), "--to", f"127.0.0.1:{port}", *options]
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))

        def end() -> None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0

        stack.callback(end)
        assert process.stdout is not None
        return int(process.stdout.readline().rpartition(":")[2])

    return start


def _send(port: int, size: int) -> float:
    """Send so much, wait for its digest; seconds."""
    data = random.Random(size).randbytes(_MIB) * (size // _MIB)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(100):
            answer += piece
    assert answer.decode() == hashlib.sha256(data).hexdigest()
    return time.monotonic() - began


def test_a_round_trip_takes_its_time_and_connecting_takes_one_more(stack: ExitStack, line: Start) -> None:
    """Both ways together."""
    port = line(Server(stack, echo=True).port, "--rtt-ms", str(_RTT_S * 1000))
    times = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        for _ in range(10):
            began = time.monotonic()
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            times.append(time.monotonic() - began)
    assert 2 * _RTT_S * 0.95 < times[0] < 2 * _RTT_S * _BUSY
    assert _RTT_S * 0.95 < min(times[1:]) < _RTT_S * 1.15


def test_each_connection_has_its_own_rate(stack: ExitStack, line: Start) -> None:
    """Four at once take as long as one, and no less than the rate allows."""
    port = line(Server(stack).port, "--rtt-ms", "10", "--rate-mib", "4")
    took: list[float] = []
    threads = [threading.Thread(target=lambda: took.append(_send(port, 2 * _MIB))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 4
    assert min(took) > 0.5 * 0.97
    assert max(took) < 0.5 * _BUSY


def test_all_connections_share_the_line_fairly(stack: ExitStack, line: Start) -> None:
    """Each gets a quarter of it, whoever came first."""
    port = line(Server(stack).port, "--rtt-ms", "10", "--link-mib", "8")
    took: list[float] = []
    threads = [threading.Thread(target=lambda: took.append(_send(port, 2 * _MIB))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 4
    assert 1.0 * 0.97 < max(took) < 1.0 * _BUSY
    assert max(took) < 1.5 * min(took)


def test_a_server_that_does_not_read_stops_its_client(stack: ExitStack, line: Start) -> None:
    """What waits on the way is bounded: the line is no store."""
    port = line(Server(stack, deaf=True).port, "--rtt-ms", "2", "--rate-mib", "64")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(0.7)
        sent = 0
        with suppress(TimeoutError):
            while sent < 64 * _MIB:
                sent += sock.send(bytes(_MIB))
    assert sent < 16 * _MIB


def test_a_connection_that_breaks_breaks_at_the_other_end(stack: ExitStack, line: Start) -> None:
    """Nobody waits for an answer that can't come."""
    port = line(_closed_port())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock, pytest.raises(ConnectionError):
        sock.recv(1)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def test_it_is_cheap(stack: ExitStack, line: Start) -> None:
    """A line that eats the processor measures itself."""
    before = os.times().children_user + os.times().children_system
    _send(line(Server(stack).port, "--rtt-ms", "10", "--rate-mib", "16"), 8 * _MIB)
    stack.close()
    assert os.times().children_user + os.times().children_system - before < 2.0
