"""An upload's bytes on their way into a destination's session, while later chunks still arrive.

Laws:
- A session's `state` is in the database before bytes are appended to it, so that a server that dies goes on with it.
- What is announced is decided by the upload's `SendPlan`; where a request has failed, the next ones are small.
- Staging keeps everything until the upload has ended: whatever the destination has lost is sent again from there. But
  where it relays, it keeps what the destination has not confirmed; then `Relay` says how it goes on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from app.core.errors import DestinationMismatch, DestinationUnavailable, OutOfSpace, StagingUnavailable, Unavailable
from app.core.upload import Upload
from app.destinations.port import Destination, Target, TransferSession
from app.persistence.repository import Repository
from app.services.limits.send_plan import SendPlan
from app.services.live import LiveUpload
from app.services.prefix_reader import BytesLost, PrefixReader
from app.services.progress import Throughput
from app.services.relay import Relay

__all__ = ["Sender", "Turn", "target_of"]

_FRUITLESS: Final = 3  # requests in a row after which the destination had no more than before
STALL_S: Final = 5.0  # DESIGN section 2: an open stream to a destination is ended when nothing new came for so long


def target_of(row: Upload) -> Target:
    """What the destination is told."""
    return Target(
        upload_id=row.id,
        folder=row.folder,
        filename=row.filename,
        media_type=row.media_type,
        size=row.size,
        on_conflict=row.on_conflict,
        length_deferred=row.length_deferred,
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody's turn at the destination."""

    give_way: Callable[[], bool]
    """Whether somebody else's has come."""
    on_answer: Callable[[], None]
    """Told when the destination has answered."""


class Sender:
    """Sends; one call per upload at a time."""

    def __init__(
        self,
        *,
        reader: PrefixReader,
        repository: Repository,
        throughput: Throughput,
        closed_bytes: int | None,
        relay: Relay | None = None,
    ) -> None:
        """Keep what it works with.

        Args:
            reader: reads staging.
            repository: where sessions' states are kept.
            throughput: counts what is sent.
            closed_bytes: announce nothing that has not come, and so many bytes at most; None: as the plan says.
            relay: where staging does not keep everything; then it says how many bytes.
        """
        self._reader = reader
        self._repository = repository
        self._throughput = throughput
        self._closed_bytes = closed_bytes
        self._relay = relay

    async def _session(self, live: LiveUpload, destination: Destination, turn: Turn) -> TransferSession:
        """The upload's session at its destination, begun or taken up."""
        if live.session is None:
            if live.relayed:
                await self._remove_former(live, destination)
            with live.waits.of(live.storing):
                live.session = await destination.begin(target_of(live.row), live.row.transfer_state)
            turn.on_answer()
        return live.session

    async def _remove_former(self, live: LiveUpload, destination: Destination) -> None:
        """What a session has that can't be gone on with, since its bytes are not here any more."""
        former, state = live.former_session, live.row.transfer_state
        if former is None and (state is None or live.digest.position == live.row.size):
            return
        if former is None:
            former = await destination.begin(target_of(live.row), state)
        await former.abort()
        await self._save_state(live, None)
        live.former_session = None

    async def advance(self, live: LiveUpload, destination: Destination, turn: Turn) -> bool:
        """Send what can be sent now, and digest it on the way; whether all is sent that goes before `finish`.

        Raises:
            BytesLost: staging does not hold what was acknowledged.
            DestinationUnavailable, OutOfSpace, StagingUnavailable, PoolExhausted: not now.
            DatabaseUnavailable: not now.
        """
        session = await self._session(live, destination, turn)
        await self._save(live, session)
        if self._relay is not None and not await self._relay.in_step(live, session.committed):
            return False
        if not live.row.length_deferred:
            session.declare(live.row.size)
        if live.plan is None or live.plan.size != live.row.size:
            closed_bytes = self._closed_bytes if self._relay is None else self._relay.closed_bytes(live.row)
            live.plan = SendPlan(destination.abilities, live.row.size, closed_bytes=closed_bytes)
        if live.digest.position < session.committed:  # after a restart: no request is open while that takes its time
            await self._digest(live, session.committed, turn)
            if live.digest.position < session.committed and turn.give_way():
                return False
        until = live.plan.until(session.committed, live.readable_prefix)
        if until > session.committed:
            await self._append(live, session, live.plan, until, turn)
        sent = session.committed >= destination.abilities.sendable(live.row.size, live.row.size)
        if sent or (self._relay is not None and not live.has_more_to_send):
            await self._digest(live, live.row.size, turn)
        if self._relay is not None:
            # A request that broke may have brought what the digest has not passed; what is acknowledged may be gone.
            await self._digest(live, session.committed, turn)
            await self._relay.acknowledge(live, min(session.committed, live.digest.position))
        return sent

    async def _digest(self, live: LiveUpload, until: int, turn: Turn) -> None:
        pieces = self._reader.pieces(live, send_from=until, send_until=until, stall_s=0, give_way=turn.give_way)
        async with aclosing(pieces):
            async for _ in pieces:
                pass

    async def _append(self, live: LiveUpload, session: TransferSession, plan: SendPlan, until: int, turn: Turn) -> None:
        taken, was_there = session.committed, live.readable_prefix
        position = taken

        def sent(count: int) -> None:
            nonlocal position
            position += count
            live.sent = position
            self._throughput.sent(count)

        pieces = self._reader.pieces(
            live,
            send_from=taken,
            send_until=until,
            stall_s=STALL_S if plan.streams else 0,
            give_way=turn.give_way,
        )
        try:
            async with aclosing(pieces), aclosing(_given(live, pieces, sent)) as given:
                with live.waits.of(live.storing):
                    await session.append(given, until - taken)
                if session.committed == until:
                    async for _ in pieces:  # an extent may end behind what is sent: its digest must not be lost
                        pass
        except (Unavailable, OutOfSpace) as exc:
            if isinstance(exc, DestinationUnavailable):
                plan.broke()
            await self._save(live, session)
            raise
        finally:
            live.sent = 0
        await self._save(live, session)
        if session.committed < until and plan.streams:
            plan.stalled()
        else:
            plan.went_well(received_more=live.readable_prefix > was_there)
        if session.committed > taken:
            live.fruitless = 0
            turn.on_answer()
            live.changed()
        else:
            live.fruitless += 1
            if live.fruitless >= _FRUITLESS:
                raise DestinationUnavailable("The destination takes what is sent and keeps nothing of it.")

    async def _save(self, live: LiveUpload, session: TransferSession) -> None:
        if session.state != live.row.transfer_state:
            await self._save_state(live, session.state)

    async def _save_state(self, live: LiveUpload, state: str | None) -> None:
        async with live.lock:
            if live.row.ended or live.row.transfer_state == state:
                return
            # Durable when a session begins: after a power cut it is the only way to find what it has become there.
            durable = live.row.transfer_state is None
            row = replace(
                live.row, transfer_state=state, retries=live.retries.dump()
            )  # chunks may have been recorded meanwhile
            await self._repository.save_upload(row, durable=durable)
            live.row = row

    def source(self, live: LiveUpload) -> LiveSource:
        """The bytes, for `finish`."""
        return LiveSource(self._reader, live, self._throughput.sent)

    async def forget(self, live: LiveUpload) -> None:
        """The session is worth nothing any more: the next one begins anew."""
        if self._relay is not None:
            await self._relay.begin_anew(live)
            return
        live.session, live.plan = None, None
        await self._save_state(live, None)


