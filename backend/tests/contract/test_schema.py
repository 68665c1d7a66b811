"""Making, upgrading and accepting databases, over SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from app.core.errors import DatabaseUnavailable
from app.core.upload import Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.persistence.engines import backend_for
from app.persistence.repository import Repository
from app.persistence.schema import alembic_config
from app.persistence.tables import REVISION, metadata, uploads
from app.testing.postgresql import PostgreSQLCluster, PostgreSQLMissing, private_cluster

UPLOAD = Upload(
    id="u1",
    owner="ann",
    filename="f",
    folder="",
    media_type="text/plain",
    size=10,
    chunk_size=5,
    state=UploadState.RECEIVING,
    completion=Completion.AUTO,
    on_conflict=NameConflictPolicy.RENAME,
    destination="default",
    created_at=1.0,
    active_at_s=1.0,
)
NEWER = [
    "ALTER TABLE uploads ADD COLUMN priority BIGINT NOT NULL DEFAULT 3",
    "ALTER TABLE uploads ADD COLUMN note TEXT",
    "ALTER TABLE extents ADD COLUMN verified BOOLEAN NOT NULL DEFAULT false",
    "ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT 'all'",
    "ALTER TABLE meta ADD COLUMN changed_at DOUBLE PRECISION",
    "CREATE TABLE quotas (owner TEXT PRIMARY KEY, bytes BIGINT NOT NULL)",
    "UPDATE alembic_version SET version_num = '9999'",
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQLCluster]:
    """A PostgreSQL server for this file."""
    try:
        with private_cluster() as running:
            yield running
    except PostgreSQLMissing as exc:
        pytest.skip(str(exc))


def test_the_uploads_table_has_the_fields_of_an_upload() -> None:
    """Same names, same order, and null exactly where a field may be None."""
    hints = typing.get_type_hints(Upload)
    fields = [field.name for field in dataclasses.fields(Upload)]
    assert [column.name for column in uploads.columns] == fields
    optional = {name for name in fields if isinstance(hints[name], types.UnionType)}
    assert {column.name for column in uploads.columns if column.nullable} == optional


class SchemaContract:
    """What holds on every database."""

    @pytest.fixture
    def engine(self, url: str) -> Iterator[Engine]:
        """For looking at the database, and for being another version."""
        backend = backend_for(url, busy_timeout_s=5.0)
        backend.prepare()
        engine = backend.writing()
        yield engine
        engine.dispose()

    async def test_migrations_and_tables_are_the_same(self, url: str, engine: Engine) -> None:
        """Alembic finds no difference between what it made and what the code thinks."""
        await _open_and_close(url)
        with engine.begin() as connection:
            context = MigrationContext.configure(connection, opts={"compare_server_default": True})
            assert compare_metadata(context, metadata) == []
            assert set(context.get_current_heads()) == {REVISION}
            assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [REVISION]

    async def test_the_comparison_sees_a_difference(self, url: str, engine: Engine) -> None:
        """Guard of the test above."""
        await _open_and_close(url)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE uploads ADD COLUMN stray TEXT"))
            context = MigrationContext.configure(connection)
            assert [difference[0] for difference in compare_metadata(context, metadata)] == ["remove_column"]

    async def test_servers_that_start_at_once_make_one_database(self, url: str) -> None:
        """All are served."""
        servers = [Repository(url, busy_timeout_s=30.0) for _ in range(6)]
        try:
            await asyncio.gather(*(server.open() for server in servers))
            for number, server in enumerate(servers):
                await server.add_upload(dataclasses.replace(UPLOAD, id=f"u{number}"))
            assert [len(await server.uploads()) for server in servers] == [6] * 6
        finally:
            await asyncio.gather(*(server.close() for server in servers))

    async def test_a_database_one_version_newer_is_used(
        self, url: str, engine: Engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        """`git checkout HEAD~1` and restart: additions don't disturb, the revision stays, the log says so."""
        await _open_and_close(url)
        _run(engine, *NEWER)
        repository = Repository(url)
        await repository.open()
        try:
            await repository.add_upload(UPLOAD, durable=True)
            await repository.record_extents("u1", [Extent(0, 5, 1)], active_at_s=2.0)
            await repository.save_upload(dataclasses.replace(UPLOAD, filename="g"))
            await repository.add_token("ann", "h", label="", operator=False, expires_at=None)
            await repository.set_meta("a", "b")
            await repository.set_meta("a", "c")
            assert await repository.upload("u1") == dataclasses.replace(UPLOAD, filename="g")
            assert await repository.extents("u1") == [Extent(0, 5, 1)]
            assert len(await repository.tokens()) == 1
            assert await repository.get_meta("a") == "c"
        finally:
            await repository.close()
        assert "revision 9999" in caplog.text
        with engine.begin() as connection:
            assert _value(connection, "SELECT version_num FROM alembic_version") == "9999"
            assert _value(connection, "SELECT priority FROM uploads") == 3

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ("ALTER TABLE uploads RENAME COLUMN folder TO directory", "table uploads has no column folder"),
            ("ALTER TABLE meta RENAME TO facts", "there is no table meta"),
        ],
    )
    async def test_a_newer_database_that_lacks_something_is_refused(
        self, url: str, engine: Engine, change: str, complaint: str
    ) -> None:
        """One sentence that says what is missing, and nothing is changed."""
        await _open_and_close(url)
        _run(engine, change, NEWER[-1])
        with pytest.raises(DatabaseUnavailable, match=complaint):
            await Repository(url).open()

    async def test_a_newer_database_with_a_column_we_cannot_fill_is_refused(self, url: str, engine: Engine) -> None:
        """Better now than at the first upload."""
        await _open_and_close(url)
        filled = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, author TEXT NOT NULL)"
        _run(engine, "DROP TABLE meta", filled, NEWER[-1])
        with pytest.raises(DatabaseUnavailable, match="table meta needs a value for column author"):
            await Repository(url).open()

    async def test_a_database_of_something_else_is_left_alone(self, url: str, engine: Engine) -> None:
        """A table of ours that we did not make: refused whole, nothing half-made."""
        _run(engine, "CREATE TABLE tokens (id TEXT)")
        with pytest.raises(DatabaseUnavailable, match=r'"?tokens"? already exists'):
            await Repository(url).open()
        _run(engine, "DROP TABLE tokens")
        await _open_and_close(url)


class TestSQLite(SchemaContract):
    """SQLite, in a file."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """An empty place."""
        return f"sqlite:///{tmp_path}/forebay.sqlite3"


class TestPostgreSQL(SchemaContract):
    """PostgreSQL, a real server."""

    @pytest.fixture
    def url(self, cluster: PostgreSQLCluster) -> str:
        """An empty schema."""
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return cluster.url


async def _open_and_close(url: str) -> None:
    repository = Repository(url)
    await repository.open()
    await repository.close()


def _run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _value(connection: Connection, query: str) -> object:
    return connection.execute(text(query)).scalar_one()
