"""The tables, as SQLAlchemy Core sees them.

Laws: the columns of `uploads` are the fields of `app.core.upload.Upload`, same names, same order; sizes, offsets and
checksums are BIGINT (5 TiB, and unsigned 32 bits, don't fit an INTEGER); times are DOUBLE PRECISION seconds. What is
here and what `migrations` makes are the same (a test compares them on SQLite and PostgreSQL). Migrations only add: a
new column is nullable or has a server default, and what a version stops using is dropped by the one after it, so that
the version before still runs on the database. For the same reason a new upload state is stored only by the version
after the one that learned to read it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    MetaData,
    Table,
    Text,
    false,
    text,
)

__all__ = ["REVISION", "extents", "meta", "metadata", "tokens", "uploads"]

REVISION = "0006"
"""The newest migration; a database that says so needs no work at start."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("chunk_size", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("completion", Text, nullable=False),
    Column("on_conflict", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("active_at_s", Double, nullable=False),
    Column("declared_sha256", Text),
    Column("declared_crc32c", BigInteger),
    Column("idempotency_key", Text),
    Column("request_fingerprint", Text),
    Column("transfer_state", Text),
    Column("error_code", Text),
    Column("error_detail", Text),
    Column("received_at", Double),
    Column("ended_at", Double),
    Column("stored_id", Text),
    Column("stored_name", Text),
    Column("sha256", Text),
    Column("crc32c", BigInteger),
    Column("tus_metadata", Text),
    Column("tus_concat", Text),
    Column("retries", Text),
    Column("length_deferred", Boolean, nullable=False, server_default=false()),
    Column("resumable", Boolean, nullable=False, server_default=false()),
    CheckConstraint("size >= 0", name="size"),
    CheckConstraint("chunk_size > 0", name="chunk_size"),
    Index("uq_uploads_owner_idempotency_key", "owner", "idempotency_key", unique=True),
    Index("ix_uploads_owner_created_at_id", "owner", "created_at", "id"),
    Index("ix_uploads_created_at_id", "created_at", "id"),
    Index("ix_uploads_state", "state"),
    Index("ix_uploads_stored_id", "stored_id"),
    # Of the ended ones only, for cleaning up; the column moves with every chunk of those under way.
    Index(
        "ix_uploads_active_at_s",
        "active_at_s",
        sqlite_where=text("ended_at IS NOT NULL"),
        postgresql_where=text("ended_at IS NOT NULL"),
    ),
)

extents = Table(
    "extents",
    metadata,
    Column("upload_id", Text, ForeignKey(uploads.c.id, ondelete="CASCADE"), primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("length", BigInteger, nullable=False),
    Column("crc32c", BigInteger, nullable=False),
    CheckConstraint('"offset" >= 0', name="offset"),
    CheckConstraint("length > 0", name="length"),
    sqlite_with_rowid=False,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("operator", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Index("uq_tokens_secret_hash", "secret_hash", unique=True),
    Index("ix_tokens_user_name", "user_name"),
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)
