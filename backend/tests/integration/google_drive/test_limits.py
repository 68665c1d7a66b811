"""The daily limit: kept by us, and guessed from what Drive says."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from app.core.errors import DatabaseUnavailable, DestinationQuotaReached, DestinationUnavailable
from app.destinations.google_drive.ledger import Ledger
from app.testing.drive_emulator import CommitLess, Status

UNIT = 262_144
HOUR_S = 3600


class Values:
    """`KeepsValues` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.error: Exception | None = None

    async def get(self, key: str) -> str | None:
        """The value."""
        if self.error is not None:
            raise self.error
        return self.kept.get(key)

    async def set(self, key: str, value: str) -> None:
        """Keep it."""
        if self.error is not None:
            raise self.error
        self.kept[key] = value


class Clock:
    """Seconds since the epoch, as told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0 - 1_800_000_000.0 % HOUR_S

    def __call__(self) -> float:
        """Now."""
        return self.now


async def test_nothing_is_begun_beyond_the_limit(start_rig: Any, data: bytes) -> None:
    """It is parked until enough falls out of the window, and goes on by itself then."""
    clock = Clock()
    ledger = Ledger(2 * len(data), key="sent", values=None, clock=clock)
    rig = start_rig(ledger=ledger)
    await rig.store(data, "u1", filename="1")
    clock.now += 2 * HOUR_S + 60
    await rig.store(data, "u2", filename="2")
    assert rig.destination.report().sent_in_24_hours == 2 * len(data)
    with pytest.raises(DestinationQuotaReached) as raised:
        await rig.begin(data, "u3")
    assert raised.value.asked_for_s == 25 * HOUR_S - 2 * HOUR_S - 60 + 1
    clock.now += raised.value.asked_for_s
    assert rig.destination.report().sent_in_24_hours == len(data)
    await rig.store(data, "u3", filename="3")


async def test_a_file_larger_than_the_limit_goes_in_days(start_rig: Any) -> None:
    """What the limit allows is sent; the rest waits, in the same session."""
    clock = Clock()
    data = os.urandom(20 * UNIT + 1)
    rig = start_rig(ledger=Ledger(9 * UNIT, key="sent", values=None, clock=clock))
    session = await rig.begin(data)
    days = 0
    while True:
        try:
            if await rig.append(session, data, piece=UNIT) == 20 * UNIT:
                break
        except DestinationQuotaReached as reached:
            assert session.committed == (days + 1) * 9 * UNIT
            clock.now += reached.asked_for_s
            days += 1
    assert days == 2
    await rig.finish(session, data)
    rig.assert_one(data)
    assert len(rig.drive.sessions) == 1


async def test_a_file_that_lacks_next_to_nothing_is_not_parked(start_rig: Any) -> None:
    """The last bytes go, limit or not: Drive lets an upload that has begun end."""
    data = os.urandom(4 * UNIT + 9)
    rig = start_rig(daily_bytes=4 * UNIT)
    session = await rig.begin(data)
    await rig.append(session, data, piece=UNIT)
    await rig.finish(session, data)
    rig.assert_one(data)


async def test_what_is_sent_again_counts_again(rig: Any, data: bytes) -> None:
    """Rather too much than too little."""
    session = await rig.begin(data)
    rig.script(("upload.put", CommitLess(2 * UNIT)))
    await rig.append(session, data)
    await rig.append(session, data)
    await rig.finish(session, data)
    assert rig.destination.report().sent_in_24_hours == len(data) + 2 * UNIT


async def test_the_ledger_outlives_the_server(start_rig: Any, rig: Any, data: bytes) -> None:
    """Kept at the latest when the destination is closed; a database that is away stops nothing."""
    values = Values()
    first = start_rig(rig.drive, values=values)
    await first.store(data, "u1", filename="1")
    await first.destination.aclose()
    (key,) = values.kept
    assert sum(json.loads(values.kept[key]).values()) == len(data)
    values.error = DatabaseUnavailable()
    second = start_rig(rig.drive, values=values)
    await second.store(data, "u2", filename="2")
    assert second.destination.report().sent_in_24_hours is None  # it is not known what was sent before
    values.error = None
    await second.store(data, "u3", filename="3")
    assert second.destination.report().sent_in_24_hours == 3 * len(data)
    await second.destination.aclose()
    third = start_rig(rig.drive, values=values)
    await third.destination.check()
    assert third.destination.report().sent_in_24_hours == 3 * len(data)


async def test_destinations_of_one_account_count_together(start_rig: Any, rig: Any, data: bytes) -> None:
    """What each has sent is added to what is kept, also when they don't know of each other."""
    values = Values()
    rigs = [start_rig(rig.drive, values=values) for _ in range(3)]
    for number, each in enumerate(rigs):
        await each.store(data, f"u{number}", filename=str(number))
        await each.destination.aclose()
    last = start_rig(rig.drive, values=values)
    await last.destination.check()
    assert last.destination.report().sent_in_24_hours == 3 * len(data)


async def test_drive_says_so(start_rig: Any, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that may mean a moment or a day: for a while they pass, then they are believed, until an upload begins again."""
    rig = start_rig(daily_limit=len(data))
    await rig.store(data, "u1", filename="1")
    for _ in range(2):
        with pytest.raises(DestinationUnavailable) as raised:
            await rig.begin(data, "u2")
        assert not isinstance(raised.value, DestinationQuotaReached)
    monkeypatch.setattr("app.destinations.google_drive.ledger._BELIEVED_AFTER_S", 0.0)
    for _ in range(2):
        with pytest.raises(DestinationQuotaReached) as reached:
            await rig.begin(data, "u2")
        assert reached.value.asked_for_s == 900
    rig.drive.a_new_day()
    await rig.store(data, "u2", filename="2")
    monkeypatch.undo()
    rig.script(("upload.start", Status(403, "userRateLimitExceeded", "User rate limit exceeded.")))
    with pytest.raises(DestinationUnavailable) as raised:
        await rig.begin(data, "u3")
    assert not isinstance(raised.value, DestinationQuotaReached)


async def test_drive_says_so_when_we_think_so_too(start_rig: Any, data: bytes) -> None:
    """Near our own count it is believed at once."""
    rig = start_rig(daily_limit=len(data), daily_bytes=int(len(data) * 1.08))
    await rig.store(data, "u1", filename="1")
    with pytest.raises(DestinationQuotaReached):
        await rig.begin(data[:10], "u2")
