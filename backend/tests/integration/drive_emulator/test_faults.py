"""Each fault of the script, as a client meets it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from app.testing.drive_emulator import (
    UNIT_BYTES,
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    Kind,
    LoseAnswer,
    Rule,
    SlowRead,
    Stall,
    State,
    Status,
    WrongDigest,
)

U = UNIT_BYTES


async def _whole(raw: Any, uri: str, data: bytes, start: int = 0) -> Any:
    return await raw.put(uri, data[start:], f"{start}-{len(data) - 1}/{len(data)}")


async def _never_sent() -> AsyncIterator[bytes]:
    yield b"?"  # with which the client sends the headers
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (Status(503), 503, "backendError"),
        (Status(500), 500, "internalError"),
        (Status(429), 429, "rateLimitExceeded"),
        (Status(403), 403, "userRateLimitExceeded"),
        (Status(403, reason="storageQuotaExceeded", message="Full."), 403, "storageQuotaExceeded"),
        (Status(401), 401, "authError"),
        (Status(400), 400, "badRequest"),
    ],
)
async def test_an_error_comes_before_the_body_is_read(
    raw: Any, data: bytes, fault: Status, status: int, reason: str
) -> None:
    """The body need not even be sent; nothing is held, and the next try works."""
    raw.drive.script([Rule("upload.put", fault, times=1)])
    uri = await raw.begin(size=len(data))
    answer = await raw.put(uri, _never_sent(), f"0-{len(data) - 1}/{len(data)}", **{"Content-Length": str(len(data))})
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.json()["error"]["code"] == status
    assert await raw.position(uri) == 0
    assert (await _whole(raw, uri, data)).status == 200


async def test_an_error_may_say_when_to_come_again(raw: Any) -> None:
    """And may not."""
    raw.drive.script([Rule("files.list", Status(429, retry_after=7), times=1), Rule("files.list", Status(503))])
    first, second = [await raw.ask("GET", "/drive/v3/files") for _ in range(2)]
    assert (first.status, first.headers["Retry-After"]) == (429, "7")
    assert (second.status, second.headers.get("Retry-After")) == (503, None)


async def test_an_error_after_the_body_finds_it_committed(raw: Any, data: bytes) -> None:
    """Of a piece, and of the last one: the file is there although the answer was 503."""
    raw.drive.script([Rule("upload.put", Status(503, when="after"))])
    uri = await raw.begin(size=len(data))
    assert (await raw.put(uri, data[:U], f"0-{U - 1}/{len(data)}")).status == 503
    assert await raw.position(uri) == U
    assert (await _whole(raw, uri, data, U)).status == 503
    assert (await raw.put(uri, b"", f"*/{len(data)}")).json()["name"] == "a.bin"
    assert raw.drive.named("a.bin")[0].md5 == hashlib.md5(data).hexdigest()


@pytest.mark.parametrize(("less", "held"), [(0, 3 * U), (1, 2 * U), (2 * U, U), (100 * U, 0)])
async def test_less_is_held_than_was_sent(raw: Any, data: bytes, less: int, held: int) -> None:
    """Down to where the PUT began; the digests are right in the end all the same."""
    raw.drive.script([Rule("upload.put", CommitLess(less), times=1)])
    uri, total = await raw.begin(size=len(data)), len(data)
    assert (await raw.put(uri, data[: 3 * U], f"0-{3 * U - 1}/{total}")).held == held
    assert (await _whole(raw, uri, data, held)).status == 200
    file = raw.drive.named("a.bin")[0]
    assert (file.md5, file.sha256) == (hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest())
    assert raw.drive.content(file.id) == data


async def test_what_was_acknowledged_by_an_earlier_answer_stays(raw: Any, data: bytes) -> None:
    """Only bytes of the same PUT are taken back, also of the one that would have been the last."""
    raw.drive.script([Rule("upload.put", CommitLess(100 * U), skip=1, times=1)])
    uri, total = await raw.begin(size=len(data)), len(data)
    await raw.put(uri, data[: 2 * U], f"0-{2 * U - 1}/{total}")
    assert (await _whole(raw, uri, data, 2 * U)).held == 2 * U
    positions = [event.position for event in raw.drive.events.of(Kind.HELD)]
    assert max(positions) == 5 * U
    assert positions[-1] == 2 * U


async def test_the_final_answer_is_lost(raw: Any, data: bytes) -> None:
    """The connection ends without one; the file is there, once."""
    raw.drive.script([Rule("upload.finish", LoseAnswer(), times=1)])
    uri = await raw.begin(size=len(data))
    assert (await raw.put(uri, data[:U], f"0-{U - 1}/{len(data)}")).held == U
    with pytest.raises(aiohttp.ClientError):
        await _whole(raw, uri, data, U)
    assert (await raw.put(uri, b"", f"*/{len(data)}")).status == 200
    assert len(raw.drive.files) == 1


async def test_the_answer_to_a_creation_is_lost(raw: Any) -> None:
    """With an id of one's own, the repeat is a 409 and not a second folder."""
    raw.drive.script([Rule("files.create", LoseAnswer(), times=1)])
    file_id = (await raw.ask("GET", "/drive/v3/files/generateIds?count=1")).json()["ids"][0]
    folder = {"id": file_id, "name": "f", "mimeType": "application/vnd.google-apps.folder"}
    with pytest.raises(aiohttp.ClientError):
        await raw.ask("POST", "/drive/v3/files", json=folder)
    again = await raw.ask("POST", "/drive/v3/files", json=folder)
    assert (again.status, again.reason) == (409, "fileIdInUse")
    assert len(raw.drive.files) == 1


