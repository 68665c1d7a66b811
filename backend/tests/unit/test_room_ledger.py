"""The spool's ledger of room, with a volume of its own."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from app.staging.spool.ledger import RoomLedger


class Volume:
    """Free bytes, and what each upload has allocated of them."""

    def __init__(self, size: int) -> None:
        """Start empty."""
        self.size = size
        self.allocated: Counter[str] = Counter()
        self.asked = threading.Semaphore(0)

    def available(self) -> int:
        """Free bytes; tells that somebody asked."""
        self.asked.release()
        return self.size - self.allocated.total()

    def ledger(self) -> RoomLedger:
        """A ledger without margin."""
        return RoomLedger(
            available=self.available, allocated=self.allocated.__getitem__, min_free_bytes=0, user_quota_bytes=None
        )


def test_nobody_is_refused_while_blocks_are_being_allocated() -> None:
    """Half-made allocations may count twice: the decision waits for their end, and is then exact."""
    volume = Volume(100)
    seen_as_gone = 30

    def available() -> int:
        volume.asked.release()
        return volume.size - seen_as_gone

    ledger = RoomLedger(
        available=available, allocated=volume.allocated.__getitem__, min_free_bytes=0, user_quota_bytes=None
    )
    assert ledger.begin("first", "ann", 60)
    assert volume.asked.acquire(timeout=30)
    volume.allocated["first"] = 20  # and by the time the volume is asked, 30: ten of them count twice
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(ledger.begin, "second", "bob", 40)
        assert volume.asked.acquire(timeout=30)
        volume.allocated["first"] = seen_as_gone = 60
        ledger.settle("first", on_disk=True)
        assert second.result(10)


def test_a_failed_allocation_makes_room_for_who_waits() -> None:
    """`forget` ends an allocation as `settle` does."""
    volume = Volume(100)
    ledger = volume.ledger()
    ledger.begin("first", "ann", 100)
    assert volume.asked.acquire(timeout=30)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(ledger.begin, "second", "bob", 100)
        assert volume.asked.acquire(timeout=30)
        ledger.forget("first")
        assert second.result(10)


def test_what_is_held_is_not_taken_twice() -> None:
    """Regaining room that was never released changes nothing, even without room left."""
    volume = Volume(100)
    ledger = volume.ledger()
    assert ledger.begin("up", "ann", 100)
    ledger.settle("up", on_disk=False)
    assert not ledger.begin("up", "ann", 100)
    assert (ledger.reserved(), ledger.free()) == (100, 0)


def test_room_is_owed_only_as_far_as_it_is_not_allocated() -> None:
    """What was written is missing from the volume already."""
    volume = Volume(100)
    ledger = volume.ledger()
    ledger.begin("up", "ann", 60)
    ledger.settle("up", on_disk=False)
    volume.allocated["up"] = 50
    assert ledger.free() == 40
    ledger.begin("more", "ann", 40)
