"""Bring a database to the present revision, or accept a newer one.

Laws: all of it happens in one transaction, under a lock that other starting servers wait for; both databases roll back
DDL, so a migration is done whole or not at all. Alembic is imported only when there is something to do (12 MiB).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from app.core.errors import DatabaseUnavailable
from app.persistence.engines import Backend
from app.persistence.tables import REVISION, metadata

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["alembic_config", "bring_up_to_date"]

_log = logging.getLogger(__name__)
_VERSION_TABLE = "alembic_version"


def bring_up_to_date(backend: Backend, engine: Engine) -> None:
    """Create or upgrade the tables. Blocking.

    Raises:
        DatabaseUnavailable: the database is newer and lacks what this version needs.
        DBAPIError: the database can't be used.
    """
    with engine.connect() as connection:
        transaction = backend.begin_migration(connection)
        present = _revisions(connection)
        if present != {REVISION}:
            _migrate(connection, present, backend.place)
        transaction.commit()


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for a connection that is in a transaction."""
    from alembic.config import Config  # noqa: PLC0415 - only when needed, see above

    config = Config()
    config.set_main_option("script_location", "app.persistence:migrations")
    config.attributes["connection"] = connection
    return config


def _revisions(connection: Connection) -> set[str]:
    if not inspect(connection).has_table(_VERSION_TABLE):
        return set()
    return set(connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalars())  # noqa: S608 - a constant


def _migrate(connection: Connection, present: set[str], place: str) -> None:
    from alembic import command  # noqa: PLC0415 - only when needed, see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    newer = ", ".join(sorted(present - known))
    if not newer:
        command.upgrade(config, "head")
        return
    if lacking := _lacking(connection):
        msg = (
            f"The database {place} is of a newer version (revision {newer}) that this version can't use: {lacking}. "
            "Start the version that made it, or the one before that."
        )
        raise DatabaseUnavailable(msg)
    _log.warning("The database is of a newer version (revision %s; this one makes %s): used as it is", newer, REVISION)


def _lacking(connection: Connection) -> str | None:
    """What this version needs and a newer schema does not give, if anything."""
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in there:
            return f"there is no table {table.name}"
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                return f"table {table.name} has no column {column.name}"
        for name, found in columns.items():
            if name not in table.columns and not found["nullable"] and found["default"] is None:
                return f"table {table.name} needs a value for column {name}"
    return None
