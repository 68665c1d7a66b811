"""When to try again, and for how long.

Laws: only errors that may pass are retried (`is_transient`); waiting is stamina's exponential backoff with jitter, or
what the server asked for in `Retry-After`, never less; what ends the retries is time without progress (patience), not a
count of attempts: a server may be away for minutes, and a 10 GB upload over a bad line may need hundreds of attempts.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import stamina

from forebay.errors import ChunkShort, ConnectionFailed, DigestMismatch, ForebayError, Unavailable

__all__ = ["Patience", "Retrier", "RetryPolicy", "is_transient", "parse_retry_after"]

_SPREAD = 0.1  # lanes that were refused together come back spread over a tenth of the delay
_MOVED_LIMIT = 20


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient to be.

    Attributes:
        patience_s: longest time without progress, in seconds; then the last error is raised.
        wait_initial_s: first backoff, in seconds; doubles.
        wait_max_s: longest backoff; a longer `Retry-After` is honoured as long as patience lasts.
        stall_s: a request on which nothing has moved for so long, in either direction, is given up and repeated.
    """

    patience_s: float = 300.0
    wait_initial_s: float = 0.25
    wait_max_s: float = 15.0
    stall_s: float = 120.0


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds to wait, from a `Retry-After` of either form (RFC 9110 section 10.2.3); None where it can't be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, ConnectionFailed | Unavailable | ChunkShort | DigestMismatch)


class Patience:
    """Time since the last progress, shared by all lanes of an upload."""

    def __init__(self, patience_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._since = clock()
        self._moves = 0

    @property
    def left_s(self) -> float:
        """Seconds left; not above zero when there is no more."""
        return self._since + self._patience_s - self._clock()

    def renew(self) -> None:
        """Something was achieved."""
        self._since = self._clock()
        self._moves = 0

    def moved(self) -> None:
        """Bytes went out before the connection broke: time well spent, though it can't go on for ever."""
        if self._moves < _MOVED_LIMIT:
            self._moves += 1
            self._since = self._clock()


class Retrier:
    """Repeats what fails for reasons that pass."""

    def __init__(
        self,
        policy: RetryPolicy,
        patience: Patience,
        *,
        on_retry: Callable[[ForebayError, float | None], None] | None = None,
        transient: Callable[[Exception], bool] = is_transient,
    ) -> None:
        """Bind policy and patience.

        Args:
            policy: backoff.
            patience: when to stop; may be shared.
            on_retry: told of each failure that will be repeated, with the delay in seconds where the server set one.
            transient: which errors to repeat.
        """
        self._policy = policy
        self._patience = patience
        self._on_retry = on_retry
        self._transient = transient

    def attempts(self) -> AsyncIterable[stamina.Attempt]:
        """Iterate with `async for attempt in …: with attempt: …`; the last error comes out unchanged."""
        return stamina.retry_context(
            on=self._decide,
            attempts=None,
            timeout=None,
            wait_initial=self._policy.wait_initial_s,
            wait_max=self._policy.wait_max_s,
            wait_jitter=min(1.0, self._policy.wait_initial_s * 4),
        )

    def _decide(self, error: Exception) -> bool | float:
        if not isinstance(error, ForebayError) or not self._transient(error):
            return False
        asked = error.retry_after
        if self._patience.left_s <= (asked or 0):
            return False
        # "At once", or a date that our clock has passed, says nothing about how often: then backoff decides.
        delay = None if not asked else asked * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - spreads load, guards nothing
        if self._on_retry is not None:
            self._on_retry(error, delay)
        return True if delay is None else delay
