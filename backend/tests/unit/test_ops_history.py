"""Samples, and the hour that is kept of them."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from app.core.waiting import Cause
from app.services.ops_history import History, Sample

NOTHING = dict.fromkeys(Cause, 0.0)
QUIET = Sample(
    at=0.0,
    bytes_in=0.0,
    bytes_out=0.0,
    chunks=0.0,
    error_rate=0.0,
    active_uploads=0,
    active_users=0,
    queued=0,
    memory_percent=10.0,
    memory_level="ok",
    rss_bytes=1000,
    slabs_leased=0,
    slab_waiting=0,
    loop_delay_ms=0.0,
    chunk_p50_ms=None,
    chunk_p99_ms=None,
    causes=NOTHING,
    slowness=None,
)


def test_a_step_has_means_of_rates_and_the_highest_of_all_else() -> None:
    """A peak of half a second is seen an hour later."""
    history = History()
    for number in range(10):
        history.add(
            replace(
                QUIET,
                at=100 + number / 2,
                bytes_in=100.0 if number == 3 else 0.0,
                loop_delay_ms=80.0 if number == 4 else 1.0,
                queued=7 if number == 5 else 0,
                memory_level="high" if number == 6 else "ok",
                chunk_p50_ms=12.0,
                causes={**NOTHING, Cause.DISK: 4.0},
            )
        )
    (step,) = history.samples()
    assert step.at == 104.5
    assert (step.bytes_in, step.loop_delay_ms, step.queued, step.memory_level) == (10.0, 80.0, 7, "high")
    assert (step.chunk_p50_ms, step.chunk_p99_ms) == (12.0, None)
    assert step.causes == pytest.approx({**NOTHING, Cause.DISK: 4.0})
    assert step.slowness is Cause.DISK


def test_what_was_not_known_stays_unknown() -> None:
    """No invented numbers."""
    history = History()
    for number in range(10):
        history.add(replace(QUIET, at=number / 2, memory_percent=None, rss_bytes=None, memory_level="error"))
    (step,) = history.samples()
    assert (step.memory_percent, step.rss_bytes, step.memory_level) == (None, None, "error")


def test_an_hour_is_kept_and_no_more() -> None:
    """The oldest step goes; memory stays as it is."""
    history = History(steps=12)
    before = sum(sys.getsizeof(column._values) for column in history._columns.values())
    for number in range(1000):
        history.add(replace(QUIET, at=number / 2, bytes_in=float(number)))
    samples = history.samples()
    assert len(samples) == 12
    assert [sample.at for sample in samples] == [439.5 + 5 * n + 5 for n in range(12)]
    assert samples[-1].bytes_in == pytest.approx(994.5)
    assert sum(sys.getsizeof(column._values) for column in history._columns.values()) == before
    assert History().steps_total == 0


def test_samples_that_come_late_make_steps_all_the_same() -> None:
    """A loop that was blocked for a minute leaves a gap, not a backlog."""
    history = History()
    history.add(replace(QUIET, at=0.0))
    history.add(replace(QUIET, at=60.0))
    assert [sample.at for sample in history.samples()] == [60.0]
