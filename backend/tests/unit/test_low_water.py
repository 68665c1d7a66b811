"""How much a wait for the socket should bring."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.ingress.low_water import GATHER_S, LEAST_BYTES, MOST_BYTES, next_low_water


def test_it_is_what_comes_in_the_time() -> None:
    """At the pace of the last burst, whatever its size."""
    rate = 20 * 1024 * 1024
    for came in (LEAST_BYTES, MOST_BYTES):
        assert next_low_water(came, came / rate) == int(rate * GATHER_S)


def test_a_slow_client_is_read_as_often_as_ever() -> None:
    """Of a second's 64 KiB nothing is held back longer."""
    assert next_low_water(LEAST_BYTES, 1.0) == LEAST_BYTES


def test_what_gathered_while_there_was_no_buffer_is_not_taken_for_speed() -> None:
    """The time without one counts: 4 MiB in forty seconds."""
    assert next_low_water(4 * MOST_BYTES, 40.0) == LEAST_BYTES


@given(st.integers(1, 1 << 40), st.floats(0, 1e6, allow_nan=False))
def test_it_stays_within_its_bounds(came: int, taken_s: float) -> None:
    """Whatever was measured."""
    assert LEAST_BYTES <= next_low_water(came, taken_s) <= MOST_BYTES
