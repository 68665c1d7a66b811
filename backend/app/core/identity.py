"""Who may call: tokens as the server remembers them.

Law: the secret itself is shown once, when it is made, and kept nowhere; what is stored is its hash, and not even that is here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TokenRecord"]


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A bearer token without its secret; safe to show and to log."""

    id: str
    user: str
    label: str
    operator: bool
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def valid_at(self, now: float) -> bool:
        """Whether it opens the door at `now` (UTC seconds since the epoch)."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