@pytest.mark.parametrize(("when", "files"), [("before", 0), ("after", 1)])
async def test_a_200_carries_an_error(raw: Any, data: bytes, when: Any, files: int) -> None:
    """Before anything was done, or after everything was."""
    raw.drive.script([Rule("upload.put", ErrorIn200(when=when), times=1)])
    answer = await _whole(raw, await raw.begin(size=len(data)), data)
    assert (answer.status, answer.reason) == (200, "backendError")
    assert "id" not in answer.json()
    assert len(raw.drive.files) == files


@pytest.mark.parametrize("status", [404, 410])
async def test_a_session_is_gone(raw: Any, data: bytes, status: Any) -> None:
    """For the PUT that meets the fault, and for good."""
    raw.drive.script([Rule("upload.put", Expire(status), skip=1, times=1)])
    uri = await raw.begin(size=len(data))
    await raw.put(uri, data[:U], f"0-{U - 1}/{len(data)}")
    assert (await _whole(raw, uri, data, U)).status == status
    assert (await raw.put(uri, b"", "*/*")).status == status
    assert raw.drive.sessions[0].state is State.EXPIRED


async def test_a_session_ends_under_a_body(raw: Any, data: bytes) -> None:
    """Expiring it cuts the PUT that is under way."""
    uri = await raw.begin(size=len(data))
    headers = {"Content-Length": str(len(data))}
    put = asyncio.create_task(raw.put(uri, _never_sent(), f"0-{len(data) - 1}/{len(data)}", **headers))
    await raw.drive.wait_for(lambda event: event.kind is Kind.PUT_STARTED)
    await asyncio.to_thread(raw.drive.expire_sessions)
    with pytest.raises(aiohttp.ClientError):
        await put
    assert (await raw.put(uri, b"", "*/*")).status == 404


async def test_a_stall_goes_on_or_ends(raw: Any, data: bytes) -> None:
    """At a byte of the body, for a time."""
    raw.drive.script(
        [Rule("upload.put", Stall(0.2, at=2 * U), times=1), Rule("upload.put", Stall(0.1, at=U, then="cut"), times=1)]
    )
    started = time.monotonic()
    assert (await _whole(raw, await raw.begin(size=len(data)), data)).status == 200
    assert time.monotonic() - started >= 0.2
    uri = await raw.begin("b.bin", size=len(data))
    with pytest.raises(aiohttp.ClientError):
        await _whole(raw, uri, data)
    assert await raw.position(uri) == U


async def test_an_answer_stalls(raw: Any) -> None:
    """Of a request without content."""
    raw.drive.script([Rule("about", Stall(0.15), times=1), Rule("about", Stall(0.0, then="cut"))])
    started = time.monotonic()
    assert (await raw.ask("GET", "/drive/v3/about?fields=user")).status == 200
    assert time.monotonic() - started >= 0.15
    with pytest.raises(aiohttp.ClientError):
        await raw.ask("GET", "/drive/v3/about?fields=user")


async def test_a_client_that_leaves_a_stall_may_come_again(raw: Any, data: bytes) -> None:
    """Its new PUT takes the session over at once, and that is no violation."""
    raw.drive.script([Rule("upload.put", Stall(60, at=U), times=1)])
    uri = await raw.begin(size=len(data))
    put = asyncio.create_task(_whole(raw, uri, data))
    await raw.drive.wait_for(lambda event: event.kind is Kind.HELD)
    put.cancel()
    await asyncio.wait({put})
    held = await raw.position(uri)
    assert held == U
    assert (await _whole(raw, uri, data, held)).status == 200
    assert not raw.drive.events.violations


