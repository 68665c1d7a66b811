"""When a peer is too slow."""

from __future__ import annotations

from app.ingress.pace import Pace


def test_silence_of_the_idle_time_is_too_slow() -> None:
    """However much came before."""
    pace = Pace(idle_s=10, min_rate_bytes=0)
    assert pace.timely(9, 1_000_000)
    assert pace.timely(9, 0)
    assert not pace.timely(1, 0)


def test_the_rate_is_taken_over_the_idle_time_of_waiting() -> None:
    """A burst of bytes covers its window, not the next."""
    pace = Pace(idle_s=10, min_rate_bytes=100)
    assert pace.timely(5, 1000)
    assert pace.timely(5, 1)
    assert pace.timely(5, 400)
    assert not pace.timely(5, 599)


def test_time_that_is_not_waited_does_not_count() -> None:
    """The disk and the pool may take as long as they like."""
    pace = Pace(idle_s=1, min_rate_bytes=1_000_000)
    assert all(pace.timely(0.0, 1) for _ in range(1000))


def test_patience_never_passes_either_deadline() -> None:
    """The next wait ends when the earlier of the two rules has to be asked."""
    pace = Pace(idle_s=10, min_rate_bytes=1)
    assert pace.patience_s() == 10
    pace.timely(4, 100)
    assert pace.patience_s() == 6
