"""The adapter on an emulator in a thread, with everything that a test may want to turn."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.core.errors import Unavailable
from app.core.upload import NameConflictPolicy, StoredFile
from app.destinations.google_drive.api import Timeouts
from app.destinations.google_drive.destination import GoogleDriveDestination
from app.destinations.google_drive.ledger import Ledger
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.google_drive.session import DriveSession
from app.destinations.port import KeepsValues, Target
from app.testing.destination_contract import BytesSource, append, digests_of
from app.testing.drive_emulator import DriveEmulator, DriveFile, Fault, Options, Rule

UNIT = 262_144
PATIENT = Timeouts(connect_s=10.0, answer_s=10.0, stall_s=10.0)
QUICK = Timeouts(connect_s=5.0, answer_s=1.5, stall_s=1.0)


class Tokens:
    """Access tokens without a login: the emulator's own."""

    def __init__(self, drive: DriveEmulator, scopes: tuple[str, ...]) -> None:
        self.drive = drive
        self.scopes = scopes
        self.refused: list[str] = []
        self.value = drive.access_token(scopes)
        self.error: Exception | None = None

    async def token(self, *, refused: str | None = None) -> str:
        """The same until it is refused."""
        if self.error is not None:
            raise self.error
        if refused is not None:
            self.refused.append(refused)
            if refused == self.value:
                self.value = self.drive.access_token(self.scopes)
        return self.value


class Rig:
    """An emulator, a destination on it, and what tests do with them."""

    def __init__(self, drive: DriveEmulator, destination: GoogleDriveDestination, tokens: Tokens) -> None:
        self.drive = drive
        self.destination = destination
        self.tokens = tokens

    async def begin(self, data: bytes, upload_id: str = "u1", saved: str | None = None, **more: object) -> DriveSession:
        """A session for the data."""
        return await self.destination.begin(target(upload_id, len(data), **more), saved)

    async def append(
        self, session: DriveSession, data: bytes, *, until: int | None = None, piece: int = 100_000
    ) -> int:
        """As the engine does."""
        return await append(self.destination, session, data, until=until, piece=piece)

    async def finish(self, session: DriveSession, data: bytes) -> StoredFile:
        """As the engine does."""
        return await session.finish(digests_of(data), BytesSource(data))

    async def store(self, data: bytes, upload_id: str = "u1", **more: object) -> StoredFile:
        """In one go, without a second try."""
        session = await self.begin(data, upload_id, **more)
        await self.append(session, data)
        return await self.finish(session, data)

    async def persist(self, session: DriveSession, data: bytes, *, tries: int = 8) -> StoredFile:
        """Until it has arrived."""
        end = self.destination.abilities.sendable(len(data), len(data))
        for _ in range(tries):
            try:
                if await self.append(session, data) == end or session.committed == len(data):
                    return await self.finish(session, data)
            except Unavailable:
                await asyncio.sleep(0.01)
        return await self.finish(session, data)

    def script(self, *rules: tuple[str, Fault] | Rule) -> None:
        """Faults, each once where only the operation is told."""
        self.drive.script([rule if isinstance(rule, Rule) else Rule(*rule, times=1) for rule in rules])

    @property
    def files(self) -> list[DriveFile]:
        """What is there and not in the trash, without folders."""
        return [file for file in self.drive.files.values() if not file.is_folder and not file.trashed]

    @property
    def names(self) -> list[str]:
        """Of these files."""
        return sorted(file.name for file in self.files)

    def assert_one(self, data: bytes, name: str = "report.pdf") -> DriveFile:
        """Exactly one file is there, with these bytes and this name."""
        (file,) = self.files
        assert (file.name, file.size) == (name, len(data))
        assert self.drive.content(file.id) == data
        return file


def target(
    upload_id: str,
    size: int,
    *,
    filename: str = "report.pdf",
    folder: str = "",
    media_type: str = "application/pdf",
    on_conflict: NameConflictPolicy = NameConflictPolicy.RENAME,
) -> Target:
    """A target with the usual members."""
    return Target(upload_id, folder, filename, media_type, size, on_conflict)


@pytest.fixture
async def start_rig(tmp_path: Path) -> AsyncIterator[Callable[..., Rig]]:
    """`start_rig(drive=…, folder_id=…, timeouts=…, …)`: a rig; another one on the same emulator is another life."""
    destinations: list[GoogleDriveDestination] = []
    with ExitStack() as running:

        def start(
            drive: DriveEmulator | None = None,
            *,
            folder_id: str = "",
            timeouts: Timeouts = PATIENT,
            daily_bytes: int = 750 * 10**9,
            values: KeepsValues | None = None,
            ledger: Ledger | None = None,
            key_file: Path | None = None,
            scopes: tuple[str, ...] = ("https://www.googleapis.com/auth/drive",),
            root: str | None = None,
            **options: object,
        ) -> Rig:
            if drive is None:
                drive = running.enter_context(DriveEmulator.in_thread(Options(**options)))  # type: ignore[arg-type]
            tokens = Tokens(drive, scopes)
            settings = GoogleDriveOptions(
                root or drive.root, tmp_path / "login.json", key_file or tmp_path / "key", daily_bytes=daily_bytes
            )
            destination = GoogleDriveDestination(
                folder_id, options=settings, tokens=tokens, values=values, ledger=ledger, timeouts=timeouts
            )
            destinations.append(destination)
            return Rig(drive, destination, tokens)

        yield start
        for destination in destinations:
            await destination.aclose()


@pytest.fixture
def rig(start_rig: Callable[..., Rig]) -> Rig:
    """One that does not wait long for a Drive that stalls."""
    return start_rig(timeouts=QUICK)


@pytest.fixture(scope="session")
def data() -> bytes:
    """Five units and a bit."""
    return os.urandom(5 * UNIT + 1234)


@pytest.fixture
def clean(rig: Rig) -> Iterator[Rig]:
    """A rig whose client must have done nothing that Drive does not allow."""
    yield rig
    assert rig.drive.events.violations == []
