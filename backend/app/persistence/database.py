"""A database as the event loop sees it: awaitable reads and writes, opened and closed once.

Laws: nothing here blocks the loop; writes go through one `GroupWriter`, reads through a few threads with connections of
their own, one statement each; only errors of `app.core.errors` come out. A write that was awaited is seen by every read
that starts after it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.core.errors import DatabaseUnavailable, ForebayError
from app.persistence.engines import Backend, backend_for
from app.persistence.faults import cause_of, concerns_database, translated
from app.persistence.schema import bring_up_to_date
from app.persistence.statements import PING
from app.persistence.writer import CommitObserver, GroupWriter, Work

__all__ = ["Database"]

_READERS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Open:
    """What exists between `open` and `close`."""

    writer: GroupWriter
    readers: ThreadPoolExecutor
    reading: Engine

    def finish(self) -> None:
        """Wait for what is under way and let go of everything. Blocking."""
        self.writer.join()
        self.readers.shutdown()
        self.reading.dispose()


def _untold(_seconds: float, _writes: int) -> None:
    """Nobody wants to know."""


class Database:
    """One database, from `open` to `close`."""

    def __init__(self, url: str, *, busy_timeout_s: float, on_commit: CommitObserver = _untold) -> None:
        self._backend: Backend = backend_for(url, busy_timeout_s=busy_timeout_s)
        self._on_commit = on_commit
        self._open: _Open | None = None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._backend.dialect

    async def open(self) -> None:
        """Make, upgrade or accept the database, and begin to take work.

        Raises:
            DatabaseUnavailable: it can't be used; the message is for the operator and says which, and why.
        """
        if self._open is not None:
            return
        await asyncio.to_thread(self._prepare)
        writer = GroupWriter(self._backend, asyncio.get_running_loop(), self._on_commit)
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-reader")
        writer.start()
        self._open = _Open(writer, readers, self._backend.reading(_READERS))
        try:
            # Both ways are known to work, and SQLite's -wal and -shm exist from here on, as long as a reader is
            # connected: on a disk that is full later, a writer could not make them.
            await self.check()
            await self.read(_ping)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is queued, then let go; idempotent."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.writer.stop()
            await asyncio.shield(asyncio.to_thread(opened.finish))

    async def check(self) -> None:
        """Return when a write transaction can be begun; raise DatabaseUnavailable otherwise."""
        await self.write(_ping)

    async def write(self, work: Work[T], *, durable: bool = False) -> T:
        """Run `work` in a write transaction, with others'; returns when it is committed.

        Raises:
            DatabaseUnavailable: the database failed. When the connection broke during COMMIT, what was written may be
                there nevertheless.
            ForebayError: what `work` raised; nothing of it is in the database.
        """
        return await self._opened().writer.submit(work, durable=durable)

    async def read(self, work: Work[T]) -> T:
        """Run `work`, one statement, against the last committed state.

        Raises:
            DatabaseUnavailable: the database failed.
        """
        opened = self._opened()
        return await asyncio.get_running_loop().run_in_executor(opened.readers, _read, opened.reading, work)

    def _opened(self) -> _Open:
        if self._open is None:
            raise DatabaseUnavailable("The database is not open.")
        return self._open

    def _prepare(self) -> None:
        engine = self._backend.writing()
        try:
            self._backend.prepare()
            bring_up_to_date(self._backend, engine)
        except SQLAlchemyError as exc:
            raise DatabaseUnavailable(f"The database {self._backend.place} can't be used: {cause_of(exc)}.") from exc
        finally:
            engine.dispose()


def _read(engine: Engine, work: Work[T]) -> T:
    try:
        try:
            return _read_once(engine, work)
        except DBAPIError as exc:
            if not exc.connection_invalidated:
                raise
            return _read_once(engine, work)  # the server was restarted; the pool has dropped all it held
    except ForebayError:
        raise
    except Exception as exc:
        raise translated(exc) from exc


def _read_once(engine: Engine, work: Work[T]) -> T:
    with engine.connect() as connection:
        try:
            return work(connection)
        except Exception as exc:
            if concerns_database(exc):
                connection.invalidate()  # the next one starts anew, whatever this one's files have become
            raise


def _ping(connection: Connection) -> None:
    connection.execute(PING)
