"""The stream of the operations page: what has changed, written once for all who look.

Laws:
- While nobody looks nothing is computed; the history goes on by itself.
- An upload's row is computed when the upload has changed, or waits, or was moving when last looked at; it is sent when it
  differs from what was sent. Rows take at most `_BUDGET_S` of a tick; the rest have their turn in the next.
- A listener that does not keep up is let go: it comes back and is told everything anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Final, Literal, NamedTuple

from pydantic import TypeAdapter

from app.api.destinations import destination_states
from app.api.ops_stream import (
    DestinationState,
    OpsHistory,
    OpsIncident,
    OpsIncidents,
    OpsLimits,
    OpsRow,
    OpsSample,
    Waits,
)
from app.core.upload import UploadState
from app.destinations.port import Destination
from app.services.events import EventHub, Subscription
from app.services.incidents import Incidents
from app.services.live import LiveUpload
from app.services.ops_history import History, Sample
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.uploads import Uploads
from app.services.where_time_goes import Spent, slowness

__all__ = ["Listener", "Message", "OpsFeed"]

_BUDGET_S: Final = 0.005  # a hundredth of the time; 200 rows and more where nobody else wants the processor
_BACKLOG: Final = 120  # messages, of which each tick brings a few
_DESTINATIONS_EVERY_S: Final = 5.0
_SILENT_S: Final = 1.0  # nobody sends any more; shorter is the pause between two chunks
_States: Final = TypeAdapter(dict[str, DestinationState])


class Message(NamedTuple):
    """An event, with its data as JSON."""

    event: str
    data: str


class Listener:
    """Somebody who looks."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._messages: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, messages: Iterable[Message]) -> None:
        """Tell it, or let it go."""
        if self._closed:
            return
        self._messages.extend(messages)
        if len(self._messages) > _BACKLOG:
            self._messages.clear()
            self._closed = True
        self._wake.set()

    def close(self) -> None:
        """What is said already is the last."""
        self._closed = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[Message]:
        """What it is told, until it is closed."""
        while True:
            while self._messages:
                yield self._messages.popleft()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()


