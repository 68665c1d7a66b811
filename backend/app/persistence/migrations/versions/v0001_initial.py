"""Uploads, their extents, tokens, meta."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("chunk_size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("completion", sa.Text, nullable=False),
        sa.Column("on_conflict", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("active_at_s", sa.Double, nullable=False),
        sa.Column("declared_sha256", sa.Text),
        sa.Column("declared_crc32c", sa.BigInteger),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("request_fingerprint", sa.Text),
        sa.Column("transfer_state", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_detail", sa.Text),
        sa.Column("received_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("stored_id", sa.Text),
        sa.Column("stored_name", sa.Text),
        sa.Column("sha256", sa.Text),
        sa.Column("crc32c", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.CheckConstraint("size >= 0", name=op.f("ck_uploads_size")),
        sa.CheckConstraint("chunk_size > 0", name=op.f("ck_uploads_chunk_size")),
    )
    op.create_index("uq_uploads_owner_idempotency_key", "uploads", ["owner", "idempotency_key"], unique=True)
    op.create_index("ix_uploads_owner_created_at_id", "uploads", ["owner", "created_at", "id"])
    op.create_index("ix_uploads_created_at_id", "uploads", ["created_at", "id"])
    op.create_index("ix_uploads_state", "uploads", ["state"])
    op.create_index("ix_uploads_stored_id", "uploads", ["stored_id"])
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index("ix_uploads_active_at_s", "uploads", ["active_at_s"], sqlite_where=ended, postgresql_where=ended)
    op.create_table(
        "extents",
        sa.Column("upload_id", sa.Text, nullable=False),
        sa.Column("offset", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("crc32c", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "offset", name="pk_extents"),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name="fk_extents_uploads", ondelete="CASCADE"),
        sa.CheckConstraint('"offset" >= 0', name=op.f("ck_extents_offset")),
        sa.CheckConstraint("length > 0", name=op.f("ck_extents_length")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("operator", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
    )
    op.create_index("uq_tokens_secret_hash", "tokens", ["secret_hash"], unique=True)
    op.create_index("ix_tokens_user_name", "tokens", ["user_name"])
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
        sqlite_with_rowid=False,
    )
