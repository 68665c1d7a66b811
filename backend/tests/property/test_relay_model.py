"""Relaying through memory against a model: chunks in any order, repeated, conflicting, broken off, of uploads that share
too little room, to a destination that is late, keeps less, fails, loses sessions and stores other bytes; a database that
fails. Whatever happens: no room is lost, nothing is acknowledged that the destination does not have, a patient client
gets every file there, once, and it is the bytes that were acknowledged.

The services are the real ones, in virtual time (`app.testing.relay_rig`).
"""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import suppress
from typing import Any
from unittest.mock import patch

from crc32c import crc32c
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.core.errors import (
    ChunkConflict,
    ClientGone,
    Conflict,
    DatabaseUnavailable,
    ForebayError,
    StateConflict,
    Unavailable,
)
from app.core.upload import KIB, Completion, UploadState
from app.destinations.port import Abilities
from app.protocols.digest import NOTHING_DECLARED
from app.services import prefix_reader
from app.services.live import LiveUpload
from app.services.new_upload import NewUpload
from app.staging.memory.window import Window
from app.testing.relay_rig import CHUNK, LANES, SLABS, WINDOW_SLABS, Body, RelayRig
from app.testing.virtual_time import VirtualTimeLoop

MOST_CHUNKS = 10
WHIMS = ["", "refuse", "break", "doubt", "less", "lose", "mismatch"]
_VARIANTS = [random.Random(seed).randbytes(MOST_CHUNKS * CHUNK) for seed in (1, 2)]


class Sent:
    """A request under way."""

    def __init__(self, model: RelayModel, live: LiveUpload, number: int, variant: int) -> None:
        self.model = model
        self.live = live
        self.number = number
        self.variant = variant
        self.chunk = live.row.grid.chunk(number)
        self.content = _VARIANTS[variant][self.chunk.offset : self.chunk.end]
        self.body = Body(self.content)
        body: Any = self.body
        processor = model.rig.processor
        self.task = model.loop.create_task(self._watched(processor.receive(live, number, body, NOTHING_DECLARED)))

    async def _watched(self, receiving: Any) -> ForebayError | None:
        try:
            answer = await receiving
        except ForebayError as exc:
            return exc
        self._check(answer)
        return None

    def _check(self, answer: int) -> None:
        """It was acknowledged: is that so?"""
        live, chunk = self.live, self.chunk
        assert answer == crc32c(self.content)
        sendable = live.abilities.sendable(live.row.size, chunk.end)
        assert self.model.rig.destination.reached[live.row.id] >= sendable
        if live.is_recorded(chunk) and not live.row.ended:
            assert live.crc32c_of(chunk) == answer
            extent = self.model.rig.records.recorded[live.row.id].get(chunk.offset)
            assert extent is None or extent.crc32c == answer  # None: all is being asked for again right now


