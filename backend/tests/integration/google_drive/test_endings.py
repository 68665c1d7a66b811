"""Sessions given up: whenever that is, nothing stays at Drive."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import pytest

from app.core.errors import DestinationUnavailable, ForebayError, NotFound
from app.testing.destination_contract import read_back
from app.testing.drive_emulator import CutAfter, ErrorIn200, LoseAnswer, Rule, SlowRead, Stall, State, Status

UNIT = 262_144


async def begun(rig: Any, session: Any, data: bytes) -> None:
    """Nothing was sent."""


async def some_sent(rig: Any, session: Any, data: bytes) -> None:
    """Some was."""
    await rig.append(session, data, until=2 * UNIT)


async def all_but_the_last(rig: Any, session: Any, data: bytes) -> None:
    """All that may be sent before the end."""
    await rig.append(session, data)


async def cancelled_in_a_put(rig: Any, session: Any, data: bytes) -> None:
    """A request is cut in the middle."""
    rig.script(("upload.put", SlowRead(4 << 20)))
    task = asyncio.create_task(rig.append(session, data))
    await asyncio.sleep(0.1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def cancelled_in_finish(rig: Any, session: Any, data: bytes) -> None:
    """The last request is cut before its answer."""
    rig.drive.set_latency(0.2)
    task = asyncio.create_task(rig.finish(session, data))
    await asyncio.sleep(0.15)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    rig.drive.set_latency(0)


async def finished(rig: Any, session: Any, data: bytes) -> None:
    """It is a file."""
    await rig.finish(session, data)


async def finished_unknown(rig: Any, session: Any, data: bytes) -> None:
    """It is a file, and we were not told."""
    rig.script(Rule("upload.finish", LoseAnswer()), Rule("upload.query", Status(503)))
    with pytest.raises(DestinationUnavailable):
        await rig.finish(session, data)
    assert len(rig.files) == 1
    rig.script()


async def expired(rig: Any, session: Any, data: bytes) -> None:
    """Drive has forgotten it."""
    await rig.append(session, data, until=2 * UNIT)
    rig.drive.expire_sessions()


PHASES = [
    begun,
    some_sent,
    all_but_the_last,
    cancelled_in_a_put,
    cancelled_in_finish,
    finished,
    finished_unknown,
    expired,
]


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
@pytest.mark.parametrize("by", ["the session", "its state", "its first state"])
async def test_nothing_stays(start_rig: Any, rig: Any, phase: Any, by: str) -> None:
    """Given up by who began it, or by another life that has its state; twice."""
    data = os.urandom(6 * UNIT + 77)
    session = await rig.begin(data)
    first = session.state
    await phase(rig, session, data)
    if by != "the session":
        session = await start_rig(rig.drive).begin(data, saved=session.state if by == "its state" else first)
    await session.abort()
    await session.abort()
    assert rig.drive.files == {}
    assert [each for each in rig.drive.sessions if each.state is State.OPEN] == []
    await asyncio.sleep(0.05)
    assert rig.drive.files == {}
    if by == "the session":  # begun again, it is an upload like any other
        await rig.store(data)
        rig.assert_one(data)


@pytest.mark.parametrize("fault", [Status(503), CutAfter(0), LoseAnswer(), Stall(30), Status(500, when="after")])
@pytest.mark.parametrize("operation", ["upload.cancel", "files.delete"])
async def test_what_can_t_be_removed_now_is_removed_later(
    rig: Any, data: bytes, fault: Any, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that it was not done; the next call does it."""
    monkeypatch.setattr("app.destinations.google_drive.transit._BETWEEN_S", 0.01)  # the file is there at the first look
    session = await rig.begin(data)
    rig.script(Rule("upload.finish", LoseAnswer(), times=1), Rule("upload.query", Status(503), times=1))
    with suppress(ForebayError):
        await rig.finish(session, data)
    assert len(rig.files) == 1
    rig.script(Rule(operation, fault, times=2))
    for _ in range(3):
        with suppress(ForebayError):
            await session.abort()
            break
    assert rig.drive.files == {}


