"""What an emulator can be told when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.testing.drive_emulator.content import DIGESTS
from app.testing.drive_emulator.script import Rule

__all__ = ["Options"]

_A_WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Sizes in bytes, times in seconds. The defaults are a Drive without limits, as strict as Google's documentation."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: a free one."""
    tls: tuple[Path, Path] | None = None
    """Certificate and key."""
    data_dir: Path | None = None
    """Where contents are kept; None: a temporary directory that goes when the emulator ends."""
    discard: bool = False
    """Keep sizes and digests only."""
    digests: tuple[str, ...] = DIGESTS
    latency_s: float = 0.0
    """Added to every answer."""
    rate: float | None = None
    """Bytes a second of content, for each connection."""
    script: tuple[Rule, ...] = ()
    seed: int = 0
    storage_quota: int | None = None
    daily_limit: int | None = None
    daily_limit_reason: str = "userRateLimitExceeded"
    daily_limit_message: str = "User rate limit exceeded."
    strict_pieces: bool = True
    """Refuse a piece that is not a multiple of 256 KiB; False: hold its whole units, as Drive was seen to do."""
    expired_status: Literal[404, 410] = 404
    session_lifetime_s: float = _A_WEEK_S
    token_lifetime_s: float = 3600.0
    shared_drive: str | None = "Shared"
    """The name of the one shared drive."""
