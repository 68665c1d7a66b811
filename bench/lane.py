"""One direction of a connection over a simulated wide-area link, and of the link that all share. See `link.py`.

Laws:
- A byte arrives half a round trip after its last bit was sent at the connection's rate and at the link's, whichever was
  later.
- Connections share the whole link in turns, a few milliseconds of it each: nobody starves, whoever asks for less gets it.
- What is under way is bounded, about bandwidth x delay.
- A late timer costs no bandwidth: pace is kept against the clock, and only somebody who had nothing to send loses time.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

__all__ = ["MIB", "Lane", "Shape", "Wire"]

MIB = 1 << 20
_TICK_S = 0.0005  # what is due so soon is due: timers know milliseconds only
_TURN_S = 0.002  # of the whole link, for one connection, before the next one's turn
_READ_S = 0.016  # of a connection's rate, in one read
_LATE_S = 0.25  # how far behind the clock a sender may be and still catch up
_LEAST_READ, _MOST_READ = 4 * 1024, 256 * 1024
_LEAST_KERNEL, _MOST_WINDOW = 256 * 1024, 4 * MIB


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


class Connection(Protocol):
    """What a lane belongs to."""

    def lane_done(self) -> None:
        """One direction has ended."""

    def reset(self) -> None:
        """Something broke: both ends learn it."""


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
        """Connect them; nothing leaves before `open_at` (monotonic seconds)."""
        self._source, self._sink = source, sink
        self._shape, self._wire, self._connection = shape, wire, connection
        self._loop = asyncio.get_running_loop()
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

    def _after(self, seconds: float, name: str, call: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(max(0.0, seconds - _TICK_S), call)

    def stop(self) -> None:
        """Nothing more moves."""
        self.done = True
        for timer in self._timers.values():
            timer.cancel()
