"""A wide-area link in user space: a TCP proxy with a round-trip time, a rate per connection and one of the whole link.

python bench/link.py --to 127.0.0.1:8000 [--listen 127.0.0.1:0] [--rtt-ms 40] [--rate-mib 4] [--link-mib 32]

Laws:
- Both directions alike, each with its own rates. A byte arrives half a round trip after its last bit was sent at the
  connection's rate and at the link's, whichever was later; connecting costs a round trip before the first byte leaves.
- Connections share the whole link in turns, a few milliseconds of it each: nobody starves, whoever asks for less gets it.
- What is under way is bounded, about bandwidth x delay, in the kernel's buffers as well: the sender feels the rate.
- A late timer costs no bandwidth: pace is kept against the clock, and only somebody who had nothing to send loses time.
- No slow start, no loss, no jitter: a line that is better than a real one.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import signal
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Link", "Shape"]

MIB = 1 << 20
_TICK_S = 0.0005  # half of a timer's resolution: what is due within it is due
_TURN_S = 0.002  # of the whole link, for one connection, before the next one's turn
_READ_S = 0.016  # of a connection's rate, in one read
_LATE_S = 0.1  # how far behind the clock a sender may be and still catch up
_LEAST_READ, _MOST_READ = 4 * 1024, 256 * 1024
_LEAST_KERNEL, _MOST_WINDOW = 256 * 1024, 4 * MIB
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets
_GONE = {errno.EBADF, errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the line is like. Rates in bytes a second and direction; None: no limit."""

    rtt_s: float = 0.04
    rate: float | None = None
    """Of each connection."""
    link_rate: float | None = None
    """Of all together."""

    @property
    def delay_s(self) -> float:
        """One way."""
        return self.rtt_s / 2

    @property
    def slowest(self) -> float | None:
        """The most that one connection can get."""
        return min((rate for rate in (self.rate, self.link_rate) if rate is not None), default=None)

    @property
    def read_bytes(self) -> int:
        """The most that one read takes."""
        sizes = [_MOST_READ]
        if self.rate is not None:
            sizes.append(int(self.rate * _READ_S))
        if self.link_rate is not None:
            sizes.append(int(self.link_rate * _TURN_S))
        return max(_LEAST_READ, min(sizes))

    @property
    def window_bytes(self) -> int:
        """The most that is under way in one direction of a connection."""
        if self.slowest is None:
            return _MOST_WINDOW
        return min(_MOST_WINDOW, int(self.slowest * self.delay_s)) + 4 * self.read_bytes

    @property
    def kernel_bytes(self) -> int:
        """Of each socket's buffers."""
        return max(_LEAST_KERNEL, self.window_bytes)


class Wire:
    """One direction of the whole link: serves those that have something to send in turns."""

    def __init__(self, rate: float | None, loop: asyncio.AbstractEventLoop) -> None:
        self._rate = rate
        self._loop = loop
        self._free_at = 0.0
        self._queue: deque[Lane] = deque()
        self._serving = False
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, lane: Lane) -> None:
        """A turn, when it comes."""
        if not self._queue and not self._serving:
            self._free_at = max(self._free_at, time.monotonic())
        self._queue.append(lane)
        if not self._serving and self._timer is None:
            self._serve()

    def _on_time(self) -> None:
        self._timer = None
        self._serve()

    def _serve(self) -> None:
        self._serving = True
        now = time.monotonic()
        self._free_at = max(self._free_at, now - _LATE_S)
        while self._queue and self._free_at <= now + _TICK_S:
            lane = self._queue.popleft()
            size = lane.take(self._free_at, self._rate)
            if self._rate is not None:
                self._free_at += size / self._rate
        self._serving = False
        if self._queue:
            self._timer = self._loop.call_later(max(0.0, self._free_at - now), self._on_time)


