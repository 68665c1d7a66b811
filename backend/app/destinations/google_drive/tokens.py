"""Where the adapter gets its access tokens."""

from __future__ import annotations

from typing import Protocol

__all__ = ["TokenSource"]


class TokenSource(Protocol):
    """Access tokens for one login. Event loop only."""

    async def token(self, *, refused: str | None = None) -> str:
        """A token that is valid for a while.

        Args:
            refused: one that Drive has answered 401 to, although it should be valid: another is fetched.

        Raises:
            DestinationLoginLost: there is no login, or it does not hold any more; says what to do.
            DestinationUnavailable: the token endpoint does not answer.
        """
