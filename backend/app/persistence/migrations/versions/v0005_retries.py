"""What of an upload had to be tried again, also after it has ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; of uploads of before nobody knows."""
    op.add_column("uploads", sa.Column("retries", sa.Text))