class Lane:
    """One direction of one connection: what `source` sends arrives at `sink`, later."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        shape: Shape,
        wire: Wire,
        connection: Connection,
        *,
        open_at: float,
    ) -> None:
        self._source, self._sink = source, sink
        self._shape, self._wire, self._connection = shape, wire, connection
        self._loop = connection.loop
        self._ring = memoryview(bytearray(shape.window_bytes))
        self._first = 0  # position of the oldest byte under way
        self._held = 0  # bytes under way
        self._arrived = 0  # of those, not yet taken by the sink
        self._due: deque[tuple[float, int]] = deque()  # when how many of the others arrive
        self._free_at = open_at
        self._ended = False
        self.done = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waits_for_room = False
        self._after(open_at - time.monotonic(), "send", self._send)

    # -- the sending end -------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """What may leave now, leaves; then wait for whatever it takes."""
        wait = self._free_at - time.monotonic()
        if self._ended or self.done:
            return
        if self._held == len(self._ring):
            self._waits_for_room = True
        elif wait > _TICK_S:
            self._after(wait, "send", self._send)
        else:
            self._wire.ask(self)

    def take(self, link_free_at: float, link_rate: float | None) -> int:
        """It is this lane's turn on the link, from `link_free_at` on; returns how many bytes it used."""
        if self.done:
            return 0
        now = time.monotonic()
        start = (self._first + self._held) % len(self._ring)
        room = min(len(self._ring) - self._held, len(self._ring) - start, self._shape.read_bytes)
        try:
            size = self._source.recv_into(self._ring[start : start + room])
        except BlockingIOError:
            self._loop.add_reader(self._source, self._readable)
            return 0
        except OSError:
            self._connection.reset()
            return 0
        self._free_at = max(self._free_at, now - _LATE_S)
        left_at = now if link_rate is None else link_free_at + size / link_rate
        if self._shape.rate is not None:
            self._free_at += size / self._shape.rate
            left_at = max(left_at, self._free_at)
        self._ended = size == 0
        self._held += size
        self._due.append((left_at + self._shape.delay_s, size))
        if len(self._due) == 1:
            self._await_arrival(now)
        self._send()
        return size

    def _readable(self) -> None:
        self._loop.remove_reader(self._source)
        self._free_at = max(self._free_at, time.monotonic())  # it had nothing to send: no time to catch up on
        self._send()

    # -- the receiving end -----------------------------------------------------------------------------------------

    def _await_arrival(self, now: float) -> None:
        self._after(self._due[0][0] - now, "arrive", self._arrive)

    def _arrive(self) -> None:
        now = time.monotonic()
        end = False
        while self._due and self._due[0][0] <= now + _TICK_S:
            _, size = self._due.popleft()
            self._arrived += size
            end = size == 0
        if self._due:
            self._await_arrival(now)
        if self._arrived:
            self._deliver()
        if end and not self.done:
            self._finish_when_delivered()

    def _deliver(self) -> None:
        try:
            while self._arrived:
                size = min(self._arrived, len(self._ring) - self._first)
                sent = self._sink.send(self._ring[self._first : self._first + size])
                self._first = (self._first + sent) % len(self._ring)
                self._arrived -= sent
                self._held -= sent
        except BlockingIOError:
            self._loop.add_writer(self._sink, self._writable)
        except OSError:
            self._connection.reset()
            return
        if self._waits_for_room and self._held < len(self._ring):
            self._waits_for_room = False
            self._send()

    def _writable(self) -> None:
        self._loop.remove_writer(self._sink)
        self._deliver()
        if self._ended and not self._due and not self.done:
            self._finish_when_delivered()

    def _finish_when_delivered(self) -> None:
        if self._held == 0:
            with suppress(OSError):
                self._sink.shutdown(socket.SHUT_WR)
            self.done = True
            self._connection.lane_done()

    # -- both ------------------------------------------------------------------------------------------------------

    def _after(self, seconds: float, name: str, call: object) -> None:
        self._timers[name] = self._loop.call_later(max(0.0, seconds), call)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Nothing more moves."""
        self.done = True
        for timer in self._timers.values():
            timer.cancel()


class Connection:
    """A client's connection and the one to the server behind it."""

    def __init__(self, link: Link, client: socket.socket, server: socket.socket, accepted_at: float) -> None:
        self.loop = link.loop
        self._link, self._client, self._server = link, client, server
        shape, (up, down) = link.shape, link.wires
        open_at = accepted_at + shape.rtt_s
        self._lanes = [
            Lane(client, server, shape, up, self, open_at=open_at),
            Lane(server, client, shape, down, self, open_at=open_at),
        ]

    def lane_done(self) -> None:
        """One direction has ended."""
        if all(lane.done for lane in self._lanes):
            self.close()

    def reset(self) -> None:
        """Something broke: both ends learn it."""
        for sock in (self._client, self._server):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Both ends."""
        for lane in self._lanes:
            lane.stop()
        for sock in (self._client, self._server):
            if sock.fileno() >= 0:
                self.loop.remove_reader(sock)
                self.loop.remove_writer(sock)
                sock.close()
        self._link.connections.discard(self)


class Link:
    """The proxy. Belongs to the event loop in which it was made."""

    def __init__(self, shape: Shape, listen: tuple[str, int], to: tuple[str, int]) -> None:
        self.shape = shape
        self.loop = asyncio.get_running_loop()
        self.wires = (Wire(shape.link_rate, self.loop), Wire(shape.link_rate, self.loop))
        self.connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._to = to
        self._listening = socket.create_server(listen, backlog=4096)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, shape.kernel_bytes)  # accepted ones inherit it
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, shape.kernel_bytes)
        self._listening.setblocking(False)
        self.loop.add_reader(self._listening, self._accept)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listening.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop listening, reset what is open."""
        self.loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        for connection in list(self.connections):
            connection.reset()

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                client, _ = self._listening.accept()
                client.setblocking(False)
                task = self.loop.create_task(self._connect(client, time.monotonic()))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: socket.socket, accepted_at: float) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            server.setblocking(False)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.shape.kernel_bytes)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.shape.kernel_bytes)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.loop.sock_connect(server, self._to)
            self.connections.add(Connection(self, client, server, accepted_at))
        except BaseException as exc:
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
            server.close()
            if not isinstance(exc, OSError):
                raise


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host or "127.0.0.1", int(port)


async def _run(shape: Shape, listen: tuple[str, int], to: tuple[str, int]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    link = Link(shape, listen, to)
    print("link listens on {}:{}".format(*link.address), flush=True)
    await stop.wait()
    link.close()


def main() -> int:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=_address, required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT", help="port 0: a free one")
    parser.add_argument("--rtt-ms", type=float, default=40.0, help="round-trip time")
    parser.add_argument("--rate-mib", type=float, help="MiB/s of each connection and direction")
    parser.add_argument("--link-mib", type=float, help="MiB/s of all connections together, in each direction")
    wanted = parser.parse_args()
    shape = Shape(
        wanted.rtt_ms / 1000,
        wanted.rate_mib and wanted.rate_mib * MIB,
        wanted.link_mib and wanted.link_mib * MIB,
    )
    try:
        import uvloop  # noqa: PLC0415 - this program runs without it as well
    except ImportError:
        asyncio.run(_run(shape, wanted.listen, wanted.to))
    else:
        uvloop.run(_run(shape, wanted.listen, wanted.to))
    return 0


if __name__ == "__main__":
    sys.exit(main())
