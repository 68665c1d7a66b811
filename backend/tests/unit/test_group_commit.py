"""The writer: what is queued together is committed together, and fails apart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app.core.errors import ForebayError, InternalError, NotFound
from app.persistence.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Open on a new file."""
    database = Database(f"sqlite:///{tmp_path}/forebay.sqlite3", busy_timeout_s=5.0)
    await database.open()
    yield database
    await database.close()


class Gate:
    """Holds the writer until it is opened, so that work queues behind it."""

    def __init__(self) -> None:
        """Shut."""
        self._reached = asyncio.Event()
        self._open = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, _connection: Connection) -> None:
        """The work that waits."""
        self._loop.call_soon_threadsafe(self._reached.set)
        assert self._open.wait(30)

    async def reached(self) -> None:
        """Return when the writer stands at the gate."""
        await self._reached.wait()

    def open(self) -> None:
        """Let it through."""
        self._open.set()


def insert(key: str) -> object:
    """Work that adds a value and says in which transaction."""

    def work(connection: Connection) -> object:
        connection.execute(text("INSERT INTO meta (key, value) VALUES (:key, '')"), {"key": key})
        return connection.get_transaction()

    return work


async def keys(database: Database) -> set[str]:
    """What has been committed."""
    return await database.read(lambda connection: set(connection.execute(text("SELECT key FROM meta")).scalars()))


async def queue(database: Database, *works: object) -> list[asyncio.Future[object]]:
    """Queue all of them behind a gate, then open it."""
    gate = Gate()
    first = asyncio.ensure_future(database.write(gate))
    await gate.reached()
    futures = [asyncio.ensure_future(database.write(work)) for work in works]  # type: ignore[arg-type]
    await asyncio.sleep(0)  # each is in the queue now
    gate.open()
    await first
    return futures


async def test_what_queued_during_a_commit_is_one_transaction(database: Database) -> None:
    """Fifty pieces of work, one COMMIT."""
    transactions = await asyncio.gather(*await queue(database, *(insert(f"k{n}") for n in range(50))))
    assert len(set(transactions)) == 1
    assert await keys(database) == {f"k{n}" for n in range(50)}


async def test_a_batch_has_an_end(database: Database) -> None:
    """However much is queued, a transaction stays short, and all of it is done in order."""
    order: list[int] = []

    def numbered(number: int) -> object:
        def work(connection: Connection) -> object:
            order.append(number)
            return connection.get_transaction()

        return work

    transactions = await asyncio.gather(*await queue(database, *(numbered(n) for n in range(1000))))
    assert order == list(range(1000))
    assert 1 < len(set(transactions)) <= 5


async def test_work_that_fails_leaves_nothing_and_spoils_nothing(database: Database) -> None:
    """Its own error comes out, its writes are undone, and its neighbours are committed."""

    def half_done(error: Exception) -> object:
        def work(connection: Connection) -> None:
            connection.execute(text("INSERT INTO meta (key, value) VALUES (:key, '')"), {"key": str(error)})
            raise error

        return work

    ours, foreign = NotFound("ours"), ValueError("foreign")
    futures = await queue(
        database, insert("a"), half_done(ours), insert("b"), insert("a"), half_done(foreign), insert("c")
    )
    results = await asyncio.gather(*futures, return_exceptions=True)
    failures = {position: result for position, result in enumerate(results) if isinstance(result, Exception)}
    assert failures.keys() == {1, 3, 4}
    assert failures[1] is ours
    assert all(isinstance(failures[position], InternalError) for position in (3, 4))
    assert failures[4].__cause__ is foreign
    assert await keys(database) == {"a", "b", "c"}


async def test_work_that_fails_alone_leaves_nothing(database: Database) -> None:
    """The same without neighbours, and the next one is not disturbed."""

    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO meta (key, value) VALUES ('half', '')"))
        raise NotFound

    with pytest.raises(NotFound):
        await database.write(work)
    await database.write(insert("next"))  # type: ignore[arg-type]
    assert await keys(database) == {"next"}


async def test_nothing_is_visible_or_confirmed_before_its_commit(database: Database) -> None:
    """A reader sees nothing of a batch, and no caller is answered, while its last piece is still running."""
    gate = Gate()
    held = Gate()
    first = asyncio.ensure_future(database.write(held))
    await held.reached()
    writes = [asyncio.ensure_future(database.write(insert(f"k{n}"))) for n in range(5)]  # type: ignore[arg-type]
    last = asyncio.ensure_future(database.write(gate))
    await asyncio.sleep(0)
    held.open()
    await gate.reached()
    assert await keys(database) == set()
    assert not any(write.done() for write in writes)
    gate.open()
    await asyncio.gather(first, last, *writes)
    assert len(await keys(database)) == 5


async def test_a_read_that_fails_is_said_in_our_words(database: Database) -> None:
    """Nothing foreign comes out of a read either, and a reader can't write."""
    for statement in ("SELECT nonsense FROM meta", "INSERT INTO meta (key, value) VALUES ('a', '')"):
        with pytest.raises(ForebayError):
            await database.read(lambda connection, wrong=statement: connection.execute(text(wrong)))
    assert await keys(database) == set()
