"""What every destination adapter must do: subclass `DestinationContract` in a test module and provide `destination`."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from crc32c import crc32c

from app.core.errors import DestinationMismatch, DestinationUnavailable, NameTaken, NotFound
from app.core.upload import NameConflictPolicy, StoredFile
from app.destinations.port import Destination, Digests, ServesFiles, Target, TransferSession

__all__ = ["BytesSource", "DestinationContract", "append", "digests_of", "pieces_of", "read_back", "store", "target"]


def target(
    upload_id: str,
    size: int,
    *,
    filename: str = "report.pdf",
    folder: str = "",
    on_conflict: NameConflictPolicy = NameConflictPolicy.RENAME,
) -> Target:
    """A target with the usual members."""
    return Target(upload_id, folder, filename, "application/pdf", size, on_conflict)


def digests_of(data: bytes) -> Digests:
    """What the engine computes over the staged bytes."""
    return Digests(hashlib.sha256(data).hexdigest(), crc32c(data))


async def pieces_of(*pieces: bytes) -> AsyncGenerator[memoryview]:
    """Pieces whose memory is reused: each is overwritten as soon as the next is asked for."""
    slab = bytearray(max(map(len, pieces), default=0))
    for piece in pieces:
        slab[: len(piece)] = piece
        yield memoryview(slab)[: len(piece)]
        slab[:] = b"\xee" * len(slab)


class BytesSource:
    """`Source` over bytes, in pieces of at most 100,000 of them."""

    def __init__(self, data: bytes) -> None:
        """Of one file."""
        self._data = data

    @asynccontextmanager
    async def pieces(self, start: int) -> AsyncIterator[AsyncIterator[memoryview]]:
        """As `pieces_of`."""
        rest = self._data[start:]
        async with aclosing(pieces_of(*(rest[at : at + 100_000] for at in range(0, len(rest), 100_000)))) as pieces:
            yield pieces


async def append(
    destination: Destination, session: TransferSession, data: bytes, *, until: int | None = None, piece: int = 100_000
) -> int:
    """Append what of `data[:until]` the session lacks and the destination takes before `finish`; as `append`."""
    end = destination.abilities.sendable(len(data), len(data) if until is None else until)
    start = session.committed
    if end <= start:
        return start
    async with aclosing(pieces_of(*(data[at : min(end, at + piece)] for at in range(start, end, piece)))) as pieces:
        return await session.append(pieces, end - start)


async def store(destination: Destination, to: Target, data: bytes) -> StoredFile:
    """Send it in one go."""
    session = await destination.begin(to, None)
    await append(destination, session, data)
    return await session.finish(digests_of(data), BytesSource(data))


async def read_back(
    destination: ServesFiles, stored_id: str, start: int, end: int, *, size: int | None = None
) -> bytes:
    """A range of a stored file of `size` bytes; None: the range ends where the file does."""
    async with destination.open_range(stored_id, start, end, size=end if size is None else size) as pieces:
        return b"".join([piece async for piece in pieces])


class DestinationContract:
    """A subclass provides the fixture `destination`, empty, and tells which files it shows."""

    part: int = 1  # bytes; a piece of any size will do for an adapter whose parts have no multiple

    @pytest.fixture
    def destination(self) -> Destination:
        """An empty adapter."""
        raise NotImplementedError

    async def visible(self, destination: Destination) -> dict[str, bytes]:
        """Content by path of every file that others see at the destination."""
        raise NotImplementedError

    def pieces(self, *counts: int) -> list[bytes]:
        """Pieces of so many parts each, with recognisable content."""
        return [bytes([65 + number]) * count * self.part for number, count in enumerate(counts)]

    async def send(self, destination: Destination, to: Target, data: bytes, *, until: int | None = None) -> str:
        """Begin and append; returns the session's state."""
        session = await destination.begin(to, None)
        await append(destination, session, data, until=until)
        return session.state

    async def go_on(self, destination: Destination, session: TransferSession, data: bytes) -> None:
        """Append until nothing is left (the first call may only find out where it stands), and finish."""
        end = destination.abilities.sendable(len(data), len(data))
        for _ in range(5):
            if await append(destination, session, data) == end:
                break
        await session.finish(digests_of(data), BytesSource(data))

    async def test_it_is_ready(self, destination: Destination) -> None:
        """`check` passes, twice, and leaves nothing to be seen."""
        await destination.check()
        await destination.check()
        assert await self.visible(destination) == {}

    async def test_a_file_lands_whole(self, destination: Destination) -> None:
        """All bytes under the name asked for, with the size told back."""
        data = b"".join(self.pieces(3, 1, 2))
        stored = await store(destination, target("u1", len(data)), data)
        assert (stored.name, stored.size) == ("report.pdf", len(data))
        assert await self.visible(destination) == {"report.pdf": data}

    async def test_an_empty_file_lands(self, destination: Destination) -> None:
        """No bytes are a file, too."""
        await store(destination, target("u1", 0), b"")
        assert await self.visible(destination) == {"report.pdf": b""}

    async def test_it_lands_in_its_folder(self, destination: Destination) -> None:
        """Folders are made as needed and shared by uploads."""
        await store(destination, target("u1", 1, folder="a/b"), b"1")
        await store(destination, target("u2", 1, folder="a/b", filename="second"), b"2")
        assert await self.visible(destination) == {"a/b/report.pdf": b"1", "a/b/second": b"2"}

    async def test_nothing_is_seen_before_finish(self, destination: Destination) -> None:
        """All bytes sent is not yet published."""
        data = b"".join(self.pieces(2, 2))
        await self.send(destination, target("u1", len(data)), data)
        assert await self.visible(destination) == {}

    async def test_pieces_may_come_in_several_appends(self, destination: Destination) -> None:
        """`committed` tells where the next one starts."""
        first, second = self.pieces(2, 3)
        session = await destination.begin(target("u1", 5 * self.part), None)
        assert session.committed == 0
        data = first + second
        assert await append(destination, session, data, until=len(first)) == session.committed == len(first)
        await append(destination, session, data)
        await session.finish(digests_of(data), BytesSource(data))
        assert await self.visible(destination) == {"report.pdf": first + second}

    async def test_a_source_that_breaks_leaves_what_was_taken(self, destination: Destination) -> None:
        """The session goes on from `committed` after the pieces ended in an error."""

        async def breaking() -> AsyncIterator[memoryview]:
            yield memoryview(data[: 2 * self.part])
            raise ConnectionError

        data = b"".join(self.pieces(2, 2))
        session = await destination.begin(target("u1", len(data)), None)
        with pytest.raises(ConnectionError):
            await session.append(breaking(), 3 * self.part)
        await self.go_on(destination, session, data)
        assert await self.visible(destination) == {"report.pdf": data}

    async def test_a_saved_session_goes_on(self, destination: Destination) -> None:
        """After a crash of ours, `begin` with the state continues at `committed` and the file is whole."""
        pieces = self.pieces(2, 2)
        data = b"".join(pieces)
        state = await self.send(destination, target("u1", len(data)), data, until=len(pieces[0]))
        session = await destination.begin(target("u1", len(data)), state)
        assert 0 <= session.committed <= len(pieces[0])
        await self.go_on(destination, session, data)
        assert await self.visible(destination) == {"report.pdf": data}

    async def test_a_new_session_forgets_an_unsaved_one(self, destination: Destination) -> None:
        """Where the state was not saved in time, the file is sent again and is exactly itself."""
        data = b"z" * 3 * self.part
        await self.send(destination, target("u1", len(data)), b"x" * len(data), until=2 * self.part)
        await store(destination, target("u1", len(data)), data)
        assert await self.visible(destination) == {"report.pdf": data}

    async def test_finishing_twice_is_one_file(self, destination: Destination) -> None:
        """A crash after `finish` and before we noted it finds its own success."""
        data = b"".join(self.pieces(3))
        source = BytesSource(data)
        session = await destination.begin(target("u1", len(data)), None)
        await append(destination, session, data)
        stored = await session.finish(digests_of(data), source)
        assert await session.finish(digests_of(data), source) == stored
        again = await destination.begin(target("u1", len(data)), session.state)
        await append(destination, again, data)
        assert await again.finish(digests_of(data), source) == stored
        assert await self.visible(destination) == {"report.pdf": data}

    async def test_wrong_bytes_are_not_published(self, destination: Destination) -> None:
        """A digest that differs from what arrived there is an error, and nobody sees the file; a new session stores it."""
        data = b"".join(self.pieces(2))
        to = target("u1", len(data))
        session = await destination.begin(to, None)
        await append(destination, session, data)
        with pytest.raises(DestinationMismatch):
            await session.finish(digests_of(data[:-1] + b"!"), BytesSource(data))
        assert await self.visible(destination) == {}
        await store(destination, to, data)
        assert await self.visible(destination) == {"report.pdf": data}

    async def test_abort_leaves_nothing(self, destination: Destination) -> None:
        """And may be called again, also on the session taken up from its state."""
        data = b"".join(self.pieces(2))
        to = target("u1", len(data))
        session = await destination.begin(to, None)
        await append(destination, session, data)
        await session.abort()
        await session.abort()
        await (await destination.begin(to, session.state)).abort()
        assert await self.visible(destination) == {}

    async def test_a_taken_name_gets_a_number(self, destination: Destination) -> None:
        """Policy `rename` keeps every file."""
        for number in range(3):
            await store(destination, target(f"u{number}", 1), b"%d" % number)
        assert await self.visible(destination) == {
            "report.pdf": b"0",
            "report (1).pdf": b"1",
            "report (2).pdf": b"2",
        }

    async def test_a_taken_name_is_refused(self, destination: Destination) -> None:
        """Policy `fail` leaves the file that was there."""
        await store(destination, target("u1", 1), b"1")
        with pytest.raises(NameTaken):
            await store(destination, target("u2", 1, on_conflict=NameConflictPolicy.FAIL), b"2")
        assert await self.visible(destination) == {"report.pdf": b"1"}

    async def test_a_taken_name_is_replaced(self, destination: Destination) -> None:
        """Policy `replace` leaves one file, the new one."""
        await store(destination, target("u1", 1), b"1")
        await store(destination, target("u2", 2, on_conflict=NameConflictPolicy.REPLACE), b"22")
        assert await self.visible(destination) == {"report.pdf": b"22"}

    async def test_a_stored_file_is_served_and_deleted(self, destination: Destination) -> None:
        """Any range; after `delete`, which may be repeated, it is not found."""
        if not isinstance(destination, ServesFiles):
            pytest.skip("this adapter serves no files")
        data = bytes(range(256)) * 4096
        stored = await store(destination, target("u1", len(data)), data)
        for start, end in ((0, len(data)), (1, 2), (len(data) - 5, len(data)), (7, 7)):
            assert await read_back(destination, stored.id, start, end, size=len(data)) == data[start:end]
        for size in (len(data) - 1, len(data) + 1):  # somebody has replaced it: what is there is another file
            with pytest.raises(DestinationUnavailable):
                await read_back(destination, stored.id, 0, len(data) - 1, size=size)
        await destination.delete(stored.id)
        await destination.delete(stored.id)
        with pytest.raises(NotFound):
            await read_back(destination, stored.id, 0, 1)