class RelayModel(RuleBasedStateMachine):
    """Up to three uploads."""

    @initialize(multiple=st.sampled_from([1, 64 * KIB, CHUNK]), last=st.booleans())
    def begin(self, multiple: int, last: bool) -> None:
        """A destination with these abilities."""
        self.loop = VirtualTimeLoop()
        self.uncrowded = patch.object(prefix_reader, "_CROWDED", math.inf)  # it looks at the real processors
        self.uncrowded.start()
        self.lives: list[LiveUpload] = []
        self.sent: list[Sent] = []
        self.to_cancel: list[LiveUpload] = []
        abilities = Abilities(transfers=2, part_multiple_bytes=multiple, last_with_finish=last)
        self.rig = self._run(self._made(abilities))

    async def _made(self, abilities: Abilities) -> RelayRig:
        rig = RelayRig(self.loop, abilities)
        await asyncio.sleep(0)
        return rig

    def _run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def _settle(self, turns: int = 60) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        self.sent = [sent for sent in self.sent if not self._judged(sent)]

    @staticmethod
    def _judged(sent: Sent) -> bool:
        if not sent.task.done():
            return False
        error = sent.task.result()
        assert error is None or isinstance(error, (Unavailable, Conflict, ClientGone)), error
        return True

    def _live(self, index: int) -> LiveUpload:
        return self.lives[index % len(self.lives)]

    @precondition(lambda self: len(self.lives) < 3)
    @rule(count=st.integers(1, MOST_CHUNKS), cut=st.integers(0, CHUNK - 1), explicit=st.booleans())
    def create(self, count: int, cut: int, explicit: bool) -> None:
        """One more upload."""
        wanted = NewUpload(
            filename=f"{len(self.lives)}.bin",
            size=count * CHUNK - cut,
            chunk_size=CHUNK,
            completion=Completion.EXPLICIT if explicit else Completion.AUTO,
        )
        self.rig.records.failures.clear()
        owner = f"user{len(self.lives)}"
        self.lives.append(self._run(self.rig.uploads.create(owner, wanted, idempotency_key=None)))

    @precondition(lambda self: self.lives and len(self.sent) < 12)
    @rule(
        upload=st.integers(0, 2),
        numbers=st.lists(st.integers(0, MOST_CHUNKS - 1), min_size=1, max_size=4),
        variant=st.sampled_from([0, 0, 0, 1]),
        share=st.sampled_from([0.0, 0.5, 1.0, 1.0]),
    )
    def send(self, upload: int, numbers: list[int], variant: int, share: float) -> None:
        """Chunks, of which so much comes at once."""
        live = self._live(upload)

        async def go() -> None:
            for number in numbers:
                sent = Sent(self, live, number % live.row.grid.count, variant)
                sent.body.bring(int(share * sent.body.length))
                self.sent.append(sent)
            await self._settle()

        self._run(go())

    @precondition(lambda self: self.lives and len(self.sent) < 12)
    @rule(upload=st.integers(0, 2), count=st.integers(1, 5), whims=st.lists(st.sampled_from(WHIMS), max_size=3))
    def go_on(self, upload: int, count: int, whims: list[str]) -> None:
        """The next chunks that are missing, in order, as a client would send them."""
        live = self._live(upload)
        self.rig.destination.whims += whims

        async def go() -> None:
            grid = live.row.grid
            missing = [number for number in range(grid.count) if not live.is_recorded(grid.chunk(number))]
            for number in missing[:count]:
                sent = Sent(self, live, number, 0)
                sent.body.bring(sent.body.length)
                self.sent.append(sent)
            await self._settle()

        self._run(go())

    @precondition(lambda self: self.sent)
    @rule(index=st.integers(0, 20), count=st.sampled_from([1, 100 * KIB, CHUNK]))
    def more_comes(self, index: int, count: int) -> None:
        """Of a body that had stopped."""

        async def go() -> None:
            self.sent[index % len(self.sent)].body.bring(count)
            await self._settle()

        self._run(go())

    @precondition(lambda self: self.sent)
    @rule(index=st.integers(0, 20), how=st.sampled_from(["leaves", "cancelled"]))
    def break_off(self, index: int, how: str) -> None:
        """The client leaves, or the server is told to stop."""
        sent = self.sent[index % len(self.sent)]

        async def go() -> None:
            if how == "leaves":
                sent.body.leave()
                await self._settle()
                return
            self.sent.remove(sent)
            sent.task.cancel()
            await asyncio.wait([sent.task])
            await self._settle()

        self._run(go())

    @rule(whims=st.lists(st.sampled_from(WHIMS), min_size=1, max_size=4))
    def take_a_whim(self, whims: list[str]) -> None:
        """What the destination does next."""
        self.rig.destination.whims = whims

    @rule(opened=st.booleans())
    def open_or_shut(self, opened: bool) -> None:
        """It takes its time."""

        async def go() -> None:
            (self.rig.destination.open.set if opened else self.rig.destination.open.clear)()
            await self._settle()

        self._run(go())

    @rule(failures=st.lists(st.booleans(), max_size=2))
    def break_the_database(self, failures: list[bool]) -> None:
        """The next writes fail, committed or not."""
        self.rig.records.failures = failures

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 40.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """Timers fire."""

        async def go() -> None:
            await asyncio.sleep(seconds)
            await self._settle()

        self._run(go())

    @precondition(lambda self: any(not live.row.ended for live in self.lives) and len(self.lives) > 1)
    @rule(upload=st.integers(0, 2), really=st.integers(0, 9))
    def cancel(self, upload: int, really: int) -> None:
        """For good, unless it is completed, or as good as; not often."""
        if really != 7:
            return

        async def go() -> None:
            live = self._live(upload)
            try:
                await self.rig.uploads.cancel(live)
            except StateConflict:
                return
            except DatabaseUnavailable:
                self.to_cancel.append(live)  # who was told so asks again
            await self._settle()

        self.rig.destination.open.set()
        self._run(go())

    @precondition(lambda self: self.lives)
    @rule(upload=st.integers(0, 2))
    def idle(self, upload: int) -> None:
        """Housekeeping asks for the room of an upload that stood still."""
        live = self._live(upload)
        if not live.row.ended and not live.receivers:
            self._run(self.rig.staging.release_room(live.row.id))

    @invariant()
    def room_is_somebodys_or_free(self) -> None:
        """No slab is lost or twice there, no window is larger than it may be, and what is recorded has no gap."""
        if not hasattr(self, "rig"):
            return
        staging = self.rig.staging
        used = [slab for place in staging._places.values() for slab in place.window.slabs]
        assert sorted(used + staging._slabs.free) == list(range(SLABS))
        assert all(len(place.window.slabs) <= WINDOW_SLABS for place in staging._places.values())
        for live in self.lives:
            assert live.recorded.total == live.recorded.prefix
            if live.gone.is_set():
                assert live.row.id not in staging._places
            elif not live.row.ended:
                self._window_is_what_the_upload_knows(live, staging._places[live.row.id].window)

    def _window_is_what_the_upload_knows(self, live: LiveUpload, window: Window) -> None:
        assert {offset: extent.end for offset, extent in live.readable.items()} == window.kept
        ends = [window.start, *window.kept.values(), *(end for _, end in window._wanted)]
        assert len(window.slabs) == window._slabs_to(max(ends)), "no more room than is kept or held"
        if all(sent.live is not live for sent in self.sent):
            assert not window.attended

    def teardown(self) -> None:
        """Let everything be well, and bring every upload that goes on to its end."""
        if not hasattr(self, "rig"):
            return
        try:
            self._run(asyncio.wait_for(self._to_the_end(), 5000))
        finally:
            self.uncrowded.stop()
            self.loop.close()

    async def _to_the_end(self) -> None:
        rig = self.rig
        rig.destination.whims, rig.records.failures = [], []
        rig.destination.open.set()
        for sent in self.sent:
            sent.body.leave()
        if self.sent:
            await asyncio.wait([sent.task for sent in self.sent])
        await self._settle()
        for live in self.to_cancel:
            with suppress(StateConflict):
                await rig.uploads.cancel(live)
        await asyncio.gather(*(self._patiently(live) for live in self.lives))
        await self._settle()
        assert (rig.staging.latest.reserved_bytes, rig.staging.latest.waiting) == (0, 0)
        assert rig.slots.stats.active_uploads == 0
        completed = {live.row.id for live in self.lives if live.row.state is UploadState.COMPLETED}
        assert set(rig.destination.files) == completed
        await rig.close()

    async def _patiently(self, live: LiveUpload) -> None:
        """A client that goes on, and knows which of its files it is sending."""
        variants = [0] * live.row.grid.count
        lanes = asyncio.Semaphore(LANES)

        async def bring(number: int) -> None:
            async with lanes:
                sent = Sent(self, live, number, variants[number])
                sent.body.bring(sent.body.length)
                error = await sent.task
                if isinstance(error, ChunkConflict):
                    variants[number] ^= 1
                elif error is not None:
                    assert isinstance(error, (Unavailable, StateConflict)), error
                    await asyncio.sleep(error.retry_after_s or 1)

        while not live.row.ended:
            missing = {n for n in range(live.row.grid.count) if not live.is_recorded(live.row.grid.chunk(n))}
            await asyncio.gather(*(bring(number) for number in sorted(missing)))
            if live.row.completion is Completion.EXPLICIT and not live.row.ended:
                try:
                    await self.rig.uploads.complete(live, NOTHING_DECLARED)
                except (Conflict, Unavailable):
                    await asyncio.sleep(1)
            else:
                await asyncio.sleep(1)
        if live.row.state is UploadState.COMPLETED:
            stored = self.rig.destination.files[live.row.id]
            for number in range(live.row.grid.count):
                chunk = live.row.grid.chunk(number)
                content = stored[chunk.offset : chunk.end]
                assert content in {_VARIANTS[0][chunk.offset : chunk.end], _VARIANTS[1][chunk.offset : chunk.end]}
                assert self.rig.records.recorded[live.row.id][chunk.offset].crc32c == crc32c(content)
        else:
            assert live.row.state is UploadState.CANCELLED, live.row
        await live.gone.wait()


TestRelayModel = RelayModel.TestCase
TestRelayModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
