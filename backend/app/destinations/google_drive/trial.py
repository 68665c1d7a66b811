"""A small file there and back: what `forebay-server drive check` does, step by step.

Laws: the destination is used through its port alone, as a transfer uses it; the file is random bytes under a random name,
and nothing of it stays, however the trial ends; each step says what works, or what is wrong and what to do; the first
that is wrong ends it, for the others would fail by it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Protocol, TypeVar

from crc32c import crc32c

from app.core.errors import DestinationMismatch, DestinationUnavailable, ForebayError
from app.core.upload import KIB, NameConflictPolicy, StoredFile
from app.destinations.google_drive.credentials import GoogleTokens
from app.destinations.google_drive.cures import cure_for, scope_in_words
from app.destinations.google_drive.login_file import Kind, Login, read_login
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.google_drive.refusals import TESTING_HINT
from app.destinations.port import Destination, Digests, ServesFiles, Target, TransferSession

__all__ = ["Step", "Trial", "TriedDestination"]

_T = TypeVar("_T")
_PARTS: Final = 3
_BREAK_AFTER: Final = 2  # parts
_PART_BYTES: Final = 256 * KIB  # where the destination has no multiple
_REST_BYTES: Final = 4_321  # the last bytes are no whole part
_PIECE_BYTES: Final = 100_000
_ATTEMPTS: Final = 4
_PAUSE_S: Final = 1.0
_CLOCK_S: Final = 60.0
_CLEANING_S: Final = 20.0


class TriedDestination(Destination, ServesFiles, Protocol):
    """What is tried: it stores, gives back and removes."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was found in one step."""

    subject: str
    verdict: Literal["ok", "note", "wrong"]
    text: str
    cure: str = ""


