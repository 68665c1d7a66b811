"""Uploads against the fake server: what arrives, what is sent twice (nothing), and what each fault does."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Never

import pytest
from aiohttp import web
from fake_forebay import MIB, FakeForebay, FakeUpload, MakeFile, drop_after, problem, refuse

from forebay import AsyncClient, Completed, Retrying, RetryPolicy, Started, UploadEvent, Waiting
from forebay._meter import Meter
from forebay._source import SourceFile
from forebay.errors import (
    AlreadyUploading,
    ConnectionFailed,
    FileChanged,
    FileUnusable,
    Forbidden,
    InvalidRequest,
    NameTaken,
    OutOfSpace,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    UploadCancelled,
    UploadFailed,
    VerificationFailed,
)
from forebay.events import Adapted, Progress

CHUNK_PUT = r"PUT .*/chunks/"
BIG = 10 * MIB + 12345


def only(fake: FakeForebay) -> FakeUpload:
    """The one upload."""
    assert len(fake.uploads) == 1
    return next(iter(fake.uploads.values()))


async def test_a_large_file_arrives_whole_in_parallel_chunks(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Content, checksum, and several chunks at once."""
    path = make_file(BIG)
    result = await client.upload(path, folder="a/b")
    assert only(fake).content == path.read_bytes()
    assert result.crc32c == result.stored.crc32c
    assert (result.stored.size, result.retries, result.resumed_bytes) == (BIG, 0, 0)
    assert 2 <= fake.most_in_flight <= fake.lanes + 1
    assert only(fake).body["path"] == "a/b"
    assert not fake.repeats


class Answers:
    """What is carried out of a fake's chunks, and answered only when that is allowed."""

    def __init__(self, fake: FakeForebay) -> None:
        self.allowed = asyncio.Event()
        self.withheld = self.most_withheld = 0
        self.changed = asyncio.Event()
        fake.fault(CHUNK_PUT, self._withhold, times=None, after=True)

    async def _withhold(self, request: web.Request) -> None:
        self.withheld += 1
        self.most_withheld = max(self.most_withheld, self.withheld)
        self.changed.set()
        await self.allowed.wait()
        self.withheld -= 1

    async def reach(self, count: int) -> None:
        """So many chunks are carried out and not answered."""
        while self.withheld < count:
            self.changed.clear()
            await self.changed.wait()