class OpsFeed:
    """Tells listeners; `tick` is called with each sample."""

    def __init__(
        self,
        *,
        uploads: Uploads,
        slots: UploadConcurrencyManager,
        hub: EventHub,
        history: History,
        incidents: Incidents,
        destinations: Mapping[str, Destination],
        kinds: Mapping[str, str],
        limits: Callable[[], OpsLimits],
        clock: Callable[[], float],
    ) -> None:
        """Keep what it looks at.

        Args:
            uploads: all that have not ended.
            slots: who waits for one.
            hub: tells what has changed.
            history: of the last hour.
            incidents: of late.
            destinations: by name.
            kinds: the scheme of each one's URL.
            limits: those in force.
            clock: service seconds.
        """
        self._uploads = uploads
        self._slots = slots
        self._hub = hub
        self._history = history
        self._incidents = incidents
        self._destinations = destinations
        self._kinds = kinds
        self._limits = limits
        self._clock = clock
        self._listeners: set[Listener] = set()
        self._listening = ExitStack()
        self._changes = Subscription()
        self._rows: dict[str, str] = {}  # as sent
        self._moving: set[str] = set()  # whose rows change without anybody saying so
        self._due: dict[str, None] = {}
        self._told_states = ""
        self._told_states_at = float("-inf")
        self._told_incidents = 0
        self._written_history: tuple[int, str] = (-1, "")
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many look."""
        return len(self._listeners)

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """Be told everything that is so, and then what changes, as long as the block lasts."""
        listener = Listener()
        if not self._listeners:
            self._changes = self._listening.enter_context(self._hub.subscribe())
            self._due.update(dict.fromkeys(live.row.id for live in reversed(self._uploads.live)))
            self._look_at_rows()
            self._told_incidents = self._incidents.revision
            self._told_states = self._written_states()
        listener.put(self._beginning())
        if self._closed:
            listener.close()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._listening.close()
                self._rows.clear()
                self._moving.clear()
                self._due.clear()

    def tick(self, sample: Sample) -> None:
        """Tell what is new."""
        if self._listeners:
            self._tell([Message("sample", _sample(sample).model_dump_json()), *self._news()])

    def close(self) -> None:
        """The server stops: end every stream."""
        self._closed = True
        self._tell(self._news())
        for listener in self._listeners:
            listener.close()

    def _tell(self, messages: list[Message]) -> None:
        for listener in self._listeners:
            listener.put(messages)

    def _beginning(self) -> list[Message]:
        return [
            Message("history", self._history_so_far()),
            Message("limits", self._limits().model_dump_json()),
            Message("destinations", self._written_states()),
            _uploads(self._rows.values(), ()),
            _incidents(self._incidents, 0),
        ]

    def _history_so_far(self) -> str:
        steps = self._history.steps_total
        if self._written_history[0] != steps:
            samples = [_sample(sample) for sample in self._history.samples()]
            history = OpsHistory(step_seconds=self._history.step_s, samples=samples)
            self._written_history = steps, history.model_dump_json()
        return self._written_history[1]

    def _news(self) -> list[Message]:
        news = []
        rows, gone = self._look_at_rows()
        if rows or gone:
            news.append(_uploads(rows, gone))
        now, states = time.monotonic(), self._written_states()
        if states != self._told_states or now - self._told_states_at >= _DESTINATIONS_EVERY_S:
            self._told_states, self._told_states_at = states, now
            news.append(Message("destinations", states))
        if self._incidents.revision != self._told_incidents:
            news.append(_incidents(self._incidents, self._told_incidents))
            self._told_incidents = self._incidents.revision
        return news

    def _written_states(self) -> str:
        return _States.dump_json(destination_states(self._uploads, self._destinations, self._kinds)).decode()

    def _look_at_rows(self) -> tuple[list[str], list[str]]:
        """Rows that differ from what was sent, and ids of those that have ended."""
        known = {live.row.id: live for live in self._uploads.live if not live.row.ended}
        gone = [upload_id for upload_id in self._rows if upload_id not in known]
        for upload_id in gone:
            del self._rows[upload_id]
            self._moving.discard(upload_id)
        waiting = (waits.name for waits in self._uploads.where.active)
        for upload_id in (*self._changes.take(), *waiting, *self._moving, *(known.keys() - self._rows.keys())):
            if upload_id in known:
                self._due.setdefault(upload_id)
        changed = []
        until = time.perf_counter() + _BUDGET_S
        while self._due and time.perf_counter() < until:
            upload_id = next(iter(self._due))
            del self._due[upload_id]
            if upload_id in known and (row := self._look_at(known[upload_id])) is not None:
                changed.append(row)
        return changed, gone

    def _look_at(self, live: LiveUpload) -> str | None:
        """Its row, if it differs from what was sent."""
        row = self._row(live)
        written = row.model_dump_json()
        may_fall_silent = row.slowness is None and row.state is not UploadState.TRANSFERRING
        if row.bytes_per_second or any(vars(row.where).values()) or may_fall_silent:
            self._moving.add(row.id)
        else:
            self._moving.discard(row.id)
        if self._rows.get(row.id) == written:
            return None
        self._rows[row.id] = written
        return written

    def _row(self, live: LiveUpload) -> OpsRow:
        row, problem = live.row, live.problem
        position = self._slots.queue_position(row.id)
        spent = live.waits.lately()
        receiving: Literal["over", "idle", "busy"] = "busy"
        if live.all_recorded or row.state is UploadState.TRANSFERRING:
            receiving = "over"
        elif position is None and not live.receivers and not live.queued:
            receiving = "idle" if self._clock() - row.active_at_s > _SILENT_S else "busy"
        return OpsRow(
            id=row.id,
            owner=row.owner,
            filename=row.filename,
            size=row.known_size,
            state=row.state,
            destination=row.destination,
            received=live.bytes_received,
            stored=live.bytes_transferred,
            bytes_per_second=round(live.bytes_rate.per_second),
            retries=live.retries.total,
            queue_position=position,
            created_at=round(row.created_at, 3),
            problem=problem.for_operators if problem is not None else None,
            where=_waits(spent, 1),
            slowness=slowness(spent, live.waits.window_s, receiving),
        )


def _waits(spent: Spent, digits: int) -> Waits:
    return Waits(**{cause: round(seconds, digits) for cause, seconds in spent.items()})


def _sample(sample: Sample) -> OpsSample:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 1)

    return OpsSample(
        at=round(sample.at, 2),
        bytes_in=round(sample.bytes_in),
        bytes_out=round(sample.bytes_out),
        chunks=round(sample.chunks, 2),
        error_rate=round(sample.error_rate, 4),
        active_uploads=sample.active_uploads,
        active_users=sample.active_users,
        queued=sample.queued,
        memory_percent=rounded(sample.memory_percent),
        memory_level=sample.memory_level,
        rss_bytes=sample.rss_bytes,
        slabs_leased=sample.slabs_leased,
        slab_waiting=sample.slab_waiting,
        loop_delay_ms=round(sample.loop_delay_ms, 1),
        chunk_p50_ms=rounded(sample.chunk_p50_ms),
        chunk_p99_ms=rounded(sample.chunk_p99_ms),
        causes=_waits(sample.causes, 2),
        slowness=sample.slowness,
    )


def _uploads(rows: Iterable[str], gone: Iterable[str]) -> Message:
    """`OpsUploads`, of rows that are written already."""
    ids = ",".join(f'"{upload_id}"' for upload_id in gone)
    return Message("uploads", f'{{"rows":[{",".join(rows)}],"gone":[{ids}]}}')


def _incidents(incidents: Incidents, revision: int) -> Message:
    found = [OpsIncident(**asdict(incident)) for incident in incidents.since(revision)]
    return Message("incidents", OpsIncidents(incidents=found).model_dump_json())