class Trial:
    """One trial of one destination. Event loop only."""

    def __init__(self, make: Callable[[], TriedDestination], options: GoogleDriveOptions, tokens: GoogleTokens) -> None:
        """Nothing is asked yet.

        Args:
            make: the destination, anew each time; closed here.
            options: where its login is.
            tokens: of that login; not closed here.
        """
        self._make = make
        self._destination = destination = make()
        self._options = options
        self._tokens = tokens
        self._login: Login | None = None
        part = max(destination.abilities.part_multiple_bytes, destination.abilities.min_part_bytes)
        self._part = part if part > 1 else _PART_BYTES
        self._data = os.urandom(_PARTS * self._part + _REST_BYTES)
        name = f"forebay-check-{secrets.token_hex(4)}.bin"
        self._target = Target(
            secrets.token_hex(16), "", name, "application/octet-stream", len(self._data), NameConflictPolicy.RENAME
        )
        self._session: TransferSession | None = None
        self._state: str | None = None
        self._stored: StoredFile | None = None

    async def steps(self) -> AsyncIterator[Step]:
        """Each as soon as it is known, the last one wrong or the end."""
        todo: list[tuple[str, Callable[[], Awaitable[list[Step]]]]] = [
            ("login", self._look_at_login),
            ("access token", self._get_token),
            ("folder", self._look_at_folder),
            ("upload", self._upload),
            ("reading back", self._read_back),
            ("deleting", self._delete),
        ]
        try:
            for subject, work in todo:
                try:
                    found = await work()
                except ForebayError as exc:
                    yield Step(subject, "wrong", str(exc), cure_for(exc, subject, self._login, self._options))
                    break
                for step in found:
                    yield step
        finally:
            left = await self._clean_up()
        if left:
            yield left

    # -- the steps -----------------------------------------------------------------------------------------------------

    async def _look_at_login(self) -> list[Step]:
        login = self._login = await asyncio.to_thread(read_login, self._options)
        subject = self._options.subject
        notes = []
        if login.kind is Kind.SERVICE_ACCOUNT:
            text = f"service account {login.who}" + (f", acting for {subject}" if subject else "")
        else:
            text = f"{login.who or 'a person'}, {scope_in_words(login.scopes)}"
            if subject:
                notes.append(Step("", "note", "FOREBAY_GOOGLE_DRIVE_SUBJECT means nothing for a person's login"))
        if login.open_to_others:
            cure = f"chmod 600 {self._options.credentials}"
            notes.append(Step("", "note", "others than the server's user may read the file", cure))
        if login.ends_at is not None:
            day = datetime.fromtimestamp(login.ends_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            ends = "ended" if login.ends_at < time.time() else "will end"
            notes.append(Step("", "note", f"Google said that it {ends} on {day}", TESTING_HINT))
        return [Step("login", "ok", text), *notes]

    async def _get_token(self) -> list[Step]:
        await self._tokens.token()
        found = [Step("access token", "ok", "Google gives one")]
        ahead_s = self._tokens.clock_ahead_s
        if ahead_s is not None and abs(ahead_s) > _CLOCK_S:
            way = "ahead of" if ahead_s > 0 else "behind"
            text = f"{abs(ahead_s):.0f} s {way} Google's"
            found.append(
                Step("clock", "note", text, "set it (timedatectl set-ntp true): certificates and tokens need it")
            )
        return found

    async def _look_at_folder(self) -> list[Step]:
        await self._patiently(self._destination.check)
        return [Step("folder", "ok", "takes files")]

    async def _upload(self) -> list[Step]:
        session = self._session = await self._patiently(lambda: self._destination.begin(self._target, None))
        for part in range(1, _BREAK_AFTER + 1):
            await self._append(session, part * self._part)
        state = self._state = session.state
        broken_at = session.committed
        # As after a crash: nothing is left but the state.
        self._session = None
        del session
        await self._destination.aclose()
        self._destination = self._make()
        session = self._session = await self._patiently(lambda: self._destination.begin(self._target, state))
        goal = self._destination.abilities.sendable(len(self._data), len(self._data))
        sent_again = await self._append(session, goal) - (goal - broken_at)
        digests = Digests(hashlib.sha256(self._data).hexdigest(), crc32c(self._data))
        stored = self._stored = await self._patiently(lambda: self._finish(digests))
        self._session = self._state = None
        if stored.size != len(self._data) or stored.sha256 not in {None, digests.sha256}:
            raise DestinationMismatch("Google Drive holds other bytes than were sent.")
        found = [Step("upload", "ok", f"{len(self._data):,} bytes, broken off after {broken_at:,} and resumed")]
        if sent_again > 0:
            found.append(Step("", "note", f"after the break, {sent_again:,} bytes had to be sent again"))
        return [*found, Step("digest", "ok", "what Google Drive holds is what was sent")]

    async def _finish(self, digests: Digests) -> StoredFile:
        if self._session is None:
            raise RuntimeError("no session")
        return await self._session.finish(digests, _Bytes(self._data))

    async def _append(self, session: TransferSession, goal: int) -> int:
        """Send up to there; returns how many bytes that took."""
        sent = 0

        async def counted(start: int) -> AsyncIterator[memoryview]:
            nonlocal sent
            async for piece in _pieces(self._data, start, goal):
                sent += len(piece)
                yield piece

        for attempt in range(1, _ATTEMPTS + 1):
            start = session.committed
            if start >= goal:
                return sent
            try:
                await session.append(counted(start), goal - start)
            except DestinationUnavailable as exc:
                if attempt == _ATTEMPTS or type(exc) is not DestinationUnavailable:
                    raise
                await asyncio.sleep(_PAUSE_S * attempt)
        if session.committed < goal:
            raise DestinationUnavailable("Google Drive takes what is sent and keeps nothing of it.")
        return sent

    async def _read_back(self) -> list[Step]:
        start, end = self._part - 1_000, 2 * self._part + 1_000
        got = await self._patiently(lambda: self._range(start, end))
        if got != self._data[start:end]:
            raise DestinationMismatch("Google Drive gives back other bytes than were sent.")
        return [Step("reading back", "ok", f"bytes {start:,} to {end - 1:,} are the same")]

    async def _range(self, start: int, end: int) -> bytes:
        if self._stored is None:
            raise RuntimeError("nothing is stored")
        async with self._destination.open_range(self._stored.id, start, end, size=len(self._data)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def _delete(self) -> list[Step]:
        if self._stored is not None:
            stored_id = self._stored.id
            await self._patiently(lambda: self._destination.delete(stored_id))
            self._stored = None
        return [Step("deleting", "ok", "the file is gone again")]

    async def _clean_up(self) -> Step | None:
        """After a step that went wrong, or Ctrl-C."""
        try:
            async with asyncio.timeout(_CLEANING_S):
                if self._stored is not None:
                    await self._destination.delete(self._stored.id)
                elif self._session is not None:
                    await self._session.abort()
                elif self._state is not None:
                    await (await self._destination.begin(self._target, self._state)).abort()
        except (ForebayError, TimeoutError):
            name = self._target.filename
            return Step("cleaning up", "note", f"{name} may still be there", "remove it in the browser")
        finally:
            await self._destination.aclose()
        return None

    async def _patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Again, a few times, where trying again is what helps."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return await call()
            except DestinationUnavailable as exc:
                if type(exc) is not DestinationUnavailable:
                    raise
                await asyncio.sleep(_PAUSE_S * attempt)
        return await call()


class _Bytes:
    """`Source` over bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @asynccontextmanager
    async def pieces(self, start: int) -> AsyncIterator[AsyncIterator[memoryview]]:
        """From there to the end."""
        yield _pieces(self._data, start, len(self._data))


async def _pieces(data: bytes, start: int, end: int) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for at in range(start, end, _PIECE_BYTES):
        yield view[at : min(end, at + _PIECE_BYTES)]
