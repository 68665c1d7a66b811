"""What happened, in order: the emulator's memory for tests.

Laws: events are appended by the emulator's event loop only; anyone, in any thread or loop, may read and wait. A wait looks
at what has happened already before it waits, so there is no moment to miss. The clock is `time.monotonic()`, which all
processes of a machine share. The oldest events go when there are too many; numbers are never used twice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

__all__ = ["Event", "EventLog", "Kind", "Violation"]

_KEPT_AT_MOST = 200_000


class Kind(StrEnum):
    """What an event tells."""

    REQUEST = "request"
    """A request arrived; its body is unread."""
    ANSWER = "answer"
    """It was answered with `status`; None when the connection was cut instead."""
    FAULT = "fault"
    """A rule of the script fired; `detail` is the fault."""
    SESSION_STARTED = "session_started"
    SESSION_EXPIRED = "session_expired"
    PUT_STARTED = "put_started"
    """Bytes are about to come: from `position`, `size` of them if that was said."""
    HELD = "held"
    """The session now holds `position` bytes."""
    PUT_ENDED = "put_ended"
    """The body ended; the session holds `position`, `size` bytes had come."""
    PUT_CUT = "put_cut"
    """The body broke off; the session holds `position`, `size` bytes had come."""
    VIOLATION = "violation"
    """The client did what Drive does not allow; `detail` names it, see `Violation`."""
    FILE_CREATED = "file_created"
    FILE_UPDATED = "file_updated"
    FILE_DELETED = "file_deleted"
    TOKEN = "token"  # noqa: S105 - the kind's name
    """The token endpoint answered; `detail` is the grant type or the error."""


class Violation(StrEnum):
    """Names of what Drive does not allow."""

    PARALLEL_PUT = "parallel_put"
    START_AHEAD = "start_ahead"
    START_BEHIND = "start_behind"
    NOT_A_MULTIPLE = "not_a_multiple"
    BAD_RANGE = "bad_range"
    TOTAL_MISMATCH = "total_mismatch"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; what does not apply is None."""

    number: int
    time_s: float
    kind: Kind
    operation: str | None = None
    session: int | None = None
    position: int | None = None
    size: int | None = None
    file_id: str | None = None
    status: int | None = None
    detail: str | None = None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


Predicate = Callable[[Event], bool]


class EventLog:
    """Events, oldest first."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._next = 1
        self._changed = threading.Condition(threading.RLock())
        self._waiting: list[tuple[Predicate, asyncio.Future[Event]]] = []

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.after(0))

    def after(self, number: int) -> list[Event]:
        """Those with a higher number."""
        with self._changed:
            if not self._events or number < self._events[0].number:
                return list(self._events)
            return self._events[number - self._events[0].number + 1 :]

    def of(self, kind: Kind, **wanted: object) -> list[Event]:
        """Those of a kind, with these values."""
        return [e for e in self if e.kind is kind and all(getattr(e, name) == value for name, value in wanted.items())]

    @property
    def violations(self) -> list[Event]:
        """What the client did that Drive does not allow."""
        return self.of(Kind.VIOLATION)

    def append(
        self,
        kind: Kind,
        *,
        operation: str | None = None,
        session: int | None = None,
        position: int | None = None,
        size: int | None = None,
        file_id: str | None = None,
        status: int | None = None,
        detail: str | None = None,
    ) -> Event:
        """One more; wakes who waited for it."""
        with self._changed:
            event = Event(
                self._next, time.monotonic(), kind, operation, session, position, size, file_id, status, detail
            )
            self._next += 1
            self._events.append(event)
            if len(self._events) > _KEPT_AT_MOST:
                del self._events[: _KEPT_AT_MOST // 2]
            self._wake(event)
            self._changed.notify_all()
        return event

    def _wake(self, event: Event) -> None:
        still = []
        for predicate, future in self._waiting:
            if future.cancelled() or future.done():
                continue
            if predicate(event):
                future.get_loop().call_soon_threadsafe(_resolve, future, event)
            else:
                still.append((predicate, future))
        self._waiting = still

    async def wait_for(self, predicate: Predicate, *, timeout_s: float = 10.0, after: int = 0) -> Event:
        """The first event numbered above `after` that satisfies the predicate, past or to come.

        Raises:
            TimeoutError: there was none in time.
        """
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        with self._changed:
            for event in self.after(after):
                if predicate(event):
                    return event
            self._waiting.append((predicate, future))
        return await asyncio.wait_for(future, timeout_s)

    def wait(self, predicate: Predicate, *, timeout_s: float = 10.0, after: int = 0) -> Event:
        """The same, blocking the calling thread: for tests beside an emulator in a thread.

        Raises:
            TimeoutError: there was none in time.
        """
        deadline = time.monotonic() + timeout_s
        seen = after
        with self._changed:
            while True:
                for event in self.after(seen):
                    if predicate(event):
                        return event
                seen = self._next - 1
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise TimeoutError(f"no such event in {timeout_s} s")


def _resolve(future: asyncio.Future[Event], event: Event) -> None:
    if not future.done():
        future.set_result(event)
