"""How transfers to Drive end when somebody else wants it otherwise: cancelled, refused, told to wait, spoilt."""

from __future__ import annotations

import itertools
import os
import threading

import pytest

from app.testing.drive_emulator import Kind
from app.testing.drive_emulator.faults import Stall, Status
from app.testing.drive_emulator.script import Rule

from .conftest import MIB, Rig

KIB = 1024


def test_a_cancel_does_not_wait_for_a_drive_that_does_not_answer(rig: Rig, content: bytes) -> None:
    """Neither for the last bytes nor for the removal, which comes when Drive is back."""
    rig.drive.script([Rule("upload.put", Stall(600), skip=1), Rule("upload.cancel", Stall(600))])
    rig.run()
    view = rig.begin(content)
    rig.api.put_all(view, content)
    rig.drive.wait(lambda event: event.kind is Kind.FAULT)
    assert rig.api.cancel(view["id"]).status == 204
    assert rig.api.upload(view["id"])["state"] == "cancelled"
    rig.drive.script([])
    assert not [file for file in rig.drive.files.values() if file.sha256]


def test_one_file_that_is_refused_does_not_hold_up_the_others(rig: Rig, content: bytes) -> None:
    """It says so, waits, and can be cancelled; the next one arrives."""
    rig.drive.script([Rule("upload.start", Status(400, "badRequest"), times=1)])
    rig.run()
    refused = rig.begin(content, name="refused.bin")
    rig.api.put_all(refused, content)
    rig.problem(refused["id"], "destination-refused-upload")
    rig.assert_stored(content, rig.upload(content))
    assert rig.api.status()["destinations"]["default"]["breaker"] == "closed"
    assert rig.api.cancel(refused["id"]).status == 204


def test_a_file_whose_bytes_are_refused_does_not_hold_up_the_others(rig: Rig, content: bytes) -> None:
    """A reason that nobody knows: a new session is tried, then it is told as refused, and only this upload waits."""
    rig.drive.script([Rule("upload.put", Status(403, "somethingNew"))])
    rig.run()
    refused = rig.begin(content, name="refused.bin")
    rig.api.put_all(refused, content)
    rig.problem(refused["id"], "destination-refused-upload")
    assert "status 403, somethingNew" in rig.api.upload(refused["id"])["error"]["detail"]
    assert rig.drive.requests["upload.start"] == 2
    assert rig.api.status()["destinations"]["default"]["breaker"] == "closed"
    rig.drive.script([])
    rig.assert_stored(content, rig.upload(content))
    assert rig.api.cancel(refused["id"]).status == 204


def test_retry_after_is_waited_for_from_the_first_time_on(rig: Rig, content: bytes) -> None:
    """Drive says when."""
    rig.drive.script([Rule("upload.start", Status(429, retry_after=1), times=2)])
    rig.run()
    rig.assert_stored(content, rig.upload(content))
    starts = [
        event.time_s for event in rig.drive.events if event.kind is Kind.REQUEST and event.operation == "upload.start"
    ]
    assert len(starts) == 3
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(starts))


def test_what_was_tried_again_is_told_also_in_the_servers_next_life(rig: Rig, content: bytes) -> None:
    """How often, and each attempt with why it failed."""
    rig.drive.script([Rule("upload.start", Status(500), times=1), Rule("upload.put", Status(503), times=1)])
    rig.run()
    view = rig.upload(content)
    progress = rig.api.progress(view["id"])
    assert progress["retried_chunks"] == 2
    told = [(each["step"], each["chunk"], each["code"]) for each in progress["failed_attempts"]]
    assert told == [("destination", None, "destination-unavailable")] * 2
    rig.api.close()
    rig.product.__exit__()
    rig.run()
    assert rig.api.progress(view["id"]) == progress


def test_bytes_that_rot_before_the_end_are_not_published(rig: Rig) -> None:
    """Read and digested, then spoilt on the disk: they are looked at again before they publish the file, and asked for."""
    rig.run()
    content = os.urandom(MIB)
    view = rig.begin(content, completion="explicit", chunk_size=256 * KIB)
    for number in (3, 2, 1, 0):  # what is not sent before the end is digested with what is
        piece = content[number * 256 * KIB : (number + 1) * 256 * KIB]
        assert rig.api.put_chunk(view["id"], number, piece).status == 204
    live = rig.product.server.context.uploads.under_way(view["id"])
    rig.product.wait_for(lambda: live.digest.position == len(content))
    with (rig.product.spool / view["id"]).open("r+b") as spool:
        spool.seek(-5, os.SEEK_END)
        spool.write(b"rot!")
    reply = rig.api.complete(view["id"])
    assert (reply.status, reply.code) == (409, "incomplete")
    assert not [event for event in rig.drive.events if event.kind is Kind.FILE_CREATED]
    assert rig.api.put_chunk(view["id"], 3, content[-256 * KIB :]).status == 204
    assert rig.api.complete(view["id"]).status == 200
    rig.assert_stored(content, rig.api.upload(view["id"]))


