"""Bytes on their way: of every size, through everything that Drive may do in between. FAULTS rows 22-25."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import (
    DestinationMismatch,
    DestinationUnavailable,
    FileTooLarge,
)
from app.destinations.google_drive.api import Timeouts
from app.testing.destination_contract import pieces_of
from app.testing.drive_emulator import (
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    Kind,
    LoseAnswer,
    Rule,
    SlowRead,
    Stall,
    Status,
    WrongDigest,
)

UNIT = 262_144
SIZES = [0, 1, 2, UNIT - 1, UNIT, UNIT + 1, 2 * UNIT, 4 * UNIT, 4 * UNIT + 1, 20 * UNIT - 1]


@pytest.mark.parametrize("size", SIZES)
async def test_files_of_every_size_arrive(clean: Any, size: int) -> None:
    """Whole, once, verified, with nothing sent that Drive does not take."""
    data = os.urandom(size)
    stored = await clean.store(data)
    assert (stored.name, stored.size, stored.sha256) == ("report.pdf", size, hashlib.sha256(data).hexdigest())
    assert clean.assert_one(data).id == stored.id


async def test_a_file_is_one_session_and_few_requests(clean: Any, data: bytes) -> None:
    """Ids in advance, the session, its bytes, the last bytes, and meanwhile a look for the name."""
    await clean.store(data)
    assert clean.drive.requests == {
        "files.generateIds": 1,
        "files.list": 1,
        "upload.start": 1,
        "upload.put": 2,
    }


async def test_what_drive_is_told_of_a_file(clean: Any, data: bytes) -> None:
    """Its type, and whose upload it is; a type that can't stand in a header is none."""
    await clean.store(data)
    file = clean.assert_one(data)
    assert (file.mime_type, file.app_properties) == ("application/pdf", {"forebayUpload": "u1"})
    await clean.store(b"x", "u2", media_type="text/plain\r\nX-Evil: 1", filename="b")
    assert clean.drive.named("b")[0].mime_type == "application/octet-stream"


async def test_a_file_larger_than_drive_takes_is_refused_at_once(rig: Any) -> None:
    """Not after days."""
    huge = type("Huge", (bytes,), {"__len__": lambda self: 5 * 1024**4 + 1})()
    with pytest.raises(FileTooLarge):
        await rig.begin(huge)
    assert rig.drive.requests == {}