async def _given(
    live: LiveUpload, pieces: AsyncIterator[memoryview], on_sent: Callable[[int], None]
) -> AsyncGenerator[memoryview]:
    """The pieces, for a destination that is waited for: while it waits for one of them it is not.

    Whoever asks for the next one has sent the one before; of that `on_sent` is told.
    """
    while True:
        with live.waits.instead(live.storing):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece
        on_sent(len(piece))


class LiveSource:
    """`Source` over staging; what it reads is compared with what was acknowledged."""

    def __init__(self, reader: PrefixReader, live: LiveUpload, on_sent: Callable[[int], None]) -> None:
        """Of one upload; `on_sent` is told how many bytes were asked for."""
        self._reader = reader
        self._on_sent = on_sent
        self._live = live

    @asynccontextmanager
    async def pieces(self, start: int) -> AsyncIterator[AsyncIterator[memoryview]]:
        """The bytes from `start` on; looked at whole before the first is given: with these the file is published."""
        live, size = self._live, self._live.row.size
        extents = live.readable_between(start, size)
        if live.relayed and start < size and (not extents or extents[0].offset > start):
            raise self._had()
        with live.waits.instead(live.storing):
            for extent in extents:
                if not await self._reader.verify(live, extent):
                    raise BytesLost(extent)
        pieces = self._reader.pieces(live, send_from=start, send_until=size, stall_s=0)
        async with aclosing(pieces), aclosing(_given(live, pieces, self._on_sent)) as given:
            yield given

    def _had(self) -> Unavailable:
        """Where staging relays, what the destination has had is not here any more."""
        if self._live.forwarded < self._live.row.size:
            return StagingUnavailable("The destination has lost what it had. It is asked for again.")
        return DestinationMismatch("What the destination has stored can't be compared with what was sent.")
