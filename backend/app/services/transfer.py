"""From staging to the destination, while later chunks still arrive.

Laws:
- At most one task per upload; it ends when it has caught up and is started again by `poke`.
- Publishing happens under the upload's `lock`, so that a cancel comes either before it or too late.
- What may pass (destination, staging or database not available, no room) is tried again for as long as the upload lives,
  with backoff and without holding a permit; what can't pass ends the upload as failed.
- A destination that fails everybody is left alone by all (`DestinationGate`); what is received meanwhile stays in staging.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from contextvars import Context
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import stamina
import structlog

from app.core.errors import (
    DestinationFull,
    DestinationMismatch,
    DestinationQuotaReached,
    DestinationRefusedUpload,
    DestinationUnavailable,
    DigestMismatch,
    ForebayError,
    InternalError,
    OutOfSpace,
    Unavailable,
)
from app.core.upload import Extent, StoredFile, Upload, UploadState
from app.core.waiting import Cause
from app.destinations.port import Advises, Destination, Digests, TakesOver, TransferSession
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.services.destination_gate import DestinationGate, Passage
from app.services.incidents import Incidents, Kind
from app.services.interruption import unbroken
from app.services.live import LiveUpload, TransferProblem
from app.services.prefix_digest import PrefixDigest
from app.services.prefix_reader import BytesLost, PrefixReader
from app.services.progress import Throughput
from app.services.sending import Sender, Turn, target_of
from app.staging.port import Linkable, Staging

__all__ = ["TransferEngine"]

log = structlog.get_logger(__name__)

_TURN_S = 15.0  # how long a transfer may go on while others wait for its permit
_MISMATCHES = 3  # a destination that stores other bytes so often is broken, or somebody is between us
_REMOVAL_S = 2.0  # whoever cancels waits so long for the destination
_REMOVALS = 4  # at once
_LONGEST_PARKED_S = 600
_LEAST_WAIT_S = 0.05
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 60.0
_PASSING = (Unavailable, OutOfSpace, InternalError)


class _Failures:
    """In a row, of one upload: how long to wait before the next try (exponential backoff with full jitter)."""

    def __init__(self) -> None:
        self.count = 0

    def pause_s(self, exc: Exception) -> float:
        """After one more; never less than what was asked for (Retry-After)."""
        self.count += 1
        spread_s = random.uniform(0.0, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**self.count))  # noqa: S311 - no secret
        asked_s = exc.asked_for_s if isinstance(exc, ForebayError) else None
        if isinstance(exc, DestinationRefusedUpload):
            asked_s = exc.retry_after_s
        elif isinstance(exc, DestinationQuotaReached):  # our own estimate: the cure may come earlier
            asked_s = min(exc.retry_after_s or 0, _LONGEST_PARKED_S)
        return max(_LEAST_WAIT_S, spread_s, (asked_s or 0.0) * random.uniform(1.0, 1.1))  # noqa: S311 - as above


class TransferEngine:
    """Moves uploads to their destinations."""

    def __init__(
        self,
        *,
        staging: Staging,
        reader: PrefixReader,
        sender: Sender,
        destinations: Mapping[str, Destination],
        repository: Repository,
        permits: int | None,
        clock: Callable[[], float],
        on_ended: Callable[[LiveUpload], Coroutine[Any, Any, None]],
        on_failed: Callable[[LiveUpload, ForebayError], Awaitable[None]],
        on_lost: Callable[[LiveUpload, list[Extent]], Awaitable[None]],
        metrics: Metrics,
        throughput: Throughput,
        incidents: Incidents,
    ) -> None:
        """Keep what it works with.

        Args:
            staging: where the bytes are.
            reader: reads them in order.
            sender: sends them.
            destinations: by name.
            repository: where states are kept.
            permits: transfers at once to one destination; None: as many as suit it.
            clock: service seconds.
            on_ended: told when an upload is completed.
            on_failed: told of what can't pass; ends the upload.
            on_lost: told of extents that staging no longer holds as acknowledged; asks for them again.
            metrics: counts what arrived.
            throughput: counts what is sent.
            incidents: told of destinations that fail.
        """
        self._staging = staging
        self._reader = reader
        self._sender = sender
        self._destinations = destinations
        self._repository = repository
        self.gates = {
            name: DestinationGate(
                name,
                permits=permits or destination.abilities.transfers,
                in_words=partial(_in_words, destination),
                on_change=partial(_note_trouble, incidents, name),
            )
            for name, destination in destinations.items()
        }
        self._clock = clock
        self._on_ended = on_ended
        self._on_failed = on_failed
        self._on_lost = on_lost
        self._metrics = metrics
        self._throughput = throughput
        self._incidents = incidents
        self._group: asyncio.TaskGroup | None = None
        self._takes_over: dict[str, bool] = {}
        self.removals: set[asyncio.Task[None]] = set()
        self._removing = asyncio.Semaphore(_REMOVALS)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Tasks belong to `group` from now on."""
        self._group = group

    def stop(self) -> None:
        """Take no new work; the group's owner cancels what runs."""
        self._group = None

    def poke(self, live: LiveUpload) -> None:
        """Something was recorded, or the upload is whole: see to it that it gets on."""
        if self._group is not None and live.transfer_task is None and self._has_work(live):
            # In a context of its own: its log lines don't belong to the request that happened to poke.
            live.transfer_task = self._group.create_task(
                self._run(live), name=f"transfer-{live.row.id}", context=Context()
            )

    @staticmethod
    def _has_work(live: LiveUpload) -> bool:
        if live.row.ended or live.cancelling or live.row.is_part:
            return False
        if live.row.state is UploadState.TRANSFERRING or live.has_unsent:
            return True
        # Where it is sent, the digest goes with what is sent.
        return live.plan is None and live.digest.position in live.readable

    async def interrupt(self, live: LiveUpload) -> None:
        """End a transfer that may be waiting for its destination, without a verdict; `poke` goes on with it.

        Not one that links: that takes no time, and is to be seen to its end.
        """
        task = live.transfer_task
        if task is not None and live.session is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def cancel(self, live: LiveUpload) -> None:
        """Stop the upload's transfer and remove what was sent, now or later; the row is in an ended state already."""
        task = live.transfer_task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])
        if live.session is None and live.row.transfer_state is None:
            return
        if self._group is None:  # a start, or a stop, waits for no destination: the next start sees to it
            return
        gate = self.gates.get(live.row.destination)
        try:
            if gate is not None and gate.breaker == "closed":
                async with asyncio.timeout(_REMOVAL_S):
                    await self._remove(live)
                return
        except (Unavailable, OutOfSpace) as exc:
            log.warning("what was sent can't be removed yet", upload=live.row.id, code=exc.code, detail=exc.detail)
        except TimeoutError:
            log.warning("what was sent is removed later: its destination takes its time", upload=live.row.id)
        self.remove_later(live)

    def remove_later(self, live: LiveUpload) -> None:
        """Of an upload that has ended without being completed: remove what its session has left, as soon as that can be."""
        if self._group is not None:
            task = self._group.create_task(self._keep_removing(live), name=f"remove-{live.row.id}", context=Context())
            self.removals.add(task)
            task.add_done_callback(self.removals.discard)

    async def _keep_removing(self, live: LiveUpload) -> None:
        failures = _Failures()
        while True:
            try:
                await self._remove_in_turn(live)
            except _PASSING as exc:
                await asyncio.sleep(failures.pause_s(exc))
            except ForebayError as exc:
                log.warning("what was sent can't be removed", upload=live.row.id, code=exc.code, detail=exc.detail)
                return
            except Exception:  # one upload's trouble must not end the server; the next start tries again
                log.exception("removing what was sent broke", upload=live.row.id)
                return
            else:
                return

    async def _remove_in_turn(self, live: LiveUpload) -> None:
        """As a transfer of its owner's; few at once, so that those of a whole night don't come on top of everything."""
        gate = self.gates.get(live.row.destination)
        if gate is None:
            raise DestinationUnavailable(f"This server has no destination {live.row.destination!r} any more.")
        async with self._removing, gate.passed(live.row.owner):
            await self._remove(live)

    async def _remove(self, live: LiveUpload) -> None:
        destination = self._destinations[live.row.destination]
        if live.session is None:
            live.session = await destination.begin(target_of(live.row), live.row.transfer_state)
        await live.session.abort()
        live.session = None
        if live.row.transfer_state is not None:  # kept until now: a server that dies meanwhile removes it later
            row = replace(live.row, transfer_state=None)
            await self._repository.save_upload(row)
            live.row = row

    async def published(self, live: LiveUpload) -> bool:
        """Whether the file may be at its destination already, though its row does not say so; under its lock."""
        if live.stored is not None:
            return True
        if live.session is not None or not isinstance(self._staging, Linkable):
            return False
        # It may have been linked by a server that died before the database knew, or by an attempt that failed behind it.
        return await asyncio.to_thread(_is_linked, self._staging.path(live.row.id))

    async def _run(self, live: LiveUpload) -> None:
        try:
            await live.verified.wait()
            while self._has_work(live):
                await self._persist_in_trying(live)
        finally:
            live.transfer_task = None  # no await since the last look: whoever pokes later starts a new task

    async def _persist_in_trying(self, live: LiveUpload) -> None:
        """Until it has gone well once. Retries are set up by the first failure: for a small file they cost more than it."""
        try:
            await self._attempt(live, 1)
        except _PASSING as exc:
            await self._try_again(live, exc)
        live.problem = None
        live.changed()

    async def _try_again(self, live: LiveUpload, error: Exception) -> None:
        failures = _Failures()

        def again(exc: Exception) -> bool | float:
            return isinstance(exc, _PASSING) and self._pause_s(live, failures, exc)

        with live.waits.of(Cause.BACKOFF):
            await asyncio.sleep(self._pause_s(live, failures, error))
            async for attempt in stamina.retry_context(on=again, attempts=None, timeout=None):
                with attempt, live.waits.instead(Cause.BACKOFF):
                    reached = live.forwarded
                    try:
                        await self._attempt(live, failures.count + 1)
                    except _PASSING:
                        if live.forwarded > reached:
                            failures.count = 0  # it gets on, if in steps
                        raise

    def _pause_s(self, live: LiveUpload, failures: _Failures, exc: Exception) -> float:
        pause_s = failures.pause_s(exc)
        gate = self.gates.get(live.row.destination)
        if gate is not None and gate.breaker == "open" and gate.concerns_all(exc):
            return _LEAST_WAIT_S  # the gate knows when
        return pause_s

    async def _attempt(self, live: LiveUpload, number: int) -> None:
        try:
            await self._advance_or_fail(live)
        except (Unavailable, OutOfSpace) as exc:
            self._note(live, exc, number)
            raise
        except Exception as exc:  # whatever it is, one upload's trouble must not end the server
            log.exception("transfer broke", upload=live.row.id)
            error = InternalError()
            self._note(live, error, number)
            raise error from exc

    async def _advance_or_fail(self, live: LiveUpload) -> None:
        try:
            destination = self._destinations.get(live.row.destination)
            if destination is None:
                raise DestinationUnavailable(
                    f"This server has no destination {live.row.destination!r} any more. What was received is kept."
                )
            async with self.gates[live.row.destination].passed(live.row.owner, live.waits) as passage:
                await self._advance(live, destination, passage)
        except DestinationMismatch:
            await self._sender.forget(live)
            if live.row.ended:  # nobody would send it again
                return
            live.mismatches += 1
            if live.mismatches < _MISMATCHES:
                raise
            await self._fail(
                live,
                DigestMismatch(
                    f"The upload has failed: it was sent {live.mismatches} times, and each time the destination held other"
                    " bytes than were sent. Upload the file again; if that fails as well, ask the operator:"
                    " the destination, or something on the way to it, alters what is sent."
                ),
            )
        except (Unavailable, OutOfSpace):
            raise
        except ForebayError as exc:
            await self._fail(live, exc)

    async def _fail(self, live: LiveUpload, error: ForebayError) -> None:
        log.warning("transfer failed", upload=live.row.id, code=error.code, detail=error.detail)
        await self._on_failed(live, error)

    def _note(self, live: LiveUpload, error: ForebayError, attempts: int) -> None:
        log.warning("transfer waits", upload=live.row.id, code=error.code, detail=error.detail, attempts=attempts)
        self._metrics.retried("destination")
        live.retries.failed("destination", error.code, attempts)
        live.retries.again()
        destination = self._destinations.get(live.row.destination)
        sentence = error.detail if destination is None else _in_words(destination, error)
        live.problem = TransferProblem(error.code, error.detail, attempts, sentence)
        if attempts == 1 and isinstance(error, (DestinationQuotaReached, DestinationFull)):
            _note_trouble(self._incidents, live.row.destination, sentence)
        live.changed()

    async def _advance(self, live: LiveUpload, destination: Destination, passage: Passage) -> None:
        try:
            linkable = await self._linkable(live, destination)
            if linkable or (live.row.length_deferred and not live.relayed):  # staging keeps it until its length is said
                # What is still received leaves its permit to others, above all to those that are whole.
                gate = self.gates[live.row.destination]
                pieces = self._reader.pieces(
                    live,
                    send_from=live.row.size,
                    send_until=live.row.size,
                    stall_s=0,
                    give_way=lambda: gate.waiting > 0 and live.row.state is not UploadState.TRANSFERRING,
                    on_digested=self._throughput.sent,
                )
                async with aclosing(pieces):
                    async for _ in pieces:
                        pass
                sent = linkable
            else:
                # A client that keeps sending must not keep the permit from the others for ever; nor one that has stopped.
                gate, turn_ends = self.gates[live.row.destination], time.monotonic() + _TURN_S
                turn = Turn(lambda: gate.waiting > 0 and time.monotonic() > turn_ends, passage.works)
                sent = await self._sender.advance(live, destination, turn)
            if sent and live.row.state is UploadState.TRANSFERRING and live.digest.position == live.row.size:
                await self._publish(live, destination)
        except BytesLost as lost:
            await self._lost(live, lost)

    async def _linkable(self, live: LiveUpload, destination: Destination) -> bool:
        """Whether the destination can take the staged file itself; the same for all of a destination's uploads."""
        name = live.row.destination
        if name not in self._takes_over:
            self._takes_over[name] = (
                isinstance(self._staging, Linkable)
                and isinstance(destination, TakesOver)
                and await asyncio.to_thread(destination.can_take_over, self._staging.path(live.row.id))
            )
        return self._takes_over[name]

    async def _lost(self, live: LiveUpload, lost: BytesLost) -> None:
        log.error(
            "staged bytes are not those acknowledged",
            upload=live.row.id,
            offset=lost.extent.offset,
            bytes=lost.extent.length,
        )
        if live.session is not None:  # some of the spoilt bytes may have been sent
            await unbroken(self._leave_session(live, live.session))
            await self._sender.forget(live)
        # Neither is `unbroken`: they may end the upload, and with it this task.
        await self._on_lost(live, [lost.extent])

    @staticmethod
    async def _leave_session(live: LiveUpload, session: TransferSession) -> None:
        await session.abort()
        live.session, live.plan, live.digest = None, None, PrefixDigest()

    async def _publish(self, live: LiveUpload, destination: Destination) -> None:
        """May be cancelled as long as the destination is waited for: then nobody knows, and the session finds out."""
        started = time.monotonic()
        async with live.lock:
            if live.row.state is not UploadState.TRANSFERRING:
                return  # cancelled just before
            digests = Digests(sha256=live.digest.hexdigest(), crc32c=live.digest.crc32c)
            check_declared(live.row, digests)
            if live.stored is None:
                live.stored = await self._store(live, destination, digests)
            await unbroken(self._complete(live, live.stored, digests, started))

    async def _complete(self, live: LiveUpload, stored: StoredFile, digests: Digests, started: float) -> None:
        row = self._completed(replace(live.row, retries=live.retries.dump()), stored, digests)
        await self._repository.save_upload(row, durable=True)
        live.row = row
        self._count(row, started)
        await self._on_ended(live)

    def _completed(self, row: Upload, stored: StoredFile, digests: Digests) -> Upload:
        return row.become(
            UploadState.COMPLETED,
            stored_id=stored.id,
            stored_name=stored.name,
            sha256=digests.sha256,
            crc32c=digests.crc32c,
            transfer_state=None,
            ended_at=time.time(),
            active_at_s=self._clock(),
        )

    def _count(self, row: Upload, started: float) -> None:
        self._metrics.transferred(row.destination, row.size)
        self._metrics.transfer_finished(row.destination, time.monotonic() - started)

    async def publish_unrecorded(self, live: LiveUpload) -> Upload | None:
        """Link a synced and digested file of which the database knows nothing yet; returns the row that it is to have.

        None where that can't be done, or not now: record it first, then `poke`. Whoever can't record it calls `withdraw`.

        Raises:
            NameTaken: as `TransferSession.finish`.
        """
        started = time.monotonic()
        destination = self._destinations.get(live.row.destination)
        digests = Digests(sha256=live.digest.hexdigest(), crc32c=live.digest.crc32c)
        try:
            if destination is None or not await self._linkable(live, destination):
                return None
            live.stored = await self._store(live, destination, digests)
        except (Unavailable, OutOfSpace):
            return None
        row = self._completed(live.row, live.stored, digests)
        self._count(row, started)
        self._throughput.sent(row.size)
        return row

    async def withdraw(self, live: LiveUpload) -> None:
        """Remove what `publish_unrecorded` has published, if it is still what has the name."""
        destination = self._destinations.get(live.row.destination)
        if live.stored is not None and isinstance(destination, TakesOver) and isinstance(self._staging, Linkable):
            await destination.take_back(live.stored.id, self._staging.path(live.row.id))

    def let_end(self, live: LiveUpload) -> None:
        """Clear away after an upload that was recorded as completed, while its client gets its answer."""
        if self._group is not None:
            live.transfer_task = self._group.create_task(
                self._end(live), name=f"transfer-{live.row.id}", context=Context()
            )

    async def _end(self, live: LiveUpload) -> None:
        try:
            await unbroken(self._on_ended(live))
        except Exception:  # what it holds is found at the next start; the server goes on
            log.exception("clearing away broke", upload=live.row.id)
        finally:
            live.transfer_task = None

    async def _store(self, live: LiveUpload, destination: Destination, digests: Digests) -> StoredFile:
        if (
            await self._linkable(live, destination)
            and isinstance(self._staging, Linkable)
            and isinstance(destination, TakesOver)
        ):
            path = self._staging.path(live.row.id)
            with live.waits.of(Cause.DISK):
                return await unbroken(destination.take_over(target_of(live.row), path, digests))
        with live.waits.of(live.storing):
            if live.session is None:
                live.session = await destination.begin(target_of(live.row), live.row.transfer_state)
            live.session.declare(live.row.size)  # it may have been said while the last bytes were on their way
            return await live.session.finish(digests, self._sender.source(live))


def _in_words(destination: Destination, error: ForebayError) -> str:
    """What an operator is told."""
    advice = destination.advice(error) if isinstance(destination, Advises) else ""
    return f"{error.detail} {advice}".strip()


def _note_trouble(incidents: Incidents, name: str, sentence: str) -> None:
    incidents.note(Kind.DESTINATION, f"Destination {name}: {sentence}")


def _is_linked(path: Path) -> bool:
    try:
        return path.stat().st_nlink > 1
    except OSError:
        return False


def check_declared(row: Upload, digests: Digests) -> None:
    """Compare with what the client declared for the whole file.

    Raises:
        DigestMismatch: they differ.
    """
    if row.declared_sha256 not in {None, digests.sha256} or row.declared_crc32c not in {None, digests.crc32c}:
        raise DigestMismatch("The file received does not have the digest that was declared for it; it was not stored.")
