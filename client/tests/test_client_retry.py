"""When to try again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from forebay import RetryPolicy
from forebay._retry import Patience, Retrier, parse_retry_after
from forebay.errors import ConnectionFailed, Forbidden, Unavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = RetryPolicy(wait_initial_s=0.001, wait_max_s=0.002)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("²", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: object, seconds: float | None) -> None:
    """Seconds and HTTP-date; what can't be read is none."""
    assert parse_retry_after(value, now=NOW) == seconds


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


async def attempts(retrier: Retrier, errors: list[Exception]) -> int:
    """Fail so, then succeed; gives how many attempts it took."""
    left = list(errors)
    count = 0
    async for attempt in retrier.attempts():
        with attempt:
            count += 1
            if left:
                raise left.pop(0)
    return count


async def test_what_may_pass_is_repeated_and_told() -> None:
    """Each failure, with the delay that the server asked for."""
    told = []
    retrier = Retrier(QUICK, Patience(10), on_retry=lambda error, delay: told.append((error.code, delay)))
    errors = [ConnectionFailed("gone"), Unavailable("later", retry_after=0.01)]
    assert await attempts(retrier, errors) == 3
    assert told[0] == ("connection-failed", None)
    assert told[1][0] == "unavailable"
    assert 0.01 <= told[1][1] <= 0.011


async def test_a_retry_after_of_nothing_leaves_backoff_in_force() -> None:
    """0, or a date that our clock has passed, must not make a storm."""
    told = []
    retrier = Retrier(QUICK, Patience(10), on_retry=lambda error, delay: told.append(delay))
    assert await attempts(retrier, [Unavailable("later", retry_after=0.0)]) == 2
    assert told == [None]


async def test_what_will_not_pass_is_raised_at_once() -> None:
    """A 403, and an error that is none of ours."""
    retrier = Retrier(QUICK, Patience(10))
    with pytest.raises(Forbidden):
        await attempts(retrier, [Forbidden("no")])
    with pytest.raises(ZeroDivisionError):
        await attempts(retrier, [ZeroDivisionError()])


async def test_patience_is_time_without_progress() -> None:
    """Progress renews it; without, the last error comes out."""
    clock = Clock()
    patience = Patience(10, clock=clock)
    retrier = Retrier(QUICK, patience)
    clock.now = 9
    patience.renew()
    clock.now = 18
    assert await attempts(retrier, [ConnectionFailed("gone")]) == 2
    clock.now = 19
    with pytest.raises(ConnectionFailed):
        await attempts(retrier, [ConnectionFailed("gone")])


def test_bytes_that_went_out_renew_patience_but_not_for_ever() -> None:
    """A line that breaks within each chunk is given twenty chances, until something arrives."""
    clock = Clock()
    patience = Patience(10, clock=clock)
    for _ in range(20):
        clock.now += 9
        patience.moved()
        assert patience.left_s == 10
    clock.now += 9
    patience.moved()
    assert patience.left_s == 1
    patience.renew()
    clock.now += 9
    patience.moved()
    assert patience.left_s == 10
