"""Rates over a window."""

from __future__ import annotations

from app.services.progress import RateWindow, Throughput


class Clock:
    """Seconds that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


def test_a_rate_is_taken_over_the_window_and_forgets_what_is_older() -> None:
    """Full after ten seconds, empty ten seconds later."""
    clock = Clock()
    rate = RateWindow(10, clock)
    for _ in range(10):
        clock.now += 1
        rate.add(5)
    assert rate.per_second == 5
    clock.now += 30
    assert rate.per_second == 0


def test_a_young_window_is_not_diluted_by_time_before_its_birth() -> None:
    """Two seconds old: divided by two."""
    clock = Clock()
    rate = RateWindow(10, clock)
    clock.now += 2
    rate.add(20)
    assert rate.per_second == 10


def test_the_error_rate_is_failures_over_all_that_ended() -> None:
    """And zero, not a division by zero, when nothing did."""
    clock = Clock()
    flow = Throughput(clock)
    assert flow.error_rate == 0
    flow.chunks.add(3)
    flow.failures.add()
    assert flow.error_rate == 0.25
