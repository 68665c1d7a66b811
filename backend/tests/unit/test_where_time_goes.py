"""Seconds of waiting: by cause, of the last half minute, and what keeps an upload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.waiting import Cause
from app.services.where_time_goes import WINDOW_S, ThreadTime, WaitingTime, WhereTimeGoes, slowest, slowness

CAUSES = list(Cause)
NOTHING = dict.fromkeys(Cause, 0.0)


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now

    def go(self, seconds: float) -> None:
        """On."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """Stands still."""
    return Clock()


def test_a_wait_counts_while_it_lasts(clock: Clock) -> None:
    """Not only when it is over."""
    waiting = WaitingTime(clock=clock)
    with waiting.of(Cause.CLIENT):
        clock.go(4)
        assert waiting.lately()[Cause.CLIENT] == pytest.approx(4)
        clock.go(3)
    clock.go(2)
    assert waiting.lately() == pytest.approx({**NOTHING, Cause.CLIENT: 7})


def test_each_that_waits_counts(clock: Clock) -> None:
    """Three connections for a second are three seconds."""
    waiting = WaitingTime(clock=clock)
    for _ in range(3):
        waiting.begin(Cause.QUEUE)
    clock.go(1)
    waiting.end(Cause.QUEUE)
    clock.go(1)
    assert waiting.lately()[Cause.QUEUE] == pytest.approx(5)


def test_what_interrupts_a_wait_is_no_part_of_it(clock: Clock) -> None:
    """Reading staging in the middle of sending."""
    waiting = WaitingTime(clock=clock)
    with waiting.of(Cause.DESTINATION):
        clock.go(1)
        with waiting.instead(Cause.DESTINATION), waiting.of(Cause.SLAB):
            clock.go(2)
        clock.go(1)
    assert waiting.lately() == pytest.approx({**NOTHING, Cause.DESTINATION: 2, Cause.SLAB: 2})
    assert not waiting.active


def test_what_is_older_than_the_window_is_forgotten(clock: Clock) -> None:
    """By and by, and then altogether."""
    waiting = WaitingTime(clock=clock)
    with waiting.of(Cause.CLIENT):
        clock.go(6)
    clock.go(WINDOW_S - 3)
    assert waiting.lately()[Cause.CLIENT] == pytest.approx(3, abs=0.5)
    clock.go(6)
    assert waiting.lately() == NOTHING
    assert waiting.total()[CAUSES.index(Cause.CLIENT)] == pytest.approx(6)


def test_a_pause_of_an_hour_leaves_nothing_behind(clock: Clock) -> None:
    """An upload that is taken up again begins with a clean window."""
    waiting = WaitingTime(clock=clock)
    with waiting.of(Cause.DISK):
        clock.go(20)
    clock.go(3600)
    with waiting.of(Cause.CLIENT):
        clock.go(1)
    assert waiting.lately() == pytest.approx({**NOTHING, Cause.CLIENT: 1}, abs=0.05)


def test_a_thread_counts_as_it_goes(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that has not come back yet as well; none of it twice."""
    monkeypatch.setattr("time.monotonic", clock)
    waiting, thread = WaitingTime(clock=clock), ThreadTime()
    waiting.watch(thread)
    thread.begin()
    clock.go(2)
    assert waiting.lately()[Cause.DISK] == pytest.approx(2)
    clock.go(1)
    thread.end()
    assert waiting.lately()[Cause.DISK] == pytest.approx(3)
    waiting.unwatch(thread)
    clock.go(1)
    assert waiting.lately() == pytest.approx({**NOTHING, Cause.DISK: 3})
    assert not waiting.active


def test_all_uploads_together_by_the_second(clock: Clock) -> None:
    """And only those that wait are looked at."""
    where = WhereTimeGoes(clock)
    one, other, idle = (where.of_upload(name) for name in ("one", "other", "idle"))
    one.begin(Cause.CLIENT)
    other.begin(Cause.CLIENT)
    other.begin(Cause.DISK)
    clock.go(0.5)
    other.end(Cause.CLIENT)
    assert where.per_second() == pytest.approx({**NOTHING, Cause.CLIENT: 2, Cause.DISK: 1})
    assert {waiting.name for waiting in where.active} == {"one", "other"}
    one.end(Cause.CLIENT)
    other.end(Cause.DISK)
    clock.go(1)
    assert where.per_second() == NOTHING
    assert where.active == []
    assert not idle.active
    with one.of(Cause.BACKOFF):
        clock.go(1)
    assert where.per_second()[Cause.BACKOFF] == pytest.approx(1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([None, *CAUSES]),
            st.floats(0.0, 20.0, allow_nan=False),
        ),
        max_size=40,
    )
)
def test_the_sum_is_never_more_than_those_who_wait_times_the_time(
    steps: list[tuple[int, Cause | None, float]],
) -> None:
    """Whatever four connections wait for, and however irregularly anybody looks; and the total is right."""
    clock = Clock()
    waiting = WaitingTime(clock=clock)
    doing: list[Cause | None] = [None] * 4
    model, born = [0.0] * len(CAUSES), clock.now
    for lane, cause, pause_s in steps:
        before, doing[lane] = doing[lane], cause
        if before is not None:
            waiting.end(before)
        if cause is not None:
            waiting.begin(cause)
        clock.go(pause_s)
        for waits_for in doing:
            if waits_for is not None:
                model[CAUSES.index(waits_for)] += pause_s
        passed_s = min(WINDOW_S, clock.now - born)
        lately = waiting.lately()
        assert sum(lately.values()) <= 4 * passed_s + 1e-6
        assert all(seconds >= -1e-9 for seconds in lately.values())
    assert waiting.total() == pytest.approx(model)


@pytest.mark.parametrize(
    ("spent", "receiving", "expected"),
    [
        ({}, "busy", None),
        ({Cause.CLIENT: 1.0}, "busy", None),
        ({Cause.CLIENT: 25.0}, "busy", Cause.CLIENT),
        ({Cause.CLIENT: 200.0, Cause.DISK: 30.0}, "busy", Cause.CLIENT),
        ({Cause.DISK: 100.0, Cause.CLIENT: 30.0}, "busy", Cause.DISK),
        ({Cause.CLIENT: 200.0, Cause.DESTINATION: 15.0}, "busy", Cause.CLIENT),
        ({Cause.CLIENT: 200.0, Cause.DESTINATION: 29.0}, "busy", Cause.DESTINATION),
        ({Cause.CLIENT: 200.0, Cause.DESTINATION: 4.0, Cause.BACKOFF: 25.0}, "busy", Cause.BACKOFF),
        ({}, "idle", Cause.CLIENT),
        ({Cause.BACKOFF: 29.0}, "idle", Cause.BACKOFF),
        ({Cause.CLIENT: 200.0}, "over", None),
        ({Cause.CLIENT: 200.0, Cause.DESTINATION: 5.0}, "over", Cause.DESTINATION),
        ({Cause.CLIENT: 200.0, Cause.QUEUE: 9.0}, "over", Cause.QUEUE),
    ],
)
def test_what_keeps_an_upload(spent: dict[Cause, float], receiving: str, expected: Cause | None) -> None:
    """Of half a minute."""
    assert slowness({**NOTHING, **spent}, 30.0, receiving) is expected


def test_next_to_no_waiting_keeps_nobody() -> None:
    """Less than a tenth of the time."""
    assert slowest({**NOTHING, Cause.DISK: 0.05}, 1.0) is None
    assert slowest({**NOTHING, Cause.DISK: 0.5, Cause.CLIENT: 0.4}, 1.0) is Cause.DISK
