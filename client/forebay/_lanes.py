"""How many chunks may be sent at once: additive increase, multiplicative decrease (RFC 5681 section 3.1's shape).

Why: on a line that breaks every thirty seconds, eight chunks side by side may each need a minute, and none would ever
arrive. A broken connection halves the number (once per wave, however many break together), each chunk that arrives adds
a share, so that a whole round of successes adds one.

Laws
- A lane is free again when its chunk has been handed to the network, so that a long line is not idle for the round trip
  in which the answer comes. In flight is one chunk more than there are lanes, on one connection more: not two a lane,
  since a server counts connections. With one lane there is one chunk, answered before the next is sent.
- The lowest number goes first, since a destination may take the file in order only.
- A free lane and a chunk that may have it never exist together: whatever frees one hands it on in the same call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["LaneGate", "Place"]


@dataclass(eq=False, slots=True)
class Place:
    """A chunk's place in a lane."""

    wave: int
    """In which it was taken, for `shrink`."""
    sending: bool = True
    """Whether the lane is still taken."""


class LaneGate:
    """Lets chunks in; all methods on the event loop's thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._inside = 0
        self._sending = 0  # of those inside
        self._wave = 0
        self._waiters: dict[int, asyncio.Future[None]] = {}

    @property
    def limit(self) -> int:
        """How many may be sent at once now; at least 1."""
        return int(self._limit)

    @property
    def most_in_flight(self) -> int:
        """How many may ever be inside at once."""
        return _in_flight(self._most)

    @asynccontextmanager
    async def hold(self, number: int) -> AsyncIterator[Place]:
        """Wait for a lane, and hold the place until the chunk is answered.

        Args:
            number: of the chunk; no two with the same number wait at once.
        """
        if self._has_room:
            self._enter()
        else:
            await self._turn(number)
        place = Place(self._wave)
        try:
            yield place
        finally:
            sending, place.sending = place.sending, False
            self._leave(sending=sending)

    def sent(self, place: Place) -> None:
        """The whole chunk was handed to the network: its lane is free. No effect when it was before."""
        if place.sending:
            place.sending = False
            self._sending -= 1
            self._hand_out()

    def grow(self) -> None:
        """A chunk arrived."""
        self._limit = min(float(self._most), self._limit + 1 / self._limit)
        self._hand_out()

    def shrink(self, wave: int) -> None:
        """A connection that was opened in `wave` broke; others that break of the same wave change nothing more."""
        if wave == self._wave:
            self._wave += 1
            self._limit = max(1.0, self._limit / 2)

    @property
    def _has_room(self) -> bool:
        return self._sending < self.limit and self._inside < _in_flight(self.limit)

    async def _turn(self, number: int) -> None:
        waiter = self._waiters[number] = asyncio.get_running_loop().create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                del self._waiters[number]
            else:  # let in in the very tick of the cancellation
                self._leave(sending=True)
            raise

    def _enter(self) -> None:
        self._inside += 1
        self._sending += 1

    def _leave(self, *, sending: bool) -> None:
        self._inside -= 1
        self._sending -= sending
        self._hand_out()

    def _hand_out(self) -> None:
        while self._has_room and (waiting := [number for number, waiter in self._waiters.items() if not waiter.done()]):
            self._enter()
            self._waiters.pop(min(waiting)).set_result(None)


def _in_flight(lanes: int) -> int:
    return lanes + 1 if lanes > 1 else 1
