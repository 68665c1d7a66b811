"""Uploads that were begun as the IETF's resumable uploads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; an upload of before was not."""
    op.add_column("uploads", sa.Column("resumable", sa.Boolean, nullable=False, server_default=sa.false()))
