"""The resumable protocol, request by request."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from app.testing.drive_emulator import UNIT_BYTES, DriveEmulator, Kind, State, Violation

U = UNIT_BYTES


async def _slowly(data: bytes, hold: asyncio.Event, *, at: int) -> AsyncIterator[bytes]:
    yield data[:at]
    await hold.wait()
    yield data[at:]


async def test_one_put_with_the_whole_content_makes_the_file(raw: Any, data: bytes) -> None:
    """The resource comes with the fields asked for; bytes, size and digests are right."""
    uri = await raw.begin(size=len(data), params="&fields=id,size,md5Checksum,sha1Checksum,sha256Checksum")
    answer = await raw.put(uri, data, f"0-{len(data) - 1}/{len(data)}")
    made = answer.json()
    assert answer.status == 200
    assert made == {
        "id": made["id"],
        "size": str(len(data)),
        "md5Checksum": hashlib.md5(data).hexdigest(),
        "sha1Checksum": hashlib.sha1(data).hexdigest(),
        "sha256Checksum": hashlib.sha256(data).hexdigest(),
    }
    assert raw.drive.content(made["id"]) == data
    assert raw.drive.sessions[0].state is State.COMPLETE


async def test_a_put_without_a_range_is_the_whole_content(raw: Any, data: bytes) -> None:
    """Google calls this uploading in a single request."""
    answer = await raw.put(await raw.begin(), data)
    assert answer.status == 200
    assert raw.drive.content(answer.json()["id"]) == data


async def test_pieces_are_answered_with_308_and_what_is_held(raw: Any, data: bytes) -> None:
    """Each piece begins where the last answer said; the last one makes the file."""
    uri, total = await raw.begin(size=len(data)), len(data)
    assert (await raw.put(uri, data[: 2 * U], f"0-{2 * U - 1}/{total}")).held == 2 * U
    assert (await raw.put(uri, data[2 * U : 3 * U], f"{2 * U}-{3 * U - 1}/{total}")).held == 3 * U
    last = await raw.put(uri, data[3 * U :], f"{3 * U}-{total - 1}/{total}")
    assert last.status == 200
    assert raw.drive.content(last.json()["id"]) == data
    assert not raw.drive.events.violations


async def test_a_size_may_be_told_at_the_end(raw: Any, data: bytes) -> None:
    """With `*` for the total until the last piece, or until a query that tells it."""
    uri = await raw.begin()
    assert (await raw.put(uri, data[:U], f"0-{U - 1}/*")).held == U
    assert (await raw.put(uri, data[U:], f"{U}-{len(data) - 1}/{len(data)}")).status == 200
    other = await raw.begin()
    assert (await raw.put(other, data[:U], f"0-{U - 1}/*")).held == U
    assert (await raw.put(other, b"", f"*/{U}")).status == 200
    assert [file.size for file in raw.drive.files.values()] == [len(data), U]


async def test_a_stream_of_unknown_size_ends_where_its_body_ends(raw: Any, data: bytes) -> None:
    """`0-*/*` with a chunked body."""
    hold = asyncio.Event()
    hold.set()
    answer = await raw.put(await raw.begin(), _slowly(data, hold, at=1000), "0-*/*")
    assert answer.status == 200
    assert raw.drive.content(answer.json()["id"]) == data


@pytest.mark.parametrize("content_range", [None, "*/0"])
async def test_an_empty_file_can_be_uploaded(raw: Any, content_range: str | None) -> None:
    """With and without a range."""
    answer = await raw.put(await raw.begin(size=0, params="&fields=*"), b"", content_range)
    assert answer.status == 200
    assert answer.json()["md5Checksum"] == hashlib.md5(b"").hexdigest()


async def test_a_session_says_where_it_is(raw: Any, data: bytes) -> None:
    """No Range while nothing is held; the resource once it is complete, however often one asks."""
    uri = await raw.begin(size=len(data))
    assert await raw.position(uri) == 0
    await raw.put(uri, data[:U], f"0-{U - 1}/{len(data)}")
    assert await raw.position(uri, len(data)) == U
    await raw.put(uri, data[U:], f"{U}-{len(data) - 1}/{len(data)}")
    again = [await raw.put(uri, b"", f"*/{len(data)}") for _ in range(2)]
    assert [answer.status for answer in again] == [200, 200]
    assert len({answer.json()["id"] for answer in again}) == 1
    assert len(raw.drive.files) == 1


async def test_the_last_piece_sent_again_makes_no_second_file(raw: Any, data: bytes) -> None:
    """A client that lost the answer may just repeat."""
    uri = await raw.begin(size=len(data))
    answers = [await raw.put(uri, data, f"0-{len(data) - 1}/{len(data)}") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert len(raw.drive.files) == 1


@pytest.mark.parametrize(
    ("content_range", "size", "status", "violation"),
    [
        (f"0-{U - 2}/{5 * U}", U - 1, 400, Violation.NOT_A_MULTIPLE),
        (f"0-{U}/{5 * U}", U + 1, 400, Violation.NOT_A_MULTIPLE),
        (f"0-{U}/*", U + 1, 400, Violation.NOT_A_MULTIPLE),
        (f"{U}-{2 * U - 1}/{5 * U}", U, 503, Violation.START_AHEAD),
        (f"0-{2 * U - 1}/{5 * U}", U, 400, Violation.BAD_RANGE),
        (f"0-{U - 1}/{4 * U}", U, 400, Violation.TOTAL_MISMATCH),
        (f"0-{U - 1}/{U - 1}", U, 400, Violation.BAD_RANGE),
        ("5-4/10", 0, 400, Violation.BAD_RANGE),
        ("whatever", U, 400, Violation.BAD_RANGE),
    ],
)
async def test_a_body_that_does_not_fit_is_refused(
    raw: Any, content_range: str, size: int, status: int, violation: Violation
) -> None:
    """In plain text, as the upload server in front of Drive does; and the violation is remembered."""
    uri = await raw.begin(size=5 * U)
    answer = await raw.put(uri, bytes(size), content_range)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert [event.detail for event in raw.drive.events.violations] == [violation]
    assert await raw.position(uri) == 0


async def test_the_sentence_for_a_gap_is_googles(raw: Any) -> None:
    """Clients match on it."""
    answer = await raw.put(await raw.begin(size=5 * U), bytes(U), f"{U}-{2 * U - 1}/{5 * U}")
    assert answer.body.decode() == (
        "Invalid request.  According to the Content-Range header, the upload offset is 262144 byte(s),"
        " which exceeds already uploaded size of 0 byte(s)."
    )


async def test_a_lenient_drive_holds_the_whole_units(start_drive: Any, connect: Any, data: bytes) -> None:
    """Which is what Drive was seen to do with an odd piece."""
    raw = connect(start_drive(strict_pieces=False))
    uri = await raw.begin(size=len(data))
    assert (await raw.put(uri, data[: 2 * U + 5], f"0-{2 * U + 4}/{len(data)}")).held == 2 * U
    assert (await raw.put(uri, data[2 * U : 2 * U + 5], f"{2 * U}-{2 * U + 4}/{len(data)}")).status == 400
    assert (await raw.put(uri, data[2 * U :], f"{2 * U}-{len(data) - 1}/{len(data)}")).status == 200


async def test_bytes_that_are_held_already_are_ignored(raw: Any, data: bytes) -> None:
    """They are remembered as a violation, though."""
    uri, total = await raw.begin(size=len(data)), len(data)
    await raw.put(uri, data[: 2 * U], f"0-{2 * U - 1}/{total}")
    answer = await raw.put(uri, b"?" * U + data[2 * U :], f"{U}-{total - 1}/{total}")
    assert answer.status == 200
    assert raw.drive.content(answer.json()["id"]) == data
    assert [event.detail for event in raw.drive.events.violations] == [Violation.START_BEHIND]


async def test_a_chunked_body_shorter_than_its_range_is_refused_and_its_units_held(raw: Any, data: bytes) -> None:
    """Nothing but the body's end tells."""
    hold = asyncio.Event()
    hold.set()
    uri = await raw.begin(size=len(data))
    answer = await raw.put(uri, _slowly(data[: 2 * U + 9], hold, at=9), f"0-{len(data) - 1}/{len(data)}")
    assert answer.status == 400
    assert await raw.position(uri) == 2 * U


