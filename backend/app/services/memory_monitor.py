"""Watches memory and refuses new uploads while it is short.

Laws:
- Only admission asks: uploads under way go on whatever the level, their memory is the pool's and bounded.
- A probe that fails is the level "error" with no number in it; so is one that does not come back. The next good one
  recovers, without a restart.
- No hysteresis: stalls come averaged over 10 s, usage is compared once per interval, a refusal is cheap and says when
  to come back; a second threshold would only be one more number to explain.
- The probe blocks on files, so it runs in a thread; everything else belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from app.core.errors import MemoryPressure, MemoryUnknown
from app.services._memory_probe import MemoryProbe, MemoryReading, Source

__all__ = ["MemoryMonitor", "MemoryProbe", "MemoryReading", "MemorySample"]

_log = logging.getLogger(__name__)

_STALE_INTERVALS = 10
_STALE_AT_LEAST_S = 10.0
_NOT_YET = "not measured yet"


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory at one moment. At level "error" everything measured is None."""

    level: Literal["ok", "high", "error"]
    current_usage: float | None = None
    """Percent of `limit` that can't be taken back at once."""
    limit: int | None = None
    """Bytes: the limit nearest to being reached, of a cgroup or of the machine."""
    used_bytes: int | None = None
    rss_bytes: int | None = None
    """What this process has in memory."""
    capacity_bytes: int | None = None
    """The smallest of all limits; what to size pools by."""
    source: Source | None = None
    pressure: float | None = None
    """Percent of the last 10 s in which everything waited for memory; also None where the kernel does not say."""
    error: str | None = None


class MemoryMonitor:
    """Samples memory, and says whether a new upload may begin."""

    def __init__(
        self,
        limit_percent: float,
        pressure_percent: float,
        *,
        probe: Callable[[], MemoryReading] | None = None,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[str, str], None] = lambda _level, _sentence: None,
    ) -> None:
        """Set the thresholds; nothing is measured before `refresh` or `run`.

        Args:
            limit_percent: usage above which new uploads are refused.
            pressure_percent: stall time (PSI `full avg10`) above which they are too.
            probe: takes a reading, in a thread; raises OSError or ValueError when it can't.
            interval_s: between samples of `run`, in seconds.
            clock: seconds, never going back.
            on_change: told the level, and a sentence, when new uploads begin or cease to be refused.
        """
        self._on_change = on_change
        self._limit_percent = limit_percent
        self._pressure_percent = pressure_percent
        self._probe = MemoryProbe() if probe is None else probe
        self._interval_s = interval_s
        self._clock = clock
        self._stale_after_s = max(_STALE_AT_LEAST_S, _STALE_INTERVALS * interval_s)
        self._probing = asyncio.Lock()
        self._measured_at_s = clock()
        self._latest = MemorySample(level="error", error=_NOT_YET)

    @property
    def latest(self) -> MemorySample:
        """The last sample, or level "error" when it is too old to say anything (ten intervals, at least 10 s)."""
        age_s = self._clock() - self._measured_at_s
        if self._latest.level != "error" and age_s > self._stale_after_s:
            return MemorySample(level="error", error=f"no measurement for {age_s:.0f} s")
        return self._latest

    async def run(self) -> None:
        """Sample every `interval_s`, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._interval_s)

    async def refresh(self) -> MemorySample:
        """Measure now; what fails is in the sample."""
        async with self._probing:
            try:
                sample = self._judge(await asyncio.to_thread(self._probe))
            except (OSError, ValueError) as exc:
                sample = MemorySample(level="error", error=f"{type(exc).__name__}: {exc}")
            self._report_change(sample)
            self._latest = sample
            self._measured_at_s = self._clock()
            return sample

    def admit(self) -> None:
        """Return if a new upload may begin.

        Raises:
            MemoryPressure: usage, or the time lost waiting for memory, is above its threshold.
            MemoryUnknown: memory can't be measured.
        """
        sample = self.latest
        if sample.level == "ok":
            return
        if sample.level == "error":
            raise MemoryUnknown
        raise self._pressure(sample)

    def _pressure(self, sample: MemorySample) -> MemoryPressure:
        return MemoryPressure(
            f"Memory usage too high: {sample.current_usage:.1f}%",
            memory_limit_bytes=sample.limit,
            memory_limit_percent=self._limit_percent,
            memory_stall_percent=sample.pressure,
        )

    def _judge(self, reading: MemoryReading) -> MemorySample:
        usage = 100 * reading.used_bytes / reading.limit_bytes
        stalled = reading.pressure_percent is not None and reading.pressure_percent > self._pressure_percent
        return MemorySample(
            level="high" if stalled or usage > self._limit_percent else "ok",
            current_usage=usage,
            limit=reading.limit_bytes,
            used_bytes=reading.used_bytes,
            rss_bytes=reading.rss_bytes,
            capacity_bytes=reading.capacity_bytes,
            source=reading.source,
            pressure=reading.pressure_percent,
        )

    def _report_change(self, sample: MemorySample) -> None:
        if sample.level == self._latest.level and sample.error == self._latest.error:
            return
        if sample.level == "error":
            _log.error("memory can't be measured, no new uploads: %s", sample.error)
            self._on_change(sample.level, MemoryUnknown().detail)
        elif sample.level == "high":
            _log.warning(
                "memory is short, no new uploads: %.1f%% of %d bytes used, stalled %.1f%% of the time",
                sample.current_usage,
                sample.limit,
                sample.pressure or 0.0,
            )
            self._on_change(
                sample.level, f"{self._pressure(sample).detail}. New uploads are refused; those under way go on."
            )
        else:
            _log.info("memory is fine: %.1f%% of %d bytes used", sample.current_usage, sample.limit)
            if self._latest.error != _NOT_YET:
                self._on_change(
                    sample.level, f"Memory is fine again: {sample.current_usage:.1f}%. New uploads are taken."
                )