@pytest.mark.parametrize("size", [100 * KIB, 3 * MIB])
def test_a_file_in_one_request_of_which_bytes_rot_before_they_are_sent_ends(rig: Rig, size: int) -> None:
    """Nobody sends them again: its client is told to repeat it, and everything is given back."""
    rig.drive.script([Rule("upload.start", Status(429, retry_after=1), times=1)])
    rig.run(chunk_size_mb=1)
    content, replies = os.urandom(size), []
    uploads = rig.product.server.context.uploads

    def put() -> None:
        with rig.product.client() as api:
            replies.append(api.request("PUT", "/api/v1/files/report.bin", content))

    sending = threading.Thread(target=put)
    sending.start()
    rig.product.wait_for(lambda: any(live.problem is not None and live.all_recorded for live in uploads.live))
    (live,) = uploads.live
    with (rig.product.spool / live.row.id).open("r+b") as spool:
        spool.seek(-5, os.SEEK_END)
        spool.write(b"rot!")
    sending.join()
    assert (replies[0].status, replies[0].code) == (503, "room-lost")
    rig.product.wait_for(lambda: not uploads.live and rig.product.quiescent())
    assert rig.api.upload(live.row.id)["error"]["code"] == "room-lost"
    assert not [event for event in rig.drive.events if event.kind is Kind.FILE_CREATED]


def test_in_sequential_mode_a_client_is_told_when_drive_takes_nothing(
    rig: Rig, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while; what was received is kept, and goes on when Drive takes it."""
    monkeypatch.setattr("app.services.parallel_chunk_processor._PATIENCE_S", 0.5)
    rig.drive.set_storage_quota(1)
    rig.run(enable_parallel_uploads=False)
    view = rig.begin(content)
    reply = rig.api.put_chunk(view["id"], 0, content)
    assert reply.status == 503
    assert reply.code in {"destination-unavailable", "chunk-failed"}  # whichever is known first
    assert int(reply.headers["retry-after"]) > 0


def test_who_waits_gets_a_turn_before_a_long_transfer_is_over(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One permit: the long one gives way between chunks, goes on afterwards, and its bytes go in order."""
    monkeypatch.setattr("app.services.transfer._TURN_S", 0.0)
    rig.drive.set_rate(4 * MIB)
    rig.run(max_transfers=1)
    long, short = os.urandom(12 * MIB), os.urandom(300 * KIB)
    first = rig.begin(long, name="long.bin", chunk_size=MIB)
    rig.api.put_all(first, long)
    second = rig.begin(short, name="short.bin")
    rig.api.put_all(second, short)
    assert rig.ended(second["id"])["state"] == "completed"
    assert rig.api.upload(first["id"])["state"] == "transferring"
    assert rig.ended(first["id"])["state"] == "completed"
    stored = {file.name: rig.drive.content(file.id) for file in rig.drive.files.values()}
    assert stored == {"long.bin": long, "short.bin": short}


def test_a_stalled_drive_does_not_hold_up_a_directory(rig: Rig) -> None:
    """Each destination has its own share of the slabs."""
    rig.drive.script([Rule("upload.put", Stall(600))])
    rig.run(destinations={"near": f"disk:{rig.directory / 'near'}"})
    stalled = []
    for number in range(20):
        data = os.urandom(600 * KIB)
        view = rig.begin(data, name=f"{number}.bin")
        rig.api.put_all(view, data)
        stalled.append(view["id"])
    rig.drive.wait(lambda event: event.kind is Kind.FAULT)
    near = rig.upload(b"x" * MIB, name="near.bin", destination="near")
    assert near["state"] == "completed"
    for upload_id in stalled:
        assert rig.api.cancel(upload_id).status == 204


def test_a_client_that_stalls_ends_the_request_and_the_next_one_goes_on(
    rig: Rig, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN section 2: no request stays open for bytes that do not come, and what was sent is not sent again."""
    monkeypatch.setattr("app.services.sending.STALL_S", 0.2)
    rig.run()
    view = rig.begin(content, chunk_size=MIB)
    assert rig.api.put_chunk(view["id"], 0, content[:MIB]).status == 204
    rig.drive.wait(lambda event: event.kind in {Kind.PUT_ENDED, Kind.PUT_CUT} and event.position == MIB)
    for number in range(1, view["chunk_count"]):
        assert rig.api.put_chunk(view["id"], number, content[number * MIB : (number + 1) * MIB]).status == 204
    rig.assert_stored(content, rig.ended(view["id"]))
    begun = [event.position for event in rig.drive.events if event.kind is Kind.PUT_STARTED and event.size]
    assert begun[:2] == [0, MIB]


def test_bytes_are_received_while_drive_fails_until_there_is_no_room_and_then_clients_wait(
    rig: Rig, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS 23: the breaker is open, what comes is kept, the next one is told when to come back, and all arrive in the end."""
    monkeypatch.setattr("app.services.limits.breaker._LONGEST_PAUSE_S", 0.2)
    rig.drive.script([Rule("any", Status(503))])
    rig.run(user_quota_mb=8)
    views = [rig.begin(content, name=f"{number}.bin") for number in range(2)]
    for view in views:
        rig.api.put_all(view, content)
        assert rig.api.upload(view["id"])["bytes_received"] == len(content)
    rig.product.wait_for(lambda: rig.product.server.transfers.gates["default"].breaker == "open")
    refused = rig.api.post("/api/v1/uploads", {"filename": "2.bin", "size": len(content)})
    assert (refused.status, int(refused.headers["retry-after"]) > 0) == (507, True)
    rig.drive.script([])
    assert [rig.ended(view["id"])["state"] for view in views] == ["completed", "completed"]
    assert rig.upload(content, name="2.bin")["state"] == "completed"
    stored = {file.name: rig.drive.content(file.id) for file in rig.drive.files.values()}
    assert stored == dict.fromkeys(("0.bin", "1.bin", "2.bin"), content)