async def test_a_session_that_drive_won_t_cancel_is_no_hindrance(rig: Any, data: bytes) -> None:
    """It ends by itself; what matters is the file."""
    session = await rig.begin(data)
    await rig.finish(session, data)
    rig.script(Rule("upload.cancel", Status(400, "badRequest")))
    await session.abort()
    assert rig.drive.files == {}


async def test_where_deleting_is_not_allowed_it_is_the_trash(rig: Any, data: bytes) -> None:
    """As for a content manager of a shared drive."""
    stored = await rig.store(data)
    rig.script(Rule("files.delete", Status(403, "insufficientFilePermissions")))
    await rig.destination.delete(stored.id)
    assert rig.files == []
    assert rig.drive.files[stored.id].trashed


async def test_downloads(rig: Any) -> None:
    """Any range, to the byte; what is gone is not found."""
    data = os.urandom(3 * UNIT + 5)
    stored = await rig.store(data)
    for start, end in (
        (0, len(data)),
        (0, 1),
        (5, 5),
        (UNIT - 1, 2 * UNIT + 1),
        (len(data) - 1, len(data)),
        (len(data),) * 2,
    ):
        assert await read_back(rig.destination, stored.id, start, end, size=len(data)) == data[start:end]
    empty = await rig.store(b"", "u2", filename="empty")
    assert await read_back(rig.destination, empty.id, 0, 0) == b""
    with pytest.raises(DestinationUnavailable, match="another size"):
        await read_back(rig.destination, stored.id, 0, len(data) + 1)
    await rig.destination.delete(stored.id)
    await rig.destination.delete(stored.id)
    for start, end in ((0, 10), (0, 0)):
        with pytest.raises(NotFound):
            await read_back(rig.destination, stored.id, start, end)
    before = rig.drive.requests
    for odd in ("", "..", "a/b", "../about", "no such\nid", "x?alt=json", "ü"):
        with pytest.raises(NotFound):
            await read_back(rig.destination, odd, 0, 10)
        await rig.destination.delete(odd)
    assert rig.drive.requests == before


@pytest.mark.parametrize(
    "fault",
    [
        CutAfter(UNIT + 5),
        Status(503),
        Status(429),
        Stall(30, UNIT),
        Stall(30),
        Status(403, "downloadQuotaExceeded"),
        ErrorIn200(),
    ],
)
async def test_a_download_that_goes_wrong_is_not_whole(rig: Any, data: bytes, fault: Any) -> None:
    """Whoever reads learns it; the next one gets it."""
    stored = await rig.store(data)
    rig.script(("files.media", fault))
    with pytest.raises(DestinationUnavailable):
        await read_back(rig.destination, stored.id, 0, len(data))
    assert await read_back(rig.destination, stored.id, 0, len(data)) == data


async def test_a_file_that_looks_like_an_error_is_a_file(rig: Any) -> None:
    """Drive says which part of how large a file it sends."""
    data = b'{"error": {"code": 500, "message": "Backend Error"}}'
    stored = await rig.store(data, media_type="application/json")
    assert await read_back(rig.destination, stored.id, 0, len(data)) == data


async def test_a_download_with_an_old_token(rig: Any, data: bytes) -> None:
    """It is fetched anew."""
    stored = await rig.store(data)
    rig.drive.expire_access_tokens()
    assert await read_back(rig.destination, stored.id, 1, 100, size=len(data)) == data[1:100]
    assert len(rig.tokens.refused) == 1


async def test_a_download_given_up(rig: Any, data: bytes) -> None:
    """The connection is let go of, and nothing is left running."""
    stored = await rig.store(data)
    async with rig.destination.open_range(stored.id, 0, len(data), size=len(data)) as pieces:
        assert len(await anext(pieces)) > 0
    assert await read_back(rig.destination, stored.id, 0, 9, size=len(data)) == data[:9]


async def test_a_destination_that_was_closed_leaves_nothing_open(start_rig: Any, data: bytes) -> None:
    """Also while things are under way."""
    rig = start_rig(latency_s=0.1)
    task = asyncio.create_task(rig.store(data, folder="a/b"))
    await asyncio.sleep(0.15)
    await rig.destination.aclose()
    with suppress(ForebayError, asyncio.CancelledError):
        await task
    await rig.destination.aclose()