async def test_the_connection_is_cut_within_the_body(raw: Any, data: bytes) -> None:
    """After so many bytes, up or down."""
    raw.drive.script(
        [Rule("upload.put", CutAfter(2 * U + 100), times=1), Rule("files.media", CutAfter(U + 7), times=1)]
    )
    uri = await raw.begin(size=len(data))
    with pytest.raises(aiohttp.ClientError):
        await _whole(raw, uri, data)
    assert await raw.position(uri) == 2 * U
    file_id = (await _whole(raw, uri, data, 2 * U)).json()["id"]
    with pytest.raises(aiohttp.ClientError):
        await raw.ask("GET", f"/drive/v3/files/{file_id}?alt=media")
    assert (await raw.ask("GET", f"/drive/v3/files/{file_id}?alt=media")).body == data


async def test_the_digest_is_wrong(raw: Any, data: bytes) -> None:
    """For good when an upload meets it, in the one answer otherwise; the bytes are right."""
    raw.drive.script([Rule("upload.finish", WrongDigest(), times=1), Rule("files.get", WrongDigest(), skip=2, times=1)])
    uri = await raw.begin(size=len(data), params="&fields=id,md5Checksum,sha256Checksum,size")
    made = (await _whole(raw, uri, data)).json()
    right = hashlib.md5(data).hexdigest()
    assert len(made["md5Checksum"]) == 32
    assert made["md5Checksum"] != right
    assert made["size"] == str(len(data))
    path = f"/drive/v3/files/{made['id']}?fields=md5Checksum,sha256Checksum"
    assert (await raw.ask("GET", path)).json()["md5Checksum"] == made["md5Checksum"]
    assert raw.drive.files[made["id"]].md5 == right
    other = (await raw.put(await raw.begin("b.bin", size=len(data)), data)).json()["id"]
    seen = [
        (await raw.ask("GET", f"/drive/v3/files/{other}?fields=md5Checksum")).json()["md5Checksum"] for _ in range(3)
    ]
    assert [digest == right for digest in seen] == [True, False, True]


async def test_a_body_is_read_slowly(raw: Any, data: bytes) -> None:
    """At so many bytes a second."""
    raw.drive.script([Rule("upload.put", SlowRead(4 * len(data)), times=1)])
    started = time.monotonic()
    assert (await _whole(raw, await raw.begin(size=len(data)), data)).status == 200
    assert 0.15 <= time.monotonic() - started < 5


async def test_rules_skip_count_and_are_replaced(raw: Any) -> None:
    """The first rule that fires decides."""
    raw.drive.script([Rule("about", Status(500), skip=1, times=2), Rule("any", Status(429), skip=3, times=1)])
    seen = [(await raw.ask("GET", "/drive/v3/about?fields=user")).status for _ in range(7)]
    assert seen == [200, 500, 500, 200, 200, 429, 200]
    raw.drive.script([])
    assert (await raw.ask("GET", "/drive/v3/about?fields=user")).status == 200


async def test_probabilities_follow_the_seed(start_drive: Any, connect: Any) -> None:
    """The same seed gives the same faults."""
    seen = []
    for seed in (1, 1, 2):
        raw = connect(start_drive(seed=seed, script=(Rule("about", Status(503), probability=0.5),)))
        seen.append([(await raw.ask("GET", "/drive/v3/about?fields=user")).status for _ in range(20)])
    assert seen[0] == seen[1] != seen[2]
    assert set(seen[0]) == {200, 503}


async def test_faults_are_told(raw: Any) -> None:
    """With their rule's fault; the answer that was not given has no status."""
    raw.drive.script([Rule("token", Status(500), times=1), Rule("about", LoseAnswer(), times=1)])
    await raw.ask("POST", "/token", data={})
    with pytest.raises(aiohttp.ClientError):
        await raw.ask("GET", "/drive/v3/about?fields=user")
    faults = [(event.operation, event.detail) for event in raw.drive.events.of(Kind.FAULT)]
    assert [operation for operation, _ in faults] == ["token", "about"]
    assert "500" in str(faults[0][1])
    assert [event.status for event in raw.drive.events.of(Kind.ANSWER)] == [500, None]
    assert json.dumps([event.as_dict() for event in raw.drive.events])