@pytest.mark.parametrize("less", [UNIT, 2 * UNIT, 3 * UNIT - 1, 100 * UNIT])
async def test_less_than_was_sent_is_held(rig: Any, data: bytes, less: int) -> None:
    """`Range` counts: the rest is sent again."""
    session = await rig.begin(data)
    rig.script(("upload.put", CommitLess(less)))
    kept = max(0, 5 * UNIT - -(-less // UNIT) * UNIT)
    if kept:
        assert await rig.append(session, data) == session.committed == kept
    else:
        with pytest.raises(DestinationUnavailable, match="kept nothing"):
            await rig.append(session, data)
    assert await rig.append(session, data) == 5 * UNIT
    await rig.finish(session, data)
    rig.assert_one(data)
    assert rig.drive.events.violations == []


async def test_less_than_was_sent_is_held_of_the_last_bytes(rig: Any, data: bytes) -> None:
    """A 308 where a file was expected: `finish` goes on from there."""
    session = await rig.begin(data)
    rig.script(("upload.put", CommitLess(UNIT)))
    await rig.finish(session, data)
    rig.assert_one(data)
    assert rig.drive.requests["upload.put"] == 2


async def test_drive_that_never_keeps_anything_is_no_endless_loop(rig: Any, data: bytes) -> None:
    """Each call ends, with an error that passes."""
    session = await rig.begin(data)
    rig.script(Rule("upload.put", CommitLess(100 * UNIT)))
    with pytest.raises(DestinationUnavailable):
        await rig.append(session, data)
    with pytest.raises(DestinationUnavailable):
        await rig.finish(session, data)


async def test_pieces_that_end_early_end_the_request(clean: Any, data: bytes) -> None:
    """What was sent counts, as far as Drive has it in whole units; then it goes on."""
    session = await clean.begin(data)
    assert await session.append(pieces_of(data[: 3 * UNIT + 5]), 5 * UNIT) == session.committed == 3 * UNIT
    await clean.persist(session, data)
    clean.assert_one(data)


async def test_no_pieces_at_all(clean: Any, data: bytes) -> None:
    """The prefix did not grow: nothing is lost by having asked."""
    session = await clean.begin(data)
    assert await session.append(pieces_of(), 5 * UNIT) == 0
    await clean.persist(session, data)
    clean.assert_one(data)


async def test_what_the_pieces_raise_comes_through(clean: Any, data: bytes) -> None:
    """Staging's trouble is not Drive's."""

    class Broken(Exception):
        pass

    async def breaking() -> AsyncIterator[memoryview]:
        yield memoryview(data)[: 2 * UNIT]
        raise Broken

    session = await clean.begin(data)
    with pytest.raises(Broken):
        await session.append(breaking(), 5 * UNIT)
    await clean.persist(session, data)
    clean.assert_one(data)


PASSING = [
    pytest.param(fault, id=repr(fault))
    for fault in (
        CutAfter(0),
        CutAfter(3 * UNIT + 100),
        LoseAnswer(),
        Status(500),
        Status(502),
        Status(503),
        Status(503, when="after"),
        Status(504, retry_after=3),
        Status(429),
        Status(403, "rateLimitExceeded", "Rate Limit Exceeded"),
        Status(403, "userRateLimitExceeded", "User Rate Limit Exceeded. Rate of requests"),
        Status(408),
        ErrorIn200(),
        ErrorIn200(when="after"),
        Stall(30, 2 * UNIT),
        Stall(30),
        Stall(0.1, 2 * UNIT, then="cut"),
        Expire(404),
        Expire(410),
    )
]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("times", [1, 3])
async def test_a_part_goes_wrong(rig: Any, data: bytes, fault: Any, times: int) -> None:
    """Told as something that passes; Drive is asked where it stands, the rest is sent, and there is one file."""
    session = await rig.begin(data)
    rig.script(Rule("upload.put", fault, times=times))
    with pytest.raises(DestinationUnavailable) as raised:
        await rig.append(session, data)
    assert type(raised.value) is DestinationUnavailable
    assert raised.value.asked_for_s == getattr(fault, "retry_after", None)
    assert 0 <= session.committed <= 5 * UNIT
    await rig.persist(session, data, tries=12)
    rig.assert_one(data)
    assert rig.drive.events.violations == []


ANYWHERE = (
    CutAfter(0),
    LoseAnswer(),
    Status(503),
    Status(500, when="after"),
    Status(429),
    ErrorIn200(),
    ErrorIn200(when="after"),
    Stall(30),
)
WHERE = [
    (operation, fault)
    for operation in ("upload.put", "upload.query", "upload.start", "files.list", "files.get", "files.generateIds")
    for fault in (*ANYWHERE, *((Expire(404), Expire(410)) if operation in {"upload.put", "upload.query"} else ()))
]


@pytest.mark.parametrize(("operation", "fault"), WHERE, ids=repr)
@pytest.mark.parametrize("size", [0, 2 * UNIT + 1])
async def test_the_last_bytes_go_wrong(rig: Any, fault: Any, operation: str, size: int) -> None:
    """Whatever it is, and wherever: one file in the end, the right one."""
    data = os.urandom(size)
    rig.script(Rule(operation, fault, times=2), Rule("upload.put", LoseAnswer(), times=1))
    for _ in range(12):
        try:
            session = await rig.begin(data)
            break
        except DestinationUnavailable:
            continue
    for _ in range(12):
        try:
            stored = await rig.finish(session, data)
            break
        except DestinationUnavailable:
            continue
    assert rig.assert_one(data).id == stored.id
    assert rig.drive.events.violations == []


@pytest.mark.parametrize("size", [0, 1, UNIT, 5 * UNIT + 9])
async def test_a_lost_final_answer_is_found_in_the_same_call(clean: Any, size: int) -> None:
    """The question brings the file; nothing is sent again, and nothing is tried again by the caller."""
    data = os.urandom(size)
    session = await clean.begin(data)
    await clean.append(session, data)
    clean.script(("upload.finish", LoseAnswer()))
    assert (await clean.finish(session, data)).size == size
    clean.assert_one(data)
    assert len(clean.drive.events.of(Kind.FILE_CREATED)) == 1


@pytest.mark.parametrize("status", [404, 410])
async def test_a_lost_final_answer_of_a_session_that_is_gone(clean: Any, data: bytes, status: int) -> None:
    """The file is found by its id."""
    session = await clean.begin(data)
    await clean.append(session, data)
    clean.script(("upload.finish", LoseAnswer()), Rule("upload.query", Expire(status)))
    assert (await clean.finish(session, data)).id == clean.assert_one(data).id


async def test_a_final_answer_that_is_an_error(clean: Any, data: bytes) -> None:
    """A 200 whose body says otherwise is not believed, nor is it that nothing was done."""
    session = await clean.begin(data)
    clean.script(("upload.finish", ErrorIn200(when="after")))
    assert (await clean.finish(session, data)).id == clean.assert_one(data).id


async def test_a_session_that_expires_between_two_requests(clean: Any, data: bytes) -> None:
    """The file is sent again from the start, in another session, under the same id."""
    session = await clean.begin(data)
    await clean.append(session, data, until=2 * UNIT)
    first = json.loads(session.state)["file_id"]
    assert clean.drive.expire_sessions() == 1
    await clean.persist(session, data)
    assert clean.assert_one(data).id == first


async def test_a_saved_session_that_has_expired(start_rig: Any, rig: Any, data: bytes) -> None:
    """A week later, in another life of the server."""
    session = await rig.begin(data)
    await rig.append(session, data, until=2 * UNIT)
    rig.drive.expire_sessions(410)
    later = start_rig(rig.drive)
    again = await later.begin(data, saved=session.state)
    assert again.committed == 0
    await later.persist(again, data)
    later.assert_one(data)
    assert json.loads(again.state)["file_id"] == json.loads(session.state)["file_id"]


async def test_a_saved_session_goes_on_where_it_was(start_rig: Any, rig: Any, data: bytes) -> None:
    """In another life of the server, with what Drive holds."""
    session = await rig.begin(data)
    await rig.append(session, data, until=3 * UNIT)
    later = start_rig(rig.drive)
    again = await later.begin(data, saved=session.state)
    assert again.committed == 3 * UNIT
    await later.persist(again, data)
    later.assert_one(data)
    assert len(rig.drive.sessions) == 1


@pytest.mark.parametrize("size", [0, 1, 3 * UNIT])
async def test_a_server_that_died_behind_the_last_byte(start_rig: Any, rig: Any, size: int, tmp_path: Path) -> None:
    """What was saved before finds the finished file, also without its session's URI; nothing is sent."""
    data = os.urandom(size)
    session = await rig.begin(data)
    before = session.state
    stored = await rig.finish(session, data)
    sent = rig.drive.requests["upload.put"] if size else 0
    for key in ("key", "another key"):
        later = start_rig(rig.drive, key_file=tmp_path / key)
        again = await later.begin(data, saved=before)
        assert again.committed == size
        assert await again.append(pieces_of(), 0) == size
        assert await later.finish(again, data) == stored
    assert rig.drive.requests.get("upload.put", 0) == sent
    rig.assert_one(data)


async def test_a_key_that_was_lost_loses_the_session_only(
    start_rig: Any, rig: Any, data: bytes, tmp_path: Path
) -> None:
    """The bytes are sent again, under the same id; and what was finished is found."""
    session = await rig.begin(data)
    await rig.append(session, data, until=2 * UNIT)
    later = start_rig(rig.drive, key_file=tmp_path / "new" / "key")
    again = await later.begin(data, saved=session.state)
    assert again.committed == 0
    stored = await later.persist(again, data)
    assert (later.assert_one(data).id, stored.id) == (stored.id, json.loads(session.state)["file_id"])
    third = await rig.begin(data, saved=again.state)  # this life knows the old key only
    assert await rig.finish(third, data) == stored


async def test_a_file_removed_after_it_was_stored_gets_a_new_id(start_rig: Any, rig: Any, data: bytes) -> None:
    """Drive never takes an id twice; the new one is saved before bytes are sent under it."""
    session = await rig.begin(data)
    stored = await rig.finish(session, data)
    await rig.destination.delete(stored.id)
    again = await rig.begin(data, saved=session.state)
    assert again.committed == 0
    with pytest.raises(DestinationUnavailable, match="anew"):
        await rig.append(again, data)
    assert json.loads(again.state)["file_id"] not in {"", stored.id}
    await rig.persist(again, data)
    assert rig.assert_one(data).id != stored.id


async def test_an_id_that_is_somebody_elses_is_left_alone(rig: Any, data: bytes) -> None:
    """A file that another upload has made under it is neither taken for ours nor removed."""
    await rig.store(b"other", "other", filename="other.txt")
    (other,) = rig.files
    session = await rig.begin(data)
    confused = json.dumps(json.loads(session.state) | {"file_id": other.id, "sealed_uri": None})
    again = await rig.begin(data, saved=confused)
    assert again.committed == 0
    await rig.persist(again, data)
    assert rig.names == ["other.txt", "report.pdf"]


@pytest.mark.parametrize(
    "saved", ["", "not json", "[]", "null", "{}", '{"boot": "x", "inode": 1}', '{"kind": "google-drive-1"}']
)
async def test_a_foreign_state_starts_over(rig: Any, data: bytes, saved: str) -> None:
    """As after a destination's name was given to another place."""
    session = await rig.begin(data, saved=saved)
    assert session.committed == 0
    await rig.persist(session, data)
    rig.assert_one(data)


async def test_a_lost_answer_to_the_sessions_start(clean: Any, data: bytes) -> None:
    """Nothing is made twice: what was begun is forgotten, and only one becomes a file."""
    clean.script(("upload.start", LoseAnswer()))
    with pytest.raises(DestinationUnavailable):
        await clean.begin(data)
    await clean.store(data)
    clean.assert_one(data)


async def test_a_wrong_digest_is_never_accepted(rig: Any, data: bytes) -> None:
    """The file is removed, the error says so, and the next session has another id."""
    session = await rig.begin(data)
    first = json.loads(session.state)["file_id"]
    rig.script(("upload.finish", WrongDigest()))
    with pytest.raises(DestinationMismatch):
        await rig.finish(session, data)
    assert rig.files == []
    assert json.loads(session.state)["file_id"] != first
    again = await rig.begin(data, saved=session.state)
    with pytest.raises(DestinationUnavailable):
        await rig.append(again, data)
    await rig.persist(again, data)
    rig.assert_one(data)


async def test_a_wrong_digest_of_a_file_that_can_t_be_removed_now(rig: Any, data: bytes) -> None:
    """It is not forgotten: the next try compares again, and removes it."""
    session = await rig.begin(data)
    rig.script(("upload.finish", WrongDigest()), ("files.delete", Status(503)))
    with pytest.raises(DestinationUnavailable, match="busy"):
        await rig.finish(session, data)
    with pytest.raises(DestinationMismatch):
        await rig.finish(session, data)
    assert rig.files == []


async def test_a_digest_told_wrongly_once_removes_nothing(rig: Any, data: bytes) -> None:
    """Drive is asked again before a file is removed."""
    session = await rig.begin(data)
    rig.script(("upload.finish", LoseAnswer()), ("files.get", WrongDigest()), Rule("upload.query", Expire(404)))
    stored = await rig.finish(session, data)
    assert rig.assert_one(data).id == stored.id


async def test_wrong_bytes_in_staging_are_not_published_for_good(rig: Any, data: bytes) -> None:
    """Other bytes than were digested."""
    session = await rig.begin(data)
    await rig.append(session, b"\0" * len(data))
    with pytest.raises(DestinationMismatch):
        await rig.finish(session, data)
    assert rig.files == []


async def test_without_sha256_it_is_md5(start_rig: Any, data: bytes) -> None:
    """Read from the source again; a difference counts as much."""
    rig = start_rig(digests=("md5",))
    await rig.store(data)
    rig.assert_one(data)
    session = await rig.begin(data, "u2", filename="b")
    rig.script(("upload.finish", WrongDigest()))
    with pytest.raises(DestinationMismatch):
        await rig.finish(session, data)
    rig.assert_one(data)


async def test_without_any_digest_nothing_is_believed(start_rig: Any, data: bytes) -> None:
    """It is asked again later, and nothing is removed."""
    rig = start_rig(digests=())
    session = await rig.begin(data)
    with pytest.raises(DestinationUnavailable, match="does not say"):
        await rig.finish(session, data)
    assert len(rig.files) == 1


@pytest.mark.parametrize("at_s", [0.0, 0.003, 0.02, 0.1, 0.3])
async def test_a_call_cancelled_in_the_middle_leaves_the_session_usable(start_rig: Any, at_s: float) -> None:
    """It asks where it stands, and goes on; no byte is lost or wrong."""
    rig = start_rig(rate=20 << 20)
    data = os.urandom(16 * UNIT + 7)
    session = await rig.begin(data)
    task = asyncio.create_task(rig.append(session, data))
    await asyncio.sleep(at_s)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await rig.persist(session, data)
    rig.assert_one(data)


async def test_a_cancelled_finish_is_one_file(start_rig: Any) -> None:
    """Whenever it is cancelled."""
    for step in range(12):
        rig = start_rig(latency_s=0.01)
        data = os.urandom(2 * UNIT + 7)
        session = await rig.begin(data)
        task = asyncio.create_task(rig.finish(session, data))
        await asyncio.sleep(step * 0.005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await rig.persist(session, data)
        rig.assert_one(data)


async def test_a_slow_drive_is_no_dead_one(start_rig: Any, data: bytes) -> None:
    """It may take longer than every limit, as long as it takes something."""
    rig = start_rig(timeouts=Timeouts(connect_s=1, answer_s=1.5, stall_s=0.5))
    big = os.urandom(80 * UNIT + 1)
    session = await rig.begin(big)
    rig.script(("upload.put", SlowRead(10 << 20)))
    began = time.monotonic()
    assert await rig.append(session, big) == 80 * UNIT
    assert time.monotonic() - began > 1.6
    await rig.finish(session, big)
    rig.assert_one(big)


async def test_a_drive_that_takes_nothing_is_given_up(start_rig: Any) -> None:
    """Within the limit, with a sentence."""
    rig = start_rig(timeouts=Timeouts(connect_s=1, answer_s=5, stall_s=0.3))
    big = os.urandom(80 * UNIT)
    session = await rig.begin(big)
    rig.script(("upload.put", Stall(30, UNIT)))
    with pytest.raises(DestinationUnavailable, match="takes nothing"):
        await rig.append(session, big)
    await rig.persist(session, big)
    rig.assert_one(big)


async def test_many_at_once(start_rig: Any) -> None:
    """Each gets its own bytes, through faults."""
    rig = start_rig(seed=7)
    rig.drive.script(
        [
            Rule("upload.put", CutAfter(UNIT + 99), probability=0.1),
            Rule("upload.put", Status(503), probability=0.1),
            Rule("upload.finish", LoseAnswer(), probability=0.3),
            Rule("upload.query", Status(500), probability=0.1),
            Rule("upload.start", Status(429), probability=0.1),
        ]
    )
    files = {f"u{number}": os.urandom(number % 5 * UNIT + number) for number in range(20)}

    async def one(upload_id: str, data: bytes) -> None:
        while True:
            try:
                session = await rig.begin(data, upload_id, filename=f"{upload_id}.bin", folder="a/b")
                break
            except DestinationUnavailable:
                await asyncio.sleep(0.01)
        await rig.persist(session, data, tries=40)

    await asyncio.gather(*(one(upload_id, data) for upload_id, data in files.items()))
    assert {file.name: rig.drive.content(file.id) for file in rig.files} == {
        f"{upload_id}.bin": data for upload_id, data in files.items()
    }
    assert rig.drive.events.of(Kind.VIOLATION, detail="parallel_put") == []


async def test_a_connection_that_is_kept_keeps_nothing_of_its_requests(clean: Any) -> None:
    """A server that is up for months sends many files over one; each request has a context, by which it is seen."""
    data = os.urandom(UNIT)

    async def contexts_after(numbers: range) -> int:
        for number in numbers:
            await clean.store(data, f"u{number}")
        gc.collect()
        return sum(isinstance(each, Context) for each in gc.get_objects())

    before = await contexts_after(range(4))
    assert await contexts_after(range(4, 24)) - before < 10
