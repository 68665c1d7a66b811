"""The time this server has been running, in all its lives together.

Ages that delete something are measured with it and not with the wall clock: a clock set ten years ahead expires
nothing, and a server that was off for a week gives its users their time to resume. Saved at each sweep and at the end;
a crash loses at most the time since the last save, which only makes uploads live longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from app.persistence.repository import Repository

__all__ = ["ServiceClock"]

_KEY = "service_clock_s"


class ServiceClock:
    """Monotonic seconds across restarts."""

    def __init__(self, repository: Repository, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Usable after `load`."""
        self._repository = repository
        self._monotonic = monotonic
        self._base = 0.0
        self._started = monotonic()

    def __call__(self) -> float:
        """Seconds of service so far."""
        return self._base + self._monotonic() - self._started

    async def load(self) -> None:
        """Go on from the last saved value."""
        saved = await self._repository.get_meta(_KEY)
        self._base = float(saved) if saved is not None else 0.0
        self._started = self._monotonic()

    async def save(self) -> None:
        """Remember the present value."""
        await self._repository.set_meta(_KEY, f"{self():.3f}")
