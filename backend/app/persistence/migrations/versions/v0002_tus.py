"""Uploads that were begun with tus, and what their clients said of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; an upload of before has none."""
    op.add_column("uploads", sa.Column("tus_metadata", sa.Text))