async def test_a_lane_sends_the_next_chunk_while_the_answer_comes(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """With two lanes a third chunk comes though none is answered, and no fourth: it is answers that are waited for then."""
    answers = Answers(fake)
    path = make_file(BIG)
    upload = asyncio.create_task(client.upload(path, parallel=2))
    await asyncio.wait_for(answers.reach(3), 10)
    answers.allowed.set()
    assert (await upload).retries == 0
    assert answers.most_withheld == 3
    assert only(fake).content == path.read_bytes()
    assert not fake.repeats


@pytest.mark.parametrize("mode", ["parallel", "sequential"])
async def test_one_at_a_time_waits_for_each_answer(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, mode: str
) -> None:
    """`parallel=1`, and the sequential mode whatever is asked for: in order, each answered before the next is sent."""
    fake.mode = mode
    answers = Answers(fake)
    upload = asyncio.create_task(client.upload(make_file(BIG), parallel=1 if mode == "parallel" else 4))
    await answers.reach(1)
    await client.get("u0")  # a next chunk would have come on another connection by now
    answers.allowed.set()
    await upload
    assert answers.most_withheld == fake.most_in_flight == 1
    assert fake.order == sorted(fake.order)


async def test_what_was_sent_and_is_refused_in_its_answer_is_sent_again(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Its lane has gone on meanwhile."""

    async def refuse_late(request: web.Request) -> web.Response:
        await request.content.read()
        return problem(503, "chunk-failed", Retry_After="0")

    fake.fault(CHUNK_PUT, refuse_late, times=6)
    path = make_file(BIG)
    result = await client.upload(path, parallel=2)
    assert result.retries == 6
    assert only(fake).content == path.read_bytes()
    assert not fake.repeats


async def test_an_interruption_while_answers_are_on_their_way_costs_no_repeat(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """What was sent and not answered is found there by the next run."""
    answers = Answers(fake)
    path = make_file(BIG)
    upload = asyncio.create_task(client.upload(path, parallel=2))
    await answers.reach(3)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    answers.allowed.set()
    result = await client.upload(path)
    assert result.resumed_bytes >= 3 * MIB
    assert not fake.repeats


@pytest.mark.parametrize("size", [0, 1, 4 * MIB])
async def test_a_small_file_takes_one_request(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, size: int
) -> None:
    """Up to 4 MiB, empty ones too."""
    path = make_file(size)
    result = await client.upload(path)
    assert fake.requests == ["PUT /api/v1/files/data.bin"]
    assert only(fake).content == path.read_bytes()
    assert (result.stored.size, result.resumed_bytes) == (size, 0)


async def test_a_small_file_goes_as_chunks_where_the_server_cuts_finer(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """413 on the single request is no failure."""
    fake.small_limit = MIB
    path = make_file(3 * MIB)
    await client.upload(path)
    assert only(fake).content == path.read_bytes()


async def test_a_lost_answer_to_a_small_file_stores_it_once(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The Idempotency-Key makes the repeat the same upload."""
    fake.lose_answer("PUT /api/v1/files")
    result = await client.upload(make_file(1000))
    assert len(fake.uploads) == 1
    assert result.stored.name == "data.bin"


async def test_a_lost_answer_to_the_creation_makes_one_upload(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The Idempotency-Key again."""
    fake.lose_answer("POST /api/v1/uploads")
    await client.upload(make_file(BIG))
    assert len(fake.uploads) == 1


async def test_a_chunk_whose_answer_was_lost_is_not_sent_again(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The client asks first, and finds it there."""
    fake.lose_answer(CHUNK_PUT, times=3)
    result = await client.upload(make_file(BIG))
    assert not fake.repeats
    assert result.retries == 3


async def test_connections_that_break_within_the_body_lose_nothing(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The chunk is sent again, whole."""
    fake.fault(CHUNK_PUT, drop_after(100_000), times=6)
    path = make_file(BIG)
    result = await client.upload(path)
    assert only(fake).content == path.read_bytes()
    assert result.retries == 6
    assert not fake.repeats


async def test_retry_after_is_waited_for(fake: FakeForebay, client: AsyncClient, make_file: MakeFile) -> None:
    """In seconds; told as an event with its delay."""
    fake.fault(CHUNK_PUT, refuse(503, "limit-reached", Retry_After="1"))
    events = []
    started = asyncio.get_running_loop().time()
    await client.upload(make_file(BIG), progress=events.append)
    assert asyncio.get_running_loop().time() - started >= 1
    (retry,) = [event for event in events if isinstance(event, Retrying)]
    assert 1 <= retry.delay_s <= 1.1
    assert retry.code == "limit-reached"


async def test_a_retry_after_beyond_patience_is_given_up_at_once(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """507 with an hour to wait, and 20 s of patience."""
    fake.fault("POST", refuse(507, "out-of-space", Retry_After="3600"))
    with pytest.raises(OutOfSpace) as caught:
        await client.upload(make_file(BIG))
    assert caught.value.retry_after == 3600
    assert caught.value.request_id == "req-1"


async def test_out_of_space_within_patience_is_waited_out(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """507 is no end."""
    fake.fault(CHUNK_PUT, refuse(507, "out-of-space", Retry_After="0"), times=3)
    assert (await client.upload(make_file(BIG))).retries == 3


async def test_a_server_that_restarts_is_waited_for(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Refused connections are retried; what was acknowledged is not sent again."""
    path = make_file(BIG)
    upload = asyncio.create_task(client.upload(path, parallel=2))
    await fake.recorded.wait()
    await fake.stop()
    await asyncio.sleep(0.2)
    assert not upload.done()
    await fake.start()
    result = await upload
    assert result.retries > 0
    assert only(fake).content == path.read_bytes()
    assert not fake.repeats


async def test_patience_ends_when_the_server_stays_away(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """And the error is the last one, typed."""
    await fake.stop()
    async with AsyncClient(
        fake.url, policy=RetryPolicy(patience_s=0.2, wait_initial_s=0.01, wait_max_s=0.05)
    ) as client:
        with pytest.raises(ConnectionFailed, match="can't be reached: connection refused"):
            await client.upload(make_file(BIG))


async def test_a_flip_to_sequential_goes_on_in_order_and_repeats_nothing(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """409 mode-changed: asked again, one at a time, lowest first; chunks out of order stay."""
    path = make_file(BIG)
    adapted: list[str] = []

    async def flip(request: web.Request) -> None:
        fake.mode = "sequential"

    def progress(event: UploadEvent) -> None:
        if isinstance(event, Adapted):  # what was in flight has ended
            adapted.append(event.mode)
            fake.order.clear()
            fake.most_in_flight = 0

    fake.fault(r"PUT .*/chunks/5", flip)
    await client.upload(path, progress=progress)
    assert adapted == ["sequential"]
    assert fake.order
    assert fake.order == sorted(fake.order)
    assert fake.most_in_flight == 1
    assert only(fake).content == path.read_bytes()
    assert not fake.repeats


async def test_a_broken_connection_takes_lanes_away_until_chunks_arrive(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer at once on a bad line; back to all of them on a good one."""
    fake.fault(r"PUT .*/chunks/0", drop_after(100_000))
    told: list[int] = []
    monkeypatch.setattr(
        Meter, "lanes", lambda self, count: told.append(count)
    )  # progress events are too few to see all
    await client.upload(make_file(30 * MIB))
    assert told[0] == told[-1] == fake.lanes
    assert min(told) < fake.lanes


async def test_each_chunk_that_arrives_renews_patience(fake: FakeForebay, state_dir: Path, make_file: MakeFile) -> None:
    """An upload that takes longer than patience, and fails late, goes on."""

    async def slow(request: web.Request) -> None:
        await asyncio.sleep(0.15)

    fake.fault(r"PUT .*/chunks/10", refuse(503, "chunk-failed"))
    fake.fault("PUT .*/chunks/", slow, times=None)
    async with AsyncClient(fake.url, policy=RetryPolicy(patience_s=1, wait_initial_s=0.01, wait_max_s=0.02)) as client:
        assert (await client.upload(make_file(BIG), parallel=1)).retries == 1


async def test_a_destination_that_takes_long_does_not_end_patience(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """Every byte is there, and the server is at work."""
    fake.polls_to_complete = 7  # the questions come ever slower: most of a second
    async with AsyncClient(fake.url, policy=RetryPolicy(patience_s=0.3, wait_initial_s=0.01)) as client:
        await client.upload(make_file(BIG))


async def test_a_file_that_cannot_be_read_under_way_is_no_network_trouble(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk's error comes out, at once."""

    async def broken(self: SourceFile, offset: int, length: int) -> bytes:
        raise FileUnusable("the disk is broken")

    monkeypatch.setattr(SourceFile, "piece", broken)
    with pytest.raises(FileUnusable, match="disk is broken"):
        await client.upload(make_file(BIG))


async def test_a_flip_to_parallel_uses_the_lanes_again(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The other direction, found at the next question."""
    fake.mode = "sequential"
    path = make_file(BIG)

    async def flip(request: web.Request) -> web.Response:
        fake.mode = "parallel"
        return problem(409, "mode-changed")

    fake.fault(r"PUT .*/chunks/3", flip)
    await client.upload(path)
    assert fake.order[:3] == [0, 1, 2]
    assert fake.most_in_flight > 1
    assert only(fake).content == path.read_bytes()
    assert not fake.repeats


async def test_superseded_asks_and_goes_on(fake: FakeForebay, client: AsyncClient, make_file: MakeFile) -> None:
    """409 superseded is no failure."""
    fake.fault(CHUNK_PUT, refuse(409, "superseded"), times=4)
    path = make_file(BIG)
    await client.upload(path)
    assert only(fake).content == path.read_bytes()


async def test_a_chunk_damaged_on_the_way_is_read_and_sent_again(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """422, twice."""
    fake.fault(r"PUT .*/chunks/2", refuse(422, "digest-mismatch"), times=2)
    assert (await client.upload(make_file(BIG))).retries == 2


async def test_a_chunk_that_keeps_being_damaged_ends_it(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """422 three times: something changes bytes."""
    fake.fault(r"PUT .*/chunks/2", refuse(422, "digest-mismatch"), times=3)
    with pytest.raises(VerificationFailed, match="arrived damaged 3 times"):
        await client.upload(make_file(BIG))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthenticated", Unauthenticated),
        (403, "forbidden", Forbidden),
        (413, "file-too-large", TooLarge),
        (400, "invalid-name", InvalidRequest),
        (409, "name-taken", NameTaken),
    ],
)
async def test_a_final_no_is_not_retried(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, status: int, code: int | str, kind: type[Exception]
) -> None:
    """One request, one typed error."""
    fake.fault("POST", refuse(status, code), times=5)
    with pytest.raises(kind) as caught:
        await client.upload(make_file(BIG))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert len(fake.requests) == 1


async def test_a_wrong_checksum_at_the_destination_is_never_success(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The server's word differs from what was sent."""
    fake.wrong_crc = True
    with pytest.raises(VerificationFailed, match="CRC32C"):
        await client.upload(make_file(BIG))


async def test_completion_is_waited_for(fake: FakeForebay, client: AsyncClient, make_file: MakeFile) -> None:
    """Received is not done: `Completed` comes after the destination has it."""
    fake.polls_to_complete = 5
    events = []
    await client.upload(make_file(BIG), progress=events.append)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Completed)
    storing = [event for event in events if isinstance(event, Progress) and event.phase == "storing"]
    assert storing
    assert storing[0].received == BIG
    assert storing[0].stored == 0


async def test_the_servers_events_say_when_it_is_done(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is told: it need not ask, and hears meanwhile how far the destination is."""
    monkeypatch.setattr("forebay._upload._FOLLOW_FIRST_S", 3600)
    monkeypatch.setattr("forebay._upload._FOLLOW_LONGEST_S", 3600)
    monkeypatch.setattr("forebay._meter._INTERVAL_S", 0)
    fake.events = asyncio.Queue()
    fake.polls_to_complete = 2
    told: list[UploadEvent] = []
    heard = asyncio.Event()

    def listen(event: UploadEvent) -> None:
        told.append(event)
        if isinstance(event, Progress) and event.stored == MIB:
            heard.set()

    async with asyncio.TaskGroup() as group:
        upload = group.create_task(client.upload(make_file(BIG), progress=listen))
        await fake.listened.wait()
        fake.events.put_nowait('event: state\ndata: {"id": "u0", "state": "transferring"}\n\n: a comment\n\n')
        progressed = json.dumps(fake.progress(only(fake), stored=MIB))
        fake.events.put_nowait(f"event: progress\r\ndata: {progressed}\r\n\r\n")
        await heard.wait()
        assert only(fake).state == "transferring"
        fake.events.put_nowait('event: done\ndata: {"id": "u0", "state": "completed"}\n\n')
        await upload
    assert isinstance(told[-1], Completed)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        web.Response(text="<html>", content_type="text/html"),
        web.Response(text="event: state\ndata: {no\n\n", content_type="text/event-stream"),
        web.Response(text="data: " + "x" * MIB, content_type="text/event-stream"),
        web.Response(body=b"data: \xff\n\n", content_type="text/event-stream"),
        web.Response(text='event: progress\ndata: {"bytes": "?"}\n\n', content_type="text/event-stream"),
        web.Response(text="", content_type="text/event-stream"),
    ],
    ids=["refused", "page", "no JSON", "a line without end", "no text", "no progress", "ended"],
)
async def test_a_server_whose_events_say_nothing_is_asked(
    fake: FakeForebay,
    client: AsyncClient,
    make_file: MakeFile,
    monkeypatch: pytest.MonkeyPatch,
    answer: web.Response | None,
) -> None:
    """Events are a convenience: an upload ends well without them."""
    monkeypatch.setattr("forebay._upload._FOLLOW_FIRST_S", 0.2)
    fake.polls_to_complete = 2

    async def answered(request: web.Request) -> web.Response | None:
        return answer

    fake.fault("GET .*/events", answered)
    await client.upload(make_file(BIG))
    assert fake.requests.count("GET /api/v1/uploads/u0/events") == 1


async def test_events_that_a_proxy_keeps_back_are_not_waited_for(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first comes at once, or none does."""
    monkeypatch.setattr("forebay._upload._FOLLOW_FIRST_S", 0.2)
    monkeypatch.setattr("forebay._upload._FOLLOW_LONGEST_S", 0.2)
    fake.events = asyncio.Queue()
    fake.polls_to_complete = 3
    await client.upload(make_file(BIG))
    assert fake.listened.is_set()


async def test_a_failed_upload_says_why_and_is_forgotten(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, state_dir: Path
) -> None:
    """The server's reason; the next run begins anew."""

    async def fail(request: web.Request) -> None:
        upload = only(fake)
        upload.state, upload.error = "failed", {"code": "quota", "detail": "the disk is full"}

    fake.polls_to_complete = 3
    fake.fault("GET .*/uploads/u0", fail)
    with pytest.raises(UploadFailed, match="the disk is full") as caught:
        await client.upload(make_file(BIG))
    assert caught.value.code == "quota"
    assert not list(state_dir.iterdir())


async def test_an_upload_cancelled_by_other_hands_ends(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Whoever cancels, means it."""

    async def cancel(request: web.Request) -> None:
        only(fake).state = "cancelled"

    fake.fault(r"PUT .*/chunks/4", cancel)
    with pytest.raises(UploadCancelled):
        await client.upload(make_file(BIG))


async def test_an_upload_that_vanishes_under_way_begins_anew(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """404 for the upload: the server lost it."""

    async def vanish(request: web.Request) -> None:
        fake.uploads.pop("u0", None)
        fake.uploads["other"] = None  # ids go on
        fake.keys.clear()

    fake.fault(r"PUT .*/u0/chunks/4", vanish)
    path = make_file(BIG)
    result = await client.upload(path)
    assert result.upload_id != "u0"
    assert fake.uploads[result.upload_id].content == path.read_bytes()


async def test_a_file_that_changes_under_way_is_refused_and_given_up(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, state_dir: Path
) -> None:
    """Never a mixture; the server's room is given back."""
    path = make_file(BIG)

    async def touch(request: web.Request) -> None:
        status = path.stat()
        with path.open("r+b") as file:
            file.write(b"other")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    fake.fault(r"PUT .*/chunks/3", touch)
    with pytest.raises(FileChanged, match="was changed while"):
        await client.upload(path, parallel=1)
    assert only(fake).state == "cancelled"
    assert not list(state_dir.iterdir())


async def test_a_file_replaced_under_way_is_no_success(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, tmp_path: Path
) -> None:
    """The name means another file at the end."""
    path = make_file(BIG)
    other = make_file(BIG + 1, "other.bin")

    async def replace(request: web.Request) -> None:
        other.replace(path)

    fake.fault(r"PUT .*/chunks/3", replace)
    with pytest.raises(FileChanged, match="was replaced"):
        await client.upload(path)


async def test_other_bytes_recorded_for_a_chunk_mean_that_the_file_changed(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """409 chunk-conflict is final and clear."""
    fake.fault(CHUNK_PUT, refuse(409, "chunk-conflict"))
    with pytest.raises(FileChanged, match="other bytes"):
        await client.upload(make_file(BIG))


async def test_an_interrupted_upload_goes_on_with_what_is_missing(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, state_dir: Path
) -> None:
    """Cancelled here, resumed by another client object."""
    path = make_file(BIG)
    blocked = asyncio.Event()

    async def block(request: web.Request) -> None:
        blocked.set()
        await asyncio.Event().wait()

    fake.fault(r"PUT .*/chunks/[6-9]", block, times=4)
    task = asyncio.create_task(client.upload(path))
    await blocked.wait()
    while len(only(fake).chunks) < 6:
        await fake.recorded.wait()
        fake.recorded.clear()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    fake._faults.clear()
    held = sum(map(len, only(fake).chunks.values()))
    async with AsyncClient(fake.url) as other:
        result = await other.upload(path)
    assert result.resumed_bytes == held
    assert not fake.repeats
    assert only(fake).content == path.read_bytes()
    assert not list(state_dir.iterdir())


async def interrupted(fake: FakeForebay, client: AsyncClient, path: Path, **options: object) -> None:
    """Leave an upload behind, with some chunks on the server."""
    fake.fault(r"PUT .*/chunks/5", refuse(403, "forbidden"))
    with pytest.raises(Forbidden):
        await client.upload(path, parallel=1, **options)


async def test_a_resumed_upload_verifies_also_what_an_earlier_run_sent(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """A byte that differs in the old part is found, although size and time are the same."""
    path = make_file(BIG)
    await interrupted(fake, client, path)
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(VerificationFailed):
        await client.upload(path)


async def test_a_changed_file_begins_anew_and_gives_the_old_upload_up(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Another modification time: nothing of the old content is used."""
    path = make_file(BIG)
    await interrupted(fake, client, path)
    os.utime(path, ns=(1, 1))
    result = await client.upload(path)
    assert (result.upload_id, result.resumed_bytes) == ("u1", 0)
    assert fake.uploads["u0"].state == "cancelled"


@pytest.mark.parametrize("ending", ["gone", "expired"])
async def test_a_remembered_upload_that_is_no_more_begins_anew(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, ending: str
) -> None:
    """404, or a state that ended."""
    path = make_file(BIG)
    await interrupted(fake, client, path)
    if ending == "gone":
        fake.uploads["u0"], fake.keys = None, {}
    else:
        fake.uploads["u0"].state = "expired"
    result = await client.upload(path)
    assert result.upload_id == "u1"


async def test_killed_between_creation_and_its_answer_finds_the_same_upload(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The key is remembered before the request."""
    path = make_file(BIG)

    async def carried_out_then_refused(request: web.Request) -> web.Response:
        return problem(403, "forbidden")

    fake.fault("POST", carried_out_then_refused, after=True)
    with pytest.raises(Forbidden):
        await client.upload(path)
    assert len(fake.uploads) == 1
    result = await client.upload(path)
    assert result.upload_id == "u0"


async def test_killed_after_the_last_chunk_finds_it_completed(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Nothing is sent; everything is verified."""
    path = make_file(BIG)
    await interrupted(fake, client, path)
    upload = only(fake)
    content = path.read_bytes()
    for number in upload.missing:
        upload.chunks[number] = content[number * MIB : (number + 1) * MIB]
    fake._complete(upload)
    fake.requests.clear()
    result = await client.upload(path)
    assert fake.requests == ["GET /api/v1/uploads/u0"]
    assert result.resumed_bytes == BIG


async def test_the_same_file_elsewhere_is_another_upload(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Folder, name and destination are part of what is resumed."""
    path = make_file(BIG)
    await interrupted(fake, client, path)
    result = await client.upload(path, folder="elsewhere")
    assert result.upload_id == "u1"


async def test_without_resume_nothing_is_remembered(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, state_dir: Path
) -> None:
    """Not even the directory."""
    await client.upload(make_file(BIG), resume=False)
    assert not state_dir.exists()


async def test_a_second_client_on_the_same_file_waits_or_says_so(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Two uploads, two files, no corruption; or a clear refusal."""
    path = make_file(BIG)
    reached, release = asyncio.Event(), asyncio.Event()

    async def hold(request: web.Request) -> None:
        reached.set()
        await release.wait()

    fake.fault("POST", hold)
    first = asyncio.create_task(client.upload(path))
    await reached.wait()
    with pytest.raises(AlreadyUploading):
        await client.upload(path, wait_for_lock=False)
    told = asyncio.Event()
    events = []

    def progress(event: UploadEvent) -> None:
        events.append(event)
        told.set()

    second = asyncio.create_task(client.upload(path, progress=progress))
    await told.wait()
    assert events == [Waiting(path, "locked")]
    release.set()
    assert (await first).stored.name == "data.bin"
    assert (await second).stored.name == "data.bin (1)"


async def test_an_upload_in_the_servers_queue_says_its_place(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """Each place once."""
    fake.queue_positions.extend([3, 3, 1])
    fake.polls_to_complete = 3
    events = []
    await client.upload(make_file(BIG), progress=events.append)
    assert [event.position for event in events if isinstance(event, Waiting)] == [3, 1]


async def test_events_come_as_an_iterator_too(fake: FakeForebay, client: AsyncClient, make_file: MakeFile) -> None:
    """The last one is `Completed`."""
    events = [event async for event in client.upload_events(make_file(BIG))]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Completed)


async def test_an_error_comes_out_of_the_iterator(fake: FakeForebay, client: AsyncClient, tmp_path: Path) -> None:
    """Raised to who iterates."""
    with pytest.raises(FileUnusable, match="does not exist"):
        async for _ in client.upload_events(tmp_path / "absent"):
            pass


async def test_progress_never_claims_more_than_the_server_keeps(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """`received` grows by acknowledgement, `sent` is never less, `stored` is the server's word."""
    events = []
    fake.fault(CHUNK_PUT, drop_after(500_000), times=3)
    await client.upload(make_file(BIG), progress=events.append)
    seen = [event for event in events if isinstance(event, Progress)]
    assert all(event.stored <= event.received <= event.sent <= event.size for event in seen)


async def test_a_silent_server_is_given_up_and_asked_again(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """Nothing moves for `stall_s`: the request is repeated."""

    async def silence(request: web.Request) -> None:
        await asyncio.Event().wait()

    fake.fault("POST", silence)
    policy = RetryPolicy(patience_s=20, wait_initial_s=0.01, wait_max_s=0.05, stall_s=0.3)
    async with AsyncClient(fake.url, policy=policy) as client:
        result = await client.upload(make_file(BIG))
    assert result.retries == 1


async def test_a_page_that_is_no_forebay_is_recognised(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """HTML with 200, 404, or a redirect: one clear sentence, no retries."""

    async def html(request: web.Request) -> web.Response:
        return web.Response(text="<h1>hello</h1>", content_type="text/html")

    async def lost(request: web.Request) -> web.Response:
        return web.Response(text="nope", status=404)

    async def moved(request: web.Request) -> Never:
        raise web.HTTPMovedPermanently("https://elsewhere.example/")

    for page, sentence in ((html, "check the address"), (lost, "no Forebay server"), (moved, "elsewhere.example")):
        fake.fault("POST", page)
        with pytest.raises(UnexpectedAnswer, match=sentence):
            await client.upload(make_file(BIG))


async def test_a_gateways_error_is_retried(fake: FakeForebay, client: AsyncClient, make_file: MakeFile) -> None:
    """502 without a problem document."""

    async def gateway(request: web.Request) -> web.Response:
        return web.Response(text="bad gateway", status=502)

    fake.fault("POST", gateway, times=2)
    assert (await client.upload(make_file(BIG))).retries == 2


async def test_the_token_goes_to_the_server_and_into_no_file(state_dir: Path, make_file: MakeFile) -> None:
    """Sent as a bearer token; not in what is remembered."""
    async with FakeForebay(token="s3cret-token") as fake, AsyncClient(fake.url, token="s3cret-token") as client:
        path = make_file(BIG)
        await interrupted(fake, client, path)
        records = list(state_dir.glob("*.json"))
        assert records
        assert all("s3cret" not in record.read_text() for record in records)


async def test_a_wrong_token_is_said_at_once(state_dir: Path, make_file: MakeFile) -> None:
    """401."""
    async with FakeForebay(token="right") as fake, AsyncClient(fake.url, token="wrong") as client:
        with pytest.raises(Unauthenticated):
            await client.upload(make_file(BIG))


@pytest.mark.parametrize(
    "server",
    ["ftp://host", "host:8000", "http://", "http://user:pw@host", "http://host/?a=1", "http://host/#x"],
)
def test_an_address_that_cannot_be_used_is_refused(server: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match="address"):
        AsyncClient(server)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "\udcff"])
async def test_a_name_that_cannot_be_stored_is_refused(client: AsyncClient, make_file: MakeFile, name: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="name"):
        await client.upload(make_file(1), name=name)


async def test_unavailable_is_the_error_when_patience_ends(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """The server's own sentence comes out."""
    fake.fault("POST", refuse(503, "memory-pressure"), times=None)
    policy = RetryPolicy(patience_s=0.2, wait_initial_s=0.01, wait_max_s=0.02)
    async with AsyncClient(fake.url, policy=policy) as client:
        with pytest.raises(Unavailable) as caught:
            await client.upload(make_file(BIG))
    assert caught.value.code == "memory-pressure"
