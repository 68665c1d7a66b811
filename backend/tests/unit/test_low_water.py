"""How much a wait for the socket should bring."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.ingress.low_water import GATHER_S, LEAST_BYTES, MOST_BYTES, next_low_water


def test_it_follows_a_steady_client_to_what_comes_in_the_time() -> None:
    """Within a few bursts."""
    rate = 20 * 1024 * 1024
    marks = reduce(
        lambda marks, _: [*marks, next_low_water(marks[-1], marks[-1], marks[-1] / rate)], range(5), [LEAST_BYTES]
    )
    assert marks[-1] == int(rate * GATHER_S)
    assert all(after <= 2 * before for before, after in pairwise(marks))


def test_a_slow_client_is_read_as_often_as_ever() -> None:
    """Of a second's 64 KiB nothing is held back longer."""
    assert next_low_water(LEAST_BYTES, LEAST_BYTES, 1.0) == LEAST_BYTES
    assert next_low_water(MOST_BYTES, LEAST_BYTES, 1.0) == LEAST_BYTES


def test_a_burst_of_megabytes_is_believed_at_once() -> None:
    """A chunk has few bursts."""
    assert next_low_water(LEAST_BYTES, 4 * MOST_BYTES, 0.005) == MOST_BYTES


def test_what_had_gathered_before_anybody_read_is_not_taken_for_speed() -> None:
    """It comes in no time."""
    assert next_low_water(LEAST_BYTES, 128 * 1024, 0.0) == 2 * LEAST_BYTES


def test_of_a_client_that_rests_the_next_byte_is_wanted() -> None:
    """It was none of the fast ones, or is it no more."""
    assert next_low_water(MOST_BYTES, 0, 1.0) == 1
    assert next_low_water(1, 10, 0.0) == LEAST_BYTES


@given(
    st.integers(1, MOST_BYTES),
    st.integers(1, 1 << 40),
    st.floats(0, 1e6, allow_nan=False),
)
def test_it_stays_within_its_bounds(mark: int, came: int, taken_s: float) -> None:
    """Whatever was measured."""
    assert LEAST_BYTES <= next_low_water(mark, came, taken_s) <= MOST_BYTES