async def test_a_chunked_body_longer_than_declared_is_refused(raw: Any, data: bytes) -> None:
    """And makes no file."""
    hold = asyncio.Event()
    hold.set()
    uri = await raw.begin(size=2 * U)
    answer = await raw.put(uri, _slowly(data, hold, at=9), f"0-*/{2 * U}")
    assert answer.status == 400
    assert not raw.drive.files


async def test_a_broken_put_leaves_whole_units(raw: Any, data: bytes) -> None:
    """And what streams is seen while it does."""
    uri, total, hold = await raw.begin(size=len(data)), len(data), asyncio.Event()
    body = _slowly(data, hold, at=3 * U + 777)
    put = asyncio.create_task(raw.put(uri, body, f"0-{total - 1}/{total}", **{"Content-Length": str(total)}))
    await raw.drive.wait_for(lambda event: event.kind is Kind.HELD and event.position == 3 * U)
    assert raw.drive.sessions[0].held == 3 * U
    assert await raw.position(uri) == 3 * U
    put.cancel()
    cut = await raw.drive.wait_for(lambda event: event.kind is Kind.PUT_CUT)
    assert (cut.position, cut.size) == (3 * U, 3 * U + 777)
    assert not raw.drive.events.violations
    assert (await raw.put(uri, data[3 * U :], f"{3 * U}-{total - 1}/{total}")).status == 200
    assert raw.drive.named("a.bin")[0].md5 == hashlib.md5(data).hexdigest()


