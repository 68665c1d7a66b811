"""A destination that fails everybody is left alone by all, and tried by one."""

import asyncio

import pytest

from app.core.errors import (
    DestinationLoginLost,
    DestinationMismatch,
    DestinationUnavailable,
    ForebayError,
    StagingUnavailable,
)
from app.services.destination_gate import DestinationGate
from app.services.limits.breaker import Breaker


class TestBreaker:
    """Pure: time is given."""

    def test_it_opens_after_failures_in_a_row(self) -> None:
        """And not before: one success in between starts the count anew."""
        breaker = Breaker(failures=3)
        for _ in range(2):
            breaker.failed(0, "x")
        breaker.succeeded()
        for _ in range(2):
            breaker.failed(0, "x")
            assert breaker.delay_s(0) == 0
        breaker.failed(0, "x")
        assert breaker.delay_s(0) == pytest.approx(1)
        assert breaker.reason == "x"

    def test_one_finds_out_for_all(self) -> None:
        """The others wait until it is known; success closes it."""
        breaker = Breaker(failures=1)
        breaker.failed(0, "x")
        assert breaker.delay_s(1) == 0
        assert breaker.delay_s(1) > 0
        breaker.succeeded()
        assert breaker.delay_s(1) == breaker.delay_s(1) == 0

    def test_each_failed_try_doubles_the_pause(self) -> None:
        """Up to a minute."""
        breaker, now, pauses = Breaker(failures=1), 0.0, []
        breaker.failed(now, "x")
        for _ in range(8):
            pauses.append(breaker.delay_s(now))
            now += pauses[-1]
            assert breaker.delay_s(now) == 0
            breaker.failed(now, "x")
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]

    def test_who_gives_up_does_not_keep_the_others_waiting(self) -> None:
        """A cancelled try is nobody's verdict: the next one tries."""
        breaker = Breaker(failures=1)
        breaker.failed(0, "x")
        assert breaker.delay_s(1) == 0
        breaker.abandoned()
        assert breaker.delay_s(1) == 0

    def test_what_holds_for_everybody_opens_at_once(self) -> None:
        """For as long as was said."""
        breaker = Breaker()
        breaker.failed(0, "x", pause_s=600)
        assert breaker.delay_s(10) == pytest.approx(590)


async def pass_through(gate: DestinationGate, error: Exception | None = None) -> None:
    """Go in, and come out so."""
    async with gate.passed():
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
        async with gate.passed(), gate.passed():
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
        await asyncio.sleep(0)
        assert gate.waiting == 5
        clock.append(5.0)
        gate._wake()  # in real life the wait ends by itself
        await asyncio.gather(*waiting)
        assert gate.breaker == "closed"

    @pytest.mark.parametrize("error", [DestinationMismatch(), StagingUnavailable()])
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
            async with gate.passed():
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(stay()) for _ in range(4)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.waiting == 0
        async with gate.passed(), gate.passed():
            pass

    async def test_failures_in_a_row_open_it(self, gate: DestinationGate) -> None:
        """As `Breaker` says."""
        for _ in range(5):
            with pytest.raises(DestinationUnavailable):
                await pass_through(gate, DestinationUnavailable())
        assert gate.breaker == "open"
