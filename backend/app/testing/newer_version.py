"""The version after this one: the same code with one more migration. For tests of going back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.persistence.tables import REVISION

__all__ = ["NEWER_REVISION", "make_newer"]

NEWER_REVISION: Final = "9999"

_MIGRATION = f'''"""What the version after this one adds: a table, columns with a default."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{NEWER_REVISION}"
down_revision = "{REVISION}"


def upgrade() -> None:
    """Only add, as the law of `tables` says."""
    op.add_column("uploads", sa.Column("priority", sa.BigInteger, nullable=False, server_default="3"))
    op.add_column("extents", sa.Column("verified", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table("quotas", sa.Column("owner", sa.Text, primary_key=True), sa.Column("bytes", sa.BigInteger))
'''


def make_newer(backend: Path) -> None:
    """Turn the tree of this version in `backend` into the next one.

    Raises:
        ValueError: the tree does not say its revision where it did.
    """
    persistence = backend / "app" / "persistence"
    tables = persistence / "tables.py"
    ours, newer = f'REVISION = "{REVISION}"', f'REVISION = "{NEWER_REVISION}"'
    text = tables.read_text(encoding="utf-8")
    if text.count(ours) != 1:
        msg = f"{tables} does not say {ours}"
        raise ValueError(msg)
    tables.write_text(text.replace(ours, newer), encoding="utf-8")
    migration = persistence / "migrations" / "versions" / f"v{NEWER_REVISION}_newer.py"
    migration.write_text(_MIGRATION, encoding="utf-8")
