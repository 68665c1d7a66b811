"""What is announced to a destination next."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.upload import MIB
from app.destinations.port import Abilities
from app.services.limits.send_plan import FIRST_BOUND_BYTES, LAST_BOUND_BYTES, SendPlan

KIB = 1024
DRIVE = Abilities(part_multiple_bytes=256 * KIB, last_with_finish=True)
SIZE = 100 * MIB + 1


def test_a_stream_announces_all_but_what_goes_last() -> None:
    """Whatever has come, up to the last multiple below the end."""
    plan = SendPlan(DRIVE, SIZE)
    assert plan.streams
    assert plan.until(0, 0) == 100 * MIB


def test_the_last_bytes_are_kept_also_where_the_size_is_a_multiple() -> None:
    """The destination publishes the file with its last byte: that one is for `finish`."""
    assert SendPlan(DRIVE, 4 * MIB).until(0, 0) == 4 * MIB - 256 * KIB


def test_a_directory_takes_everything() -> None:
    """Nothing is published by arriving there."""
    assert SendPlan(Abilities(), SIZE).until(0, 0) == SIZE


def test_after_a_stall_only_what_is_there_is_announced() -> None:
    """In whole multiples; until more has come while a piece was sent, or for some pieces, the more the more often."""
    plan = SendPlan(DRIVE, SIZE)
    plan.stalled()
    assert plan.until(0, 10 * MIB + 5) == 10 * MIB
    assert plan.until(10 * MIB, 10 * MIB + 5) == 10 * MIB
    plan.went_well(received_more=False)
    assert plan.streams
    plan.stalled()
    plan.went_well(received_more=False)
    assert not plan.streams
    plan.went_well(received_more=True)
    assert plan.streams


def test_after_a_break_pieces_are_small_and_grow() -> None:
    """Each twice the one before, then it streams again."""
    plan = SendPlan(DRIVE, 10**12)
    plan.broke()
    sizes = []
    while not plan.streams:
        sizes.append(plan.until(0, 10**11))
        plan.went_well(received_more=False)
    assert sizes == [FIRST_BOUND_BYTES, 2 * FIRST_BOUND_BYTES, 4 * FIRST_BOUND_BYTES, LAST_BOUND_BYTES]


def test_a_closed_plan_never_streams() -> None:
    """Sequential mode, and staging in memory."""
    plan = SendPlan(DRIVE, SIZE, closed_bytes=4 * MIB)
    assert not plan.streams
    assert plan.until(0, 0) == 0
    assert plan.until(0, 50 * MIB) == 4 * MIB


@given(
    size=st.integers(0, 1 << 40),
    received=st.integers(0, 1 << 40),
    committed=st.integers(0, 1 << 40),
    closed=st.none() | st.integers(256 * KIB, 64 * MIB),
    events=st.lists(st.sampled_from(["stalled", "broke", "well", "more"]), max_size=8),
)
def test_nothing_is_announced_that_can_not_be_sent(
    size: int, received: int, committed: int, closed: int | None, events: list[str]
) -> None:
    """Never behind what is committed, never beyond what staging has unless it streams, and always in multiples."""
    received = min(received, size)
    committed = DRIVE.sendable(size, min(committed, received))
    plan = SendPlan(DRIVE, size, closed_bytes=closed)
    for event in events:
        {
            "stalled": plan.stalled,
            "broke": plan.broke,
            "well": lambda: plan.went_well(received_more=False),
            "more": lambda: plan.went_well(received_more=True),
        }[event]()
    until = plan.until(committed, received)
    assert committed <= until <= max(0, size - 1)
    assert until % (256 * KIB) == 0
    if not plan.streams:
        assert until <= max(committed, received)
