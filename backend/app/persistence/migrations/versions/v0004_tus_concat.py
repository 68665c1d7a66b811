"""Uploads that are put together from others (tus, concatenation)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; an upload of before is a file by itself."""
    op.add_column("uploads", sa.Column("tus_concat", sa.Text))
