"""SQLAlchemy engines for the two databases, and what differs between them.

Laws: only `writing` engines open write transactions, on SQLite with BEGIN IMMEDIATE, so that two processes queue at the
beginning of a transaction (where busy_timeout waits) and never fail half-way through one; `reading` engines run single
statements in autocommit, each its own snapshot. A database file is created once, by `prepare`, with mode 0600 (its -wal
and -shm get the same); connections open it with `mode=rw` and never make an empty one in the place of a lost one.

Durability. SQLite in WAL mode: synchronous=NORMAL does not sync at commit (a commit survives our death, not a power
cut), FULL syncs the WAL after each commit, and with it all commits before (sqlite.org/pragma.html#pragma_synchronous).
The level can be changed between transactions only. PostgreSQL: synchronous_commit off and on mean the same
(postgresql.org/docs/current/wal-async-commit.html).
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Transaction, create_engine, event, make_url, pool
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from app.core.errors import DatabaseUnavailable
from app.core.settings import SettingsError

__all__ = ["Backend", "backend_for"]

_STATEMENT_TIMEOUT_S = 60
_MIGRATION_LOCK = 0x466F726562617900  # "Forebay\0", the key of a PostgreSQL advisory lock
_SWITCH_INTERVAL_S = 0.02
_WAL_LIMIT_BYTES = 64 * 1024 * 1024


class Backend(Protocol):
    """One kind of database at one address."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which kind."""

    @property
    def place(self) -> str:
        """Where it is, for messages; without the password."""

    def prepare(self) -> None:
        """Make what must be there before the first connection. Blocking."""

    def writing(self) -> Engine:
        """An engine for the one writer; its connections are not pooled."""

    def reading(self, connections: int) -> Engine:
        """An engine for `connections` reader threads."""

    def begin_migration(self, connection: Connection) -> Transaction:
        """Begin a durable transaction in which no other server migrates, waiting until none does."""

    def begin(self, connection: Connection, *, durable: bool) -> Transaction:
        """Begin a write transaction; `durable`: its commit, and all before it, survive a power cut."""


def backend_for(url: str, *, busy_timeout_s: float) -> Backend:
    """The backend of a database URL.

    Args:
        url: `sqlite:///path` or `postgresql://user:password@host/name` (psycopg 3; libpq's parameters in the query).
        busy_timeout_s: how long a statement waits for a lock that another process holds, and a connection to be made.

    Raises:
        SettingsError: it is no URL of a database that we can use.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        msg = "FOREBAY_DATABASE_URL is not a database URL; use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
        raise SettingsError(msg) from None
    name = parsed.get_backend_name()
    if name == "sqlite" and parsed.database and parsed.database != ":memory:" and not parsed.query:
        return _SQLite(Path(parsed.database).absolute(), busy_timeout_s)
    if name in {"postgresql", "postgres"}:
        return _PostgreSQL(parsed.set(drivername="postgresql+psycopg"), busy_timeout_s)
    shown = parsed.render_as_string(hide_password=True)
    msg = f"FOREBAY_DATABASE_URL={shown}: use sqlite:///PATH (a file, no parameters) or postgresql://USER:PASSWORD@HOST/NAME"
    raise SettingsError(msg)


class _SQLite:
    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._uri = f"file:{quote(str(path))}?mode=rw"

    @property
    def place(self) -> str:
        return str(self._path)

    def prepare(self) -> None:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return
        except OSError as exc:
            raise DatabaseUnavailable(f"The database {self._path} can't be created: {exc.strerror}.") from exc

    def writing(self) -> Engine:
        engine = create_engine("sqlite://", creator=self._connect_writer, poolclass=pool.NullPool, hide_parameters=True)
        event.listen(engine, "begin", _begin_immediate)
        return engine

    def reading(self, connections: int) -> Engine:
        return create_engine(
            "sqlite://",
            creator=self._connect_reader,
            poolclass=pool.QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
        )

    def begin_migration(self, connection: Connection) -> Transaction:
        # Alembic copies a table and drops the old one where SQLite can't alter it: that must not cascade. Ignored
        # inside a transaction, so it is said before (sqlite.org/pragma.html#pragma_foreign_keys).
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        return self.begin(connection, durable=True)

    def begin(self, connection: Connection, *, durable: bool) -> Transaction:
        # On the driver's connection: SQLAlchemy's would begin a transaction, in which the level can't be changed.
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        return connection.begin()

    def _connect(self) -> sqlite3.Connection:
        # One thread at a time uses a connection (the pool sees to it), not always the same one.
        connection = sqlite3.connect(
            self._uri, uri=True, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._switch_to_wal(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    _connect_writer = _connect

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """WAL is a property of the file; the first of several servers that start at once switches it."""
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as exc:
                # The switch upgrades a read lock, where SQLite does not wait: it could wait for ever.
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_SWITCH_INTERVAL_S)
            else:
                return


class _PostgreSQL:
    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, url: URL, busy_timeout_s: float) -> None:
        self._url = url
        wait_ms = max(1, int(busy_timeout_s * 1000))
        options = f"-c lock_timeout={wait_ms} -c statement_timeout={_STATEMENT_TIMEOUT_S * 1000}"
        ours = {
            "application_name": "forebay",
            "connect_timeout": str(max(2, int(busy_timeout_s))),  # libpq: less than 2 s is not understood
            "keepalives_idle": "10",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "tcp_user_timeout": str(_STATEMENT_TIMEOUT_S * 1000),
        }
        theirs = dict(url.query)
        options = f"{options} {theirs.pop('options', '')}".strip()
        self._arguments = {**{key: value for key, value in ours.items() if key not in theirs}, "options": options}

    @property
    def place(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def prepare(self) -> None:
        """The operator makes the database."""

    def writing(self) -> Engine:
        engine = create_engine(self._url, connect_args=self._arguments, poolclass=pool.NullPool, hide_parameters=True)
        event.listen(engine, "connect", _never_lose_commits)
        return engine

    def reading(self, connections: int) -> Engine:
        return create_engine(
            self._url,
            connect_args=self._arguments,
            pool_size=connections,
            max_overflow=0,
            pool_reset_on_return=None,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
        )

    def begin_migration(self, connection: Connection) -> Transaction:
        transaction = connection.begin()
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        return transaction

    def begin(self, connection: Connection, *, durable: bool) -> Transaction:
        transaction = connection.begin()
        if not durable:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        return transaction


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _never_lose_commits(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's connection
    """Durable is the default of a session, even where the cluster's is not; a stricter level of the cluster stays."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone() == ("off",):
            cursor.execute("SET synchronous_commit = on")
    connection.commit()
