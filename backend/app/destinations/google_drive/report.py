"""What the status page may know of a Google Drive destination: no names, no ids, no secrets."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DriveReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveReport:
    """Sizes in bytes; None where it is not known."""

    sent_in_24_hours: int | None
    daily_limit: int
    storage_used: int | None
    storage_limit: int | None
    """None as well where there is no limit."""
    login_ok: bool | None
    """None before anything was asked of Drive."""
