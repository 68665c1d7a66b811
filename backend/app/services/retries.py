"""What had to be tried again of an upload: how often, and which attempts failed last.

Law: any thread may add; the event loop reads. The upload's row has what was known when it was written last, and all of it
when the upload has ended.
"""

from __future__ import annotations

import json
import time
from dataclasses import astuple, dataclass
from typing import Final, Literal

__all__ = ["KEPT", "FailedAttempt", "Retries", "Step"]

KEPT: Final = 20

Step = Literal["receiving", "staging", "destination"]


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One that failed."""

    at: float
    """Seconds since the epoch."""
    step: Step
    chunk: int | None
    """None where it was not about one chunk."""
    attempt: int
    """In a row, from 1."""
    code: str
    """Of the error."""


class Retries:
    """Of one upload."""

    def __init__(self, dumped: str | None = None) -> None:
        """Go on from what `dump` gave."""
        self.total, failed = json.loads(dumped) if dumped is not None else (0, [])
        self._failed = [FailedAttempt(*each) for each in failed]

    def dump(self) -> str | None:
        """For the upload's row; None: nothing has failed."""
        failed = [astuple(each) for each in self.last]
        return json.dumps([self.total, failed]) if failed else None

    def failed(self, step: Step, code: str, attempt: int, *, chunk: int | None = None) -> None:
        """An attempt failed; whether there will be another is not known yet."""
        self._failed.append(FailedAttempt(time.time(), step, chunk, attempt, code))
        del self._failed[:-KEPT]

    def again(self) -> None:
        """What had failed is tried again."""
        self.total += 1

    @property
    def last(self) -> list[FailedAttempt]:
        """The last `KEPT`, oldest first."""
        return self._failed[-KEPT:]
