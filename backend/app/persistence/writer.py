"""The one writer: a thread that commits in groups.

Laws
- `submit`, `stop` and the settling of futures happen on the event loop's thread; everything else on the writer's.
- A batch is what was queued while the last one was being committed; nothing waits for company. It is one transaction,
  in the order of submission, and no future is settled before its COMMIT has returned.
- A batch runs without savepoints first, since work rarely fails (a savepoint costs four times the insert in it). When
  a piece does fail, the transaction is rolled back and the batch runs again, each piece in a savepoint, and only those
  that fail again fail. So work may run more than once: it does nothing but talk to the connection it is given.
- What is wrong with the database (full, locked, gone) fails the whole batch, and the connection is made anew. One
  found lost before COMMIT was sent is replaced and the batch repeated, once; after that nobody knows whether it was
  committed, and the callers are told that it failed.
- A caller that is cancelled leaves its work in the queue: it is done, and nobody told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.core.errors import DatabaseUnavailable
from app.persistence.engines import Backend
from app.persistence.faults import cause_of, concerns_database, translated

__all__ = ["CommitObserver", "GroupWriter", "Work"]

_log = logging.getLogger(__name__)
_MAX_BATCH = 256  # bounds what runs again when a piece fails, and how long another process waits for the lock

T = TypeVar("T")
Work = Callable[[Connection], T]
"""A piece of one transaction; may run more than once, see above."""
CommitObserver = Callable[[float, int], None]
"""Told in the writer's thread of each batch: seconds, and pieces of work."""


class _LostBeforeCommit(Exception):
    """The connection was gone; nothing of the batch is in the database."""


@dataclass(slots=True, eq=False)
class _Job:
    work: Work[Any]
    durable: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def run(self, connection: Connection) -> None:
        self.error = None  # of a run that was rolled back
        self.result = self.work(connection)

    def run_apart(self, connection: Connection) -> None:
        try:
            with connection.begin_nested():
                self.run(connection)
        except Exception as exc:
            if concerns_database(exc):
                raise
            self.error = translated(exc)

    def settle(self) -> None:
        if self.future.done():  # the caller was cancelled
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class GroupWriter:
    """Runs work in a thread, many pieces to a transaction."""

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop, on_commit: CommitObserver) -> None:
        self._backend = backend
        self._loop = loop
        self._on_commit = on_commit
        self._engine = backend.writing()
        self._connection: Connection | None = None
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._stopped = False
        # A daemon: a process that fails before it can close the database must be able to exit.
        self._thread = Thread(target=self._run, name="database-writer", daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._thread.start()

    def submit(self, work: Work[T], *, durable: bool) -> asyncio.Future[T]:
        """Queue `work`; the future has its result once it is committed.

        Args:
            work: called in the writer's thread, inside a transaction.
            durable: the commit survives a power cut.

        Raises:
            DatabaseUnavailable: the writer has been stopped.
        """
        if self._stopped:
            raise DatabaseUnavailable("The database is closed.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, durable, future))
        return future

    def stop(self) -> None:
        """Take no more work; what is queued is still done."""
        if not self._stopped:
            self._stopped = True
            self._queue.put(None)

    def join(self) -> None:
        """Wait until all is done and the connection closed. Blocking; after `stop`."""
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            started = time.perf_counter()
            self._commit(batch)
            self._on_commit(time.perf_counter() - started, len(batch))
            self._tell(batch)
        self._disconnect()
        self._engine.dispose()

    def _next_batch(self) -> list[_Job]:
        """All that is queued, at least one; empty when there will be no more."""
        batch: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            if len(batch) == _MAX_BATCH:
                break
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
        else:
            self._queue.put(None)  # seen again when this batch is done
        return batch

    def _commit(self, batch: Sequence[_Job]) -> None:
        try:
            try:
                self._transact(batch)
            except _LostBeforeCommit:
                self._disconnect()
                self._transact(batch)
        except Exception as exc:  # noqa: BLE001 - each caller gets it, in our own words
            fault = (
                exc.__cause__ if isinstance(exc, _LostBeforeCommit) and isinstance(exc.__cause__, Exception) else exc
            )
            self._disconnect()
            _log.warning("The database failed %d operations: %s", len(batch), cause_of(fault))
            for job in batch:
                job.error = translated(fault)

    def _transact(self, batch: Sequence[_Job]) -> None:
        durable = any(job.durable for job in batch)
        try:
            with self._transaction(durable=durable) as connection:
                for job in batch:
                    job.run(connection)
        except Exception as exc:
            if concerns_database(exc) or isinstance(exc, _LostBeforeCommit):
                raise
            if len(batch) == 1:
                batch[0].error = translated(exc)
                return
        else:
            return
        with self._transaction(durable=durable) as connection:
            for job in batch:
                job.run_apart(connection)

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[Connection]:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            transaction = self._backend.begin(self._connection, durable=durable)
            try:
                yield self._connection
            except BaseException:
                transaction.rollback()
                raise
        except DBAPIError as exc:
            if exc.connection_invalidated:
                raise _LostBeforeCommit from exc
            raise
        transaction.commit()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _tell(self, batch: list[_Job]) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, batch)
        except RuntimeError:
            _log.debug("The event loop is closed: nobody is left to be told of %d operations", len(batch))


def _settle(batch: list[_Job]) -> None:
    for job in batch:
        job.settle()
