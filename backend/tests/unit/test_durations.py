"""Quantiles of durations in a fixed amount of memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.limits.durations import DurationHistogram


def test_of_nothing_there_is_no_quantile() -> None:
    """Null, not 0."""
    assert DurationHistogram().quantile(0.5) is None


@given(st.lists(st.floats(0.001, 3600.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_right_to_a_tenth(durations: list[float], share: float) -> None:
    """Whatever the durations are."""
    histogram = DurationHistogram()
    for duration in durations:
        histogram.add(duration)
    rank = max(0, -(-int(share * 1000) * len(durations) // 1000) - 1)
    assert histogram.quantile(share) == pytest.approx(sorted(durations)[rank], rel=0.1)


def test_extremes_are_kept_at_the_ends() -> None:
    """Nothing is out of range."""
    histogram = DurationHistogram()
    for duration in (0.0, 1e-9, 1e9):
        histogram.add(duration)
    assert histogram.count == 3
    assert histogram.quantile(0.5) == 0.001
    assert histogram.quantile(1.0) > 3600


def test_merged_ones_are_as_one() -> None:
    """Intervals are put together."""
    one, other = DurationHistogram(), DurationHistogram()
    one.add(0.1)
    other.add(10)
    one.merge(other)
    assert one.count == 2
    assert one.quantile(1.0) == pytest.approx(10, rel=0.1)
