"""The window of 24 hours."""

from hypothesis import given
from hypothesis import strategies as st

from app.destinations.google_drive.ledger import DailyWindow

HOUR_S = 3600
START = 500_000 * HOUR_S


def test_an_hour_counts_until_all_of_it_is_a_day_ago() -> None:
    """Not a second less."""
    window = DailyWindow()
    window.add(10, START + 1)
    window.add(5, START + HOUR_S)
    assert window.sent(START + 25 * HOUR_S - 1) == 15
    assert window.sent(START + 25 * HOUR_S) == 5
    assert window.sent(START + 26 * HOUR_S) == 0


def test_the_wait_is_until_enough_has_fallen_out() -> None:
    """Of the oldest hours first; what is larger than the limit waits for an empty window."""
    window = DailyWindow()
    window.add(60, START)
    window.add(30, START + 5 * HOUR_S)
    now = START + 5 * HOUR_S
    assert window.wait_s(100, 10, now) == 0
    assert window.wait_s(100, 11, now) == 20 * HOUR_S + 1
    assert window.wait_s(100, 71, now) == 25 * HOUR_S + 1
    assert window.wait_s(100, 10_000, now) == 25 * HOUR_S + 1


def test_a_clock_that_was_set_back_frees_nothing() -> None:
    """What was sent in the future was sent now."""
    window = DailyWindow()
    window.add(60, START + 48 * HOUR_S)
    assert window.sent(START) == 60
    assert window.wait_s(60, 1, START) == 25 * HOUR_S + 1
    assert window.sent(START + 25 * HOUR_S) == 0


def test_a_clock_that_was_set_forward_forgets() -> None:
    """There is no telling it from time that has passed; Drive itself says no then."""
    window = DailyWindow()
    window.add(60, START)
    assert window.sent(START + 400 * HOUR_S) == 0


def test_what_is_kept_is_read_back() -> None:
    """And what is no ledger is an empty one."""
    window = DailyWindow()
    window.add(60, START)
    window.add(1, START + HOUR_S)
    assert DailyWindow.parse(window.dump()).dump() == window.dump()
    for text in (None, "", "nonsense", "[]", "7", '{"a": 1}', '{"1": "x"}', '{"1": null}'):
        assert DailyWindow.parse(text).sent(START) == 0


@given(st.lists(st.tuples(st.integers(0, 48 * HOUR_S), st.integers(1, 100)), max_size=20), st.integers(1, 500))
def test_after_the_wait_it_fits(sendings: list[tuple[int, int]], size: int) -> None:
    """And a second before it does not, but for the second that it is on the safe side."""
    window, limit, now = DailyWindow(), 500, START
    for at, sent in sorted(sendings):
        now = START + at
        window.add(sent, now)
    wait_s = window.wait_s(limit, size, now)
    if wait_s:
        before = DailyWindow.parse(window.dump())
        assert before.sent(now + wait_s - 2) + size > limit
    assert window.sent(now + wait_s) + size <= limit
