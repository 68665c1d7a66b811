"""Executed by Alembic: run the migrations on the connection we were given, in the transaction it is in."""

from __future__ import annotations

from alembic import context

from app.persistence.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
