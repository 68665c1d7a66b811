"""How the server has been doing: a sample twice a second, and the last hour in steps of five seconds.

Laws: nobody is asked for anything that it does not know already, so that sampling costs next to nothing; the hour is kept
in arrays of a fixed size. Of what is a rate, a step keeps the mean, of everything else the highest.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from app.core.waiting import Cause
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.limits.durations import DurationHistogram
from app.services.memory_monitor import MemoryMonitor
from app.services.progress import Throughput
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.where_time_goes import Spent, WhereTimeGoes, slowest

__all__ = ["STEP_S", "History", "Sample", "Sampler"]

Level = Literal["ok", "high", "error"]

INTERVAL_S: Final = 0.5
STEP_S: Final = 5.0
_STEPS: Final = 720
_LEVELS: Final[tuple[Level, ...]] = ("ok", "high", "error")  # the worst last
_MEANS: Final = ("bytes_in", "bytes_out", "chunks", "error_rate")
_HIGHEST: Final = (
    "active_uploads",
    "active_users",
    "queued",
    "memory_percent",
    "rss_bytes",
    "slabs_leased",
    "slab_waiting",
    "loop_delay_ms",
)
_CHUNK_TIMES_OVER: Final = int(STEP_S / INTERVAL_S)  # intervals: in one alone there may be no chunk at all


@dataclass(frozen=True, slots=True)
class Sample:
    """The server over an interval that ends at `at` (seconds since the epoch). Rates are per second; None: not known."""

    at: float
    bytes_in: float
    bytes_out: float
    chunks: float
    error_rate: float
    active_uploads: int
    active_users: int
    queued: int
    memory_percent: float | None
    memory_level: Level
    rss_bytes: int | None
    slabs_leased: int
    slab_waiting: int
    loop_delay_ms: float
    chunk_p50_ms: float | None
    """Of the last five seconds, as `chunk_p99_ms`."""
    chunk_p99_ms: float | None
    causes: Spent
    """Seconds of waiting per second, summed over uploads."""
    slowness: Cause | None


class _Column:
    """A ring of numbers; NaN stands for None."""

    def __init__(self, size: int) -> None:
        self._values = array("d", bytes(8 * size))

    def put(self, place: int, value: float | None) -> None:
        self._values[place] = math.nan if value is None else value

    def get(self, place: int) -> float | None:
        value = self._values[place]
        return None if math.isnan(value) else value


class History:
    """The last `steps` steps of `step_s` seconds each."""

    def __init__(self, *, step_s: float = STEP_S, steps: int = _STEPS) -> None:
        """Empty."""
        self.step_s = step_s
        self._steps = steps
        names = ("at", *_MEANS, *_HIGHEST, "memory_level", "chunk_p50_ms", "chunk_p99_ms", *Cause)
        self._columns = {str(name): _Column(steps) for name in names}
        self._pending: list[Sample] = []
        self.steps_total = 0
        """Steps so far, those forgotten too."""

    def add(self, sample: Sample) -> None:
        """Take the next sample; a step is there when its last one has come."""
        self._pending.append(sample)
        if sample.at - self._pending[0].at + INTERVAL_S < self.step_s - INTERVAL_S / 2:
            return
        samples, self._pending = self._pending, []
        place = self.steps_total % self._steps
        put = {name: column.put for name, column in self._columns.items()}
        put["at"](place, samples[-1].at)
        for name in _MEANS:
            put[name](place, sum(getattr(one, name) for one in samples) / len(samples))
        for name in _HIGHEST:
            known = [value for one in samples if (value := getattr(one, name)) is not None]
            put[name](place, max(known) if known else None)
        for cause in Cause:
            put[cause](place, sum(one.causes[cause] for one in samples) / len(samples))
        put["memory_level"](place, max(_LEVELS.index(one.memory_level) for one in samples))
        put["chunk_p50_ms"](place, samples[-1].chunk_p50_ms)
        put["chunk_p99_ms"](place, samples[-1].chunk_p99_ms)
        self.steps_total += 1

    def samples(self) -> list[Sample]:
        """The steps that are kept, oldest first."""
        first = max(0, self.steps_total - self._steps)
        return [self._sample(number % self._steps) for number in range(first, self.steps_total)]

    def _sample(self, place: int) -> Sample:
        def known(name: str) -> float:
            return self._columns[name].get(place) or 0.0

        def perhaps(name: str) -> float | None:
            return self._columns[name].get(place)

        def whole(name: str) -> int:
            return int(known(name))

        causes = {cause: known(cause) for cause in Cause}
        rss = perhaps("rss_bytes")
        return Sample(
            at=known("at"),
            bytes_in=known("bytes_in"),
            bytes_out=known("bytes_out"),
            chunks=known("chunks"),
            error_rate=known("error_rate"),
            active_uploads=whole("active_uploads"),
            active_users=whole("active_users"),
            queued=whole("queued"),
            memory_percent=perhaps("memory_percent"),
            memory_level=_LEVELS[whole("memory_level")],
            rss_bytes=None if rss is None else int(rss),
            slabs_leased=whole("slabs_leased"),
            slab_waiting=whole("slab_waiting"),
            loop_delay_ms=known("loop_delay_ms"),
            chunk_p50_ms=perhaps("chunk_p50_ms"),
            chunk_p99_ms=perhaps("chunk_p99_ms"),
            causes=causes,
            slowness=slowest(causes, 1.0),
        )


class Sampler:
    """Takes samples as long as it runs."""

    def __init__(
        self,
        *,
        throughput: Throughput,
        slots: UploadConcurrencyManager,
        memory: MemoryMonitor,
        pool: ChunkBufferPool,
        where: WhereTimeGoes,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Nothing is sampled before `run`."""
        self._throughput = throughput
        self._slots = slots
        self._memory = memory
        self._pool = pool
        self._where = where
        self._interval_s = interval_s
        self._longest_delay_s = 0.0
        self._chunk_times: deque[DurationHistogram] = deque(maxlen=_CHUNK_TIMES_OVER)
        self._before = (time.monotonic(), 0, 0, 0)
        self.history = History()
        self.on_sample: Callable[[Sample], None] = lambda _: None

    def loop_delay(self, seconds: float) -> None:
        """The event loop was so late."""
        self._longest_delay_s = max(self._longest_delay_s, seconds)

    async def run(self) -> None:
        """Sample every half second, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            sample = self.take()
            self.history.add(sample)
            self.on_sample(sample)

    def take(self) -> Sample:
        """What has been since the last time."""
        flow, slots, memory, pool = self._throughput, self._slots.stats, self._memory.latest, self._pool.stats
        now = time.monotonic(), flow.came_total, flow.sent_total, flow.chunks_total
        passed_s = max(now[0] - self._before[0], 1e-9)
        came, sent, chunks = (
            (after - before) / passed_s for after, before in zip(now[1:], self._before[1:], strict=True)
        )
        self._before = now
        delay_s, self._longest_delay_s = self._longest_delay_s, 0.0
        times = self._take_chunk_times()
        causes = self._where.per_second()
        return Sample(
            at=time.time(),
            bytes_in=came,
            bytes_out=sent,
            chunks=chunks,
            error_rate=flow.error_rate,
            active_uploads=slots.active_uploads,
            active_users=slots.active_users,
            queued=slots.queued,
            memory_percent=memory.current_usage,
            memory_level=memory.level,
            rss_bytes=memory.rss_bytes,
            slabs_leased=pool.slabs_leased,
            slab_waiting=pool.waiting,
            loop_delay_ms=1000 * delay_s,
            chunk_p50_ms=_milliseconds(times.quantile(0.5)),
            chunk_p99_ms=_milliseconds(times.quantile(0.99)),
            causes=causes,
            slowness=slowest(causes, 1.0),
        )

    def _take_chunk_times(self) -> DurationHistogram:
        """Of the last intervals."""
        fresh, self._throughput.chunk_times = self._throughput.chunk_times, DurationHistogram()
        self._chunk_times.append(fresh)
        together = DurationHistogram()
        for one in self._chunk_times:
            together.merge(one)
        return together


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
