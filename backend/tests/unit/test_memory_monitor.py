"""The memory monitor: levels, the guide's message, failing probes, recovery."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Literal

import pytest

from app.core.errors import AdmissionRefused, MemoryPressure, MemoryUnknown
from app.services.memory_monitor import MemoryMonitor, MemoryReading, MemorySample

LIMIT = 1_000_000


def reading(
    percent: float, pressure: float | None = None, source: Literal["cgroup", "host"] = "cgroup"
) -> MemoryReading:
    """What a probe would say at this usage."""
    return MemoryReading(
        used_bytes=round(LIMIT * percent / 100),
        limit_bytes=LIMIT,
        capacity_bytes=LIMIT // 2,
        rss_bytes=4711,
        source=source,
        pressure_percent=pressure,
    )


class Probe:
    """Says what it is told to, and notes the threads it was called in."""

    def __init__(self, says: MemoryReading | Exception) -> None:
        self.says = says
        self.threads: set[int] = set()

    def __call__(self) -> MemoryReading:
        """Answer, or raise."""
        self.threads.add(threading.get_ident())
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


async def test_measured_sample_carries_everything() -> None:
    """Usage in percent, bytes, source and pressure; the level ok admits."""
    monitor = MemoryMonitor(80.0, 40.0, probe=Probe(reading(42.5, pressure=1.5, source="host")))
    sample = await monitor.refresh()
    assert sample == monitor.latest
    assert sample == MemorySample(
        level="ok",
        current_usage=42.5,
        limit=LIMIT,
        used_bytes=425_000,
        rss_bytes=4711,
        capacity_bytes=LIMIT // 2,
        source="host",
        pressure=1.5,
        error=None,
    )
    monitor.admit()


async def test_usage_above_the_limit_refuses_with_the_guides_message() -> None:
    """To the letter, with Retry-After."""
    monitor = MemoryMonitor(80.0, 40.0, probe=Probe(reading(85.2)))
    assert (await monitor.refresh()).level == "high"
    with pytest.raises(MemoryPressure) as refusal:
        monitor.admit()
    assert str(refusal.value) == "Memory usage too high: 85.2%"
    assert refusal.value.retry_after_s
    assert isinstance(refusal.value, AdmissionRefused)
    assert refusal.value.extensions["memory_limit_percent"] == 80.0


async def test_usage_at_the_limit_is_still_admitted() -> None:
    """Above it is too high, as the setting says."""
    monitor = MemoryMonitor(80.0, 40.0, probe=Probe(reading(80.0)))
    assert (await monitor.refresh()).level == "ok"


@pytest.mark.parametrize(("pressure", "level"), [(None, "ok"), (0.0, "ok"), (40.0, "ok"), (40.01, "high")])
async def test_stalls_above_their_limit_refuse_whatever_the_usage(pressure: float | None, level: str) -> None:
    """The percentage stays the real one; the stall is a member of the problem."""
    monitor = MemoryMonitor(80.0, 40.0, probe=Probe(reading(30.0, pressure=pressure)))
    assert (await monitor.refresh()).level == level
    if level == "high":
        with pytest.raises(MemoryPressure) as refusal:
            monitor.admit()
        assert str(refusal.value) == "Memory usage too high: 30.0%"
        assert refusal.value.extensions["memory_stall_percent"] == pressure


async def test_level_recovers_by_itself() -> None:
    """One good sample is enough."""
    probe = Probe(reading(95.0))
    monitor = MemoryMonitor(80.0, 40.0, probe=probe)
    await monitor.refresh()
    with pytest.raises(MemoryPressure):
        monitor.admit()
    probe.says = reading(50.0)
    await monitor.refresh()
    monitor.admit()


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), ValueError("memory.stat has no inactive_file")])
async def test_failing_probe_is_an_error_without_a_number(failure: Exception) -> None:
    """Never an invented figure; the cause is in the sample; new uploads are refused until the next good probe."""
    probe = Probe(reading(50.0))
    monitor = MemoryMonitor(80.0, 40.0, probe=probe)
    await monitor.refresh()
    probe.says = failure
    sample = await monitor.refresh()
    assert sample == MemorySample(level="error", error=f"{type(failure).__name__}: {failure}")
    assert sample.current_usage is None
    with pytest.raises(MemoryUnknown):
        monitor.admit()
    probe.says = reading(50.0)
    await monitor.refresh()
    monitor.admit()


async def test_nothing_measured_yet_admits_nobody() -> None:
    """There is no default to hope for."""
    monitor = MemoryMonitor(80.0, 40.0, probe=Probe(reading(1.0)))
    assert monitor.latest.level == "error"
    assert monitor.latest.current_usage is None
    with pytest.raises(MemoryUnknown):
        monitor.admit()


async def test_old_sample_is_no_answer() -> None:
    """When the probe hangs, what was true once is not repeated for ever."""
    now = 0.0
    monitor = MemoryMonitor(80.0, 40.0, probe=Probe(reading(1.0)), interval_s=1.0, clock=lambda: now)
    await monitor.refresh()
    now = 10.0
    monitor.admit()
    now = 10.1
    assert monitor.latest.level == "error"
    assert monitor.latest.current_usage is None
    with pytest.raises(MemoryUnknown):
        monitor.admit()
    await monitor.refresh()
    monitor.admit()


async def test_probe_runs_in_a_thread_of_its_own() -> None:
    """It blocks on files; the event loop does not."""
    probe = Probe(reading(1.0))
    await MemoryMonitor(80.0, 40.0, probe=probe).refresh()
    assert threading.get_ident() not in probe.threads


async def test_run_goes_on_sampling_through_failures_until_cancelled() -> None:
    """Good, failing, good again; then it stops where it is."""
    loop = asyncio.get_running_loop()
    third = asyncio.Event()
    answers: list[MemoryReading | Exception] = [reading(50.0), OSError("gone"), reading(60.0)]
    calls = 0

    def probe() -> MemoryReading:
        nonlocal calls
        answer = answers[min(calls, 2)]
        calls += 1
        if calls > 3:
            loop.call_soon_threadsafe(third.set)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monitor = MemoryMonitor(80.0, 40.0, probe=probe, interval_s=0.001)
    task = asyncio.create_task(monitor.run())
    await third.wait()
    assert monitor.latest.current_usage == 60.0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_each_change_of_level_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """So that an hour of pressure is one line, and the operator finds the cause of an error."""
    probe = Probe(reading(50.0))
    monitor = MemoryMonitor(80.0, 40.0, probe=probe)
    with caplog.at_level(logging.INFO):
        for says in (reading(50.0), reading(90.0), OSError("no such thing")):
            probe.says = says
            await monitor.refresh()
            await monitor.refresh()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "ERROR"]
    assert "no such thing" in caplog.records[-1].getMessage()


async def test_this_machine_can_be_measured() -> None:
    """The real probe, on whatever runs the tests."""
    sample = await MemoryMonitor(99.0, 100.0).refresh()
    assert sample.error is None
    assert sample.current_usage is not None
    assert 0 <= sample.current_usage <= 100
    assert sample.capacity_bytes is not None
    assert sample.limit is not None
    assert sample.capacity_bytes <= sample.limit
    assert sample.rss_bytes is not None
    assert sample.rss_bytes > 1024 * 1024