async def test_of_two_puts_at_once_the_newer_wins(raw: Any, connect: Any, data: bytes) -> None:
    """The older is cut, its bytes beyond the last whole unit are lost, and it is a violation."""
    uri, total, hold = await raw.begin(size=len(data)), len(data), asyncio.Event()
    older = asyncio.create_task(
        raw.put(uri, _slowly(data, hold, at=U + 5), f"0-{total - 1}/{total}", **{"Content-Length": str(total)})
    )
    await raw.drive.wait_for(lambda event: event.kind is Kind.HELD)
    newer = await raw.put(uri, data[U : 2 * U], f"{U}-{2 * U - 1}/{total}")
    assert newer.held == 2 * U
    hold.set()
    with pytest.raises(aiohttp.ClientError):
        await older
    assert [event.detail for event in raw.drive.events.violations] == [Violation.PARALLEL_PUT]
    assert (await raw.put(uri, data[2 * U :], f"{2 * U}-{total - 1}/{total}")).status == 200
    assert raw.drive.named("a.bin")[0].sha256 == hashlib.sha256(data).hexdigest()


async def test_ranges_sent_in_parallel_lose_data(raw: Any, data: bytes) -> None:
    """The next range cuts the one before and is refused for the gap: nothing is held in the end."""
    uri, total, hold = await raw.begin(size=len(data)), len(data), asyncio.Event()
    first = asyncio.create_task(raw.put(uri, _slowly(data[:U], hold, at=9), f"0-{U - 1}/{total}"))
    await raw.drive.wait_for(lambda event: event.kind is Kind.PUT_STARTED)
    second = await raw.put(uri, data[U : 2 * U], f"{U}-{2 * U - 1}/{total}")
    hold.set()
    with pytest.raises(aiohttp.ClientError):
        await first
    assert second.status == 503
    assert await raw.position(uri) == 0
    wrongs = [event.detail for event in raw.drive.events.violations]
    assert wrongs == [Violation.PARALLEL_PUT, Violation.START_AHEAD]


