"""Uploads whose length is said later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; the length of an upload of before is known."""
    op.add_column("uploads", sa.Column("length_deferred", sa.Boolean, nullable=False, server_default=sa.false()))
