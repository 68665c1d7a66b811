"""Whatever Drive does, in whatever order, and whenever the server dies: exactly one file, with the right bytes.

A state machine: faults are put on the requests to come, an upload is driven by what the engine does (append, finish, give
up, die), and at the end, when Drive behaves again, it must arrive once.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.core.errors import DestinationMismatch, Unavailable
from app.core.upload import NameConflictPolicy
from app.destinations.google_drive.api import Timeouts
from app.destinations.google_drive.destination import GoogleDriveDestination
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.port import Target
from app.testing.destination_contract import BytesSource, append, digests_of, pieces_of
from app.testing.drive_emulator import (
    CommitLess,
    CutAfter,
    DriveEmulator,
    ErrorIn200,
    Expire,
    LoseAnswer,
    Options,
    Rule,
    Stall,
    Status,
    Violation,
    WrongDigest,
)

UNIT = 262_144
ANYWHERE = st.sampled_from(
    [
        CutAfter(0),
        LoseAnswer(),
        Status(503),
        Status(500, when="after"),
        Status(429),
        Status(404),
        ErrorIn200(),
        ErrorIn200(when="after"),
        Stall(0.4),
    ]
)
ON_PUT = st.one_of(
    ANYWHERE,
    st.sampled_from([Expire(404), Expire(410), Stall(0.4, UNIT), CutAfter(UNIT + 7), WrongDigest()]),
    st.builds(CommitLess, st.integers(1, 4 * UNIT)),
)
FAULTS = st.one_of(
    st.tuples(st.just("upload.put"), ON_PUT),
    st.tuples(st.just("upload.finish"), st.sampled_from([LoseAnswer(), WrongDigest(), Status(500, when="after")])),
    st.tuples(
        st.sampled_from(["upload.query", "upload.start", "files.get", "files.list", "files.delete", "files.update"]),
        ANYWHERE,
    ),
)


class Tokens:
    """The emulator's own."""

    def __init__(self, drive: DriveEmulator) -> None:
        self.value = drive.access_token()

    async def token(self, *, refused: str | None = None) -> str:
        """Never refused."""
        return self.value


class Upload(RuleBasedStateMachine):
    """One upload and its emulator."""

    @initialize(
        size=st.sampled_from([0, 1, UNIT, 3 * UNIT, 3 * UNIT + 5]),
        policy=st.sampled_from(NameConflictPolicy),
        seed=st.integers(0, 1000),
    )
    def begin(self, size: int, policy: NameConflictPolicy, seed: int) -> None:
        """A file to be stored."""
        self.open = ExitStack()
        self.folder = Path(self.open.enter_context(tempfile.TemporaryDirectory()))
        self.drive = self.open.enter_context(DriveEmulator.in_thread(Options()))
        self.runner = self.open.enter_context(asyncio.Runner())
        self.data = random.Random(seed).randbytes(size)
        self.target = Target("u1", "a/b", "report.pdf", "text/plain", size, policy)
        self.saved: str | None = None
        self.session: Any = None
        self.destination: Any = None
        self.stored: Any = None
        self.live()

    def live(self) -> None:
        """Another life of the server."""
        self.destination = GoogleDriveDestination(
            "",
            options=GoogleDriveOptions(self.drive.root, self.folder / "login", self.folder / "key"),
            tokens=Tokens(self.drive),
            timeouts=Timeouts(connect_s=2, answer_s=0.15, stall_s=0.15),
        )

    def run(self, work: Any) -> Any:
        """What the engine does with errors that pass: it tries again, later."""
        try:
            return self.runner.run(work)
        except DestinationMismatch:
            self.session = self.saved = None
        except Unavailable:
            pass
        return None

    async def ready(self) -> Any:
        """The session, begun or taken up, with its state saved."""
        if self.session is None:
            self.session = await self.destination.begin(self.target, self.saved)
        self.saved = self.session.state
        return self.session

    @rule(faults=st.lists(FAULTS, min_size=1, max_size=3), times=st.integers(1, 2))
    def misbehave(self, faults: list[Any], times: int) -> None:
        """Drive will."""
        self.drive.script([Rule(operation, fault, times=times) for operation, fault in faults])

    @rule(until=st.integers(0, 4 * UNIT))
    def append(self, until: int) -> None:
        """Send some."""

        async def work() -> None:
            try:
                await append(self.destination, await self.ready(), self.data, until=until)
            finally:
                if self.session is not None:
                    self.saved = self.session.state

        self.run(work())

    @rule(come=st.integers(0, 2 * UNIT))
    def append_less_than_announced(self, come: int) -> None:
        """The client stalls."""

        async def work() -> None:
            session = await self.ready()
            end = self.destination.abilities.sendable(len(self.data), len(self.data))
            if end > session.committed:
                rest = self.data[session.committed : min(end, session.committed + come)]
                await session.append(
                    pieces_of(*(rest[at : at + 90_000] for at in range(0, len(rest), 90_000))), end - session.committed
                )
            self.saved = session.state

        self.run(work())

    @rule(at_s=st.floats(0, 0.05))
    def cancelled(self, at_s: float) -> None:
        """In the middle of anything."""

        async def work() -> None:
            async def go() -> None:
                session = await self.ready()
                await append(self.destination, session, self.data)
                await session.finish(digests_of(self.data), BytesSource(self.data))

            task = asyncio.create_task(go())
            await asyncio.sleep(at_s)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        self.run(work())

    @rule()
    def finish(self) -> None:
        """All of it."""

        async def work() -> None:
            session = await self.ready()
            self.stored = await session.finish(digests_of(self.data), BytesSource(self.data))

        self.run(work())

    @rule()
    def die(self) -> None:
        """And come back, with what was saved."""
        self.runner.run(self.destination.aclose())
        self.session = None
        self.live()

    @rule()
    def expire(self) -> None:
        """A week passes."""
        self.drive.expire_sessions()

    @invariant()
    def never_two(self) -> None:
        """At no time."""
        if hasattr(self, "drive"):
            there = [file for file in self.drive.files.values() if not file.is_folder]
            assert len(there) <= 1
            for file in there:
                assert file.size == len(self.data)

    def teardown(self) -> None:
        """Drive behaves again: it arrives, or is given up and nothing stays."""
        if not hasattr(self, "open"):
            return
        with self.open:
            self.drive.script([])
            give_up = len(self.data) % 2 == 1 and self.stored is None
            for _ in range(12 if give_up else 200):
                if give_up:
                    self.run(self._give_up())
                elif self.stored is None:
                    self.finish()
                    self.runner.run(asyncio.sleep(0.1 if self.stored is None else 0.0))  # a stall may have to end
            self.never_two()
            there = [file for file in self.drive.files.values() if not file.is_folder]
            if give_up:
                assert there == []
            else:
                (file,) = there
                assert (file.id, file.name) == (self.stored.id, "report.pdf")
                assert self.drive.content(file.id) == self.data
            parallel = self.drive.events.of
            assert [e for e in parallel("violation") if e.detail == Violation.PARALLEL_PUT] == []  # type: ignore[arg-type]
            self.runner.run(self.destination.aclose())

    async def _give_up(self) -> None:
        await (await self.ready()).abort()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestAnyFaults(Upload.TestCase):  # type: ignore[name-defined,misc]
    """Runs it."""

    settings = settings(
        max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
