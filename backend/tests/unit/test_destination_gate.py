"""A destination that fails everybody is left alone by all, and tried by one."""

import asyncio

import pytest

from app.core.errors import (
    DestinationLoginLost,
    DestinationMismatch,
    DestinationRefusedUpload,
    DestinationUnavailable,
    ForebayError,
    StagingUnavailable,
)
from app.services.destination_gate import DestinationGate
from app.services.limits.breaker import Breaker, Entry


def breaker(failures: int = 1) -> Breaker:
    """With pauses of exactly their length."""
    return Breaker(failures=failures, chance=lambda: 0.5)


def went(breaker: Breaker, now: float) -> Entry:
    """Somebody who may go."""
    entry = breaker.enter(now)
    assert isinstance(entry, Entry)
    return entry


class TestBreaker:
    """Pure: time is given."""

    def test_it_opens_after_failures_in_a_row(self) -> None:
        """And not before: one success in between starts the count anew."""
        tried = breaker(3)
        for now in (0, 1):
            tried.failed(went(tried, now), now, "x")
        tried.works(went(tried, 2))
        for now in (3, 4):
            tried.failed(went(tried, now), now, "x")
        tried.failed(went(tried, 5), 5, "x")
        assert tried.enter(5) == pytest.approx(1)
        assert tried.reason == "x"

    def test_those_who_met_the_same_trouble_are_one_failure(self) -> None:
        """Thirty transfers at once, and one blip."""
        tried = breaker(2)
        under_way = [went(tried, 0) for _ in range(30)]
        for entry in under_way:
            tried.failed(entry, 1, "x")
        assert not tried.is_open

    def test_one_finds_out_for_all(self) -> None:
        """The others wait until it is known; an answer closes it, long before that one is through."""
        tried = breaker()
        tried.failed(went(tried, 0), 0, "x")
        probe = went(tried, 1)
        assert isinstance(tried.enter(1), float)
        assert tried.works(probe)
        assert not tried.is_open
        assert isinstance(tried.enter(1), Entry)

    def test_who_went_before_it_opened_neither_closes_nor_extends_it(self) -> None:
        """Only the probe knows."""
        tried = breaker()
        old, failing = went(tried, 0), went(tried, 0)
        tried.failed(failing, 1, "x")
        probe = went(tried, 2)
        tried.works(old)
        tried.failed(old, 2, "y")
        tried.left(old)
        assert tried.is_open
        assert isinstance(tried.enter(2), float), "the probe is out still"
        tried.works(probe)
        assert not tried.is_open

    def test_each_failed_try_doubles_the_pause(self) -> None:
        """Up to a minute."""
        tried, now, pauses = breaker(), 0.0, []
        tried.failed(went(tried, now), now, "x")
        for _ in range(8):
            pause = tried.enter(now)
            assert isinstance(pause, float)
            pauses.append(pause)
            now += pause
            tried.failed(went(tried, now), now, "x")
        assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])

    def test_who_gives_up_does_not_keep_the_others_waiting(self) -> None:
        """A cancelled try is nobody's verdict: the next one tries."""
        tried = breaker()
        tried.failed(went(tried, 0), 0, "x")
        tried.left(went(tried, 1))
        assert isinstance(tried.enter(1), Entry)

    def test_what_holds_for_everybody_opens_at_once(self) -> None:
        """For as long as was said, by us or by the destination."""
        tried = breaker(5)
        tried.failed(went(tried, 0), 0, "x", pause_s=600)
        assert tried.enter(10) == pytest.approx(590)
        tried = breaker()
        tried.failed(went(tried, 0), 0, "x", at_least_s=30)
        assert tried.enter(10) == pytest.approx(20)


async def pass_through(gate: DestinationGate, error: Exception | None = None, owner: str = "ann") -> None:
    """Go in, and come out so."""
    async with gate.passed(owner):
        if error is not None:
            raise error


class TestGate:
    """On the event loop, with a clock of our own."""

    @pytest.fixture
    def clock(self) -> list[float]:
        """Monotonic seconds; the list's last."""
        return [0.0]

    @pytest.fixture
    def gate(self, clock: list[float]) -> DestinationGate:
        """Two at once."""
        return DestinationGate("drive", permits=2, clock=lambda: clock[-1])

    async def test_no_more_than_its_permits_are_in(self, gate: DestinationGate) -> None:
        """The third waits, and is seen waiting."""
        async with gate.passed("ann"), gate.passed("ann"):
            third = asyncio.create_task(pass_through(gate))
            await asyncio.sleep(0)
            assert gate.waiting == 1
        await third
        assert gate.waiting == 0

    async def test_a_lost_login_parks_everybody_until_one_gets_in(
        self, gate: DestinationGate, clock: list[float]
    ) -> None:
        """They hold no permit meanwhile, and all go when it works again."""
        with pytest.raises(DestinationLoginLost):
            await pass_through(gate, DestinationLoginLost())
        assert (gate.breaker, gate.reason) == ("open", "destination-login-lost")
        waiting = [asyncio.create_task(pass_through(gate)) for _ in range(5)]
        while gate.waiting < 5:
            await asyncio.sleep(0)
        clock.append(5.0)
        gate._wake()  # in real life the wait ends by itself
        await asyncio.gather(*waiting)
        assert gate.breaker == "closed"

    @pytest.mark.parametrize("error", [DestinationMismatch(), DestinationRefusedUpload(), StagingUnavailable()])
    async def test_one_upload_s_trouble_is_not_the_destination_s(
        self, gate: DestinationGate, error: ForebayError
    ) -> None:
        """However often."""
        for _ in range(20):
            with pytest.raises(type(error)):
                await pass_through(gate, error)
        assert gate.breaker == "closed"

    async def test_cancelling_who_is_in_and_who_waits_leaves_the_gate_whole(self, gate: DestinationGate) -> None:
        """Every permit is back."""

        async def stay() -> None:
            async with gate.passed("ann"):
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(stay()) for _ in range(4)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.waiting == 0
        async with gate.passed("ann"), gate.passed("ann"):
            pass

    async def test_failures_in_a_row_open_it(self, gate: DestinationGate) -> None:
        """As `Breaker` says."""
        for _ in range(5):
            with pytest.raises(DestinationUnavailable):
                await pass_through(gate, DestinationUnavailable())
        assert gate.breaker == "open"

    async def test_permits_go_round_by_owner(self, gate: DestinationGate) -> None:
        """With twelve files of one user waiting, another's first is second in turn."""
        order: list[str] = []
        inside = asyncio.Event()

        async def go(owner: str) -> None:
            async with gate.passed(owner):
                order.append(owner)
                await inside.wait()

        tasks = [asyncio.create_task(go("ann")) for _ in range(14)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(go("bob")))
        await asyncio.sleep(0)
        inside.set()
        await asyncio.gather(*tasks)
        assert order[:2] == ["ann", "ann"]
        assert order.index("bob") <= 3

    async def test_an_answer_lets_the_others_go_before_the_end(self, gate: DestinationGate, clock: list[float]) -> None:
        """The probe's own file may be large."""
        with pytest.raises(DestinationLoginLost):
            await pass_through(gate, DestinationLoginLost())
        clock.append(5.0)
        async with gate.passed("ann") as passage:
            waiting = asyncio.create_task(pass_through(gate, owner="bob"))
            await asyncio.sleep(0)
            assert gate.breaker == "open"
            passage.works()
            await waiting