async def test_a_session_can_be_cancelled(raw: Any, data: bytes) -> None:
    """It is gone then, with what it held."""
    uri = await raw.begin(size=len(data))
    await raw.put(uri, data[:U], f"0-{U - 1}/{len(data)}")
    assert (await raw.ask("DELETE", uri)).status == 499
    assert (await raw.put(uri, b"", "*/*")).status == 499
    assert raw.drive.sessions[0].state is State.CANCELLED


async def test_an_unknown_session_is_404(raw: Any) -> None:
    """As is one of yesterday's."""
    path = "/upload/drive/v3/files?uploadType=resumable&upload_id=nobody"
    assert (await raw.put(raw.drive.root + path, b"", "*/*")).status == 404


@pytest.mark.parametrize("status", [404, 410])
async def test_sessions_expire(raw: Any, data: bytes, status: int) -> None:
    """By command, with either status."""
    uri = await raw.begin(size=len(data))
    await raw.put(uri, data[:U], f"0-{U - 1}/{len(data)}")
    assert raw.drive.expire_sessions(status) == 1
    assert (await raw.put(uri, b"", "*/*")).status == status
    assert (await raw.put(uri, data[U:], f"{U}-{len(data) - 1}/{len(data)}")).status == status
    assert not raw.drive.files


async def test_sessions_expire_by_themselves(start_drive: Any, connect: Any) -> None:
    """After the lifetime, which is a week by default."""
    raw = connect(start_drive(session_lifetime_s=0.0))
    assert (await raw.put(await raw.begin(), b"", "*/*")).status == 404


async def test_a_client_may_ask_not_to_be_answered_with_308(raw: Any, data: bytes) -> None:
    """Google's Go client does."""
    uri = await raw.begin(size=len(data))
    answer = await raw.put(uri, data[:U], f"0-{U - 1}/{len(data)}", **{"X-GUploader-No-308": "yes"})
    assert (answer.status, answer.headers["X-HTTP-Status-Code-Override"]) == (200, "308")
    assert answer.headers["Range"] == f"bytes=0-{U - 1}"


async def test_the_uri_is_under_the_root_that_was_asked(raw: Any) -> None:
    """By the Host header, so that it works through a proxy."""
    path = "/upload/drive/v3/files?uploadType=resumable"
    answer = await raw.ask("POST", path, json={}, headers={"Host": "drive.example:81"})
    assert urlsplit(answer.headers["Location"]).netloc == "drive.example:81"
    assert answer.headers["X-GUploader-UploadID"]


async def test_a_token_that_comes_with_bytes_must_be_good(raw: Any, data: bytes) -> None:
    """None is needed: the URI is the secret."""
    uri = await raw.begin(size=len(data))
    wrong = await raw.put(uri, data, f"0-{len(data) - 1}/{len(data)}", Authorization="Bearer nonsense")
    assert (wrong.status, wrong.reason) == (401, "authError")
    assert (await raw.put(uri, data, f"0-{len(data) - 1}/{len(data)}")).status == 200


async def test_content_can_be_replaced(raw: Any, data: bytes) -> None:
    """PATCH begins a session for a file that is there."""
    file_id = (await raw.put(await raw.begin(), b"old")).json()["id"]
    answer = await raw.ask("PATCH", f"/upload/drive/v3/files/{file_id}?uploadType=resumable", json={"name": "b.bin"})
    last = await raw.put(answer.headers["Location"], data)
    assert (last.status, last.json()["id"], last.json()["name"]) == (200, file_id, "b.bin")
    assert raw.drive.content(file_id) == data


async def test_discarding_keeps_sizes_and_digests(
    start_drive: Callable[..., DriveEmulator], connect: Any, data: bytes
) -> None:
    """For benches that have no disk to spare."""
    raw = connect(start_drive(discard=True))
    file_id = (await raw.put(await raw.begin(), data)).json()["id"]
    file = raw.drive.files[file_id]
    assert (file.size, file.md5, file.path) == (len(data), hashlib.md5(data).hexdigest(), None)
    with pytest.raises(LookupError):
        raw.drive.content(file_id)
    assert (await raw.ask("GET", f"/drive/v3/files/{file_id}?alt=media")).status == 501
