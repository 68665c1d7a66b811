"""Google Drive behind staging in memory: no disk in between, faults on the way, kills in every phase."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import forebay
from app.core.upload import UploadState
from app.testing.drive_emulator import DriveEmulator, Event, Kind
from app.testing.drive_emulator.faults import (
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    LoseAnswer,
    Status,
    WrongDigest,
)
from app.testing.drive_emulator.script import Rule
from app.testing.server_process import ServerProcess
from forebay.errors import UploadFailed

from .conftest import MIB, Rig

KIB = 1024
CHUNK = 256 * KIB
SIZE = 12 * MIB + 4321
MEMORY: dict[str, Any] = {"staging": "memory", "memory_staging_mb": 8, "max_concurrent_users": 4}
"""Windows of 2 MiB: far less than the files."""
POLICY = forebay.RetryPolicy(patience_s=60, wait_initial_s=0.05, wait_max_s=0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of no round length."""
    path = tmp_path / "report.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def bring(url: str, path: Path, state: Path) -> forebay.UploadResult:
    """Upload with the real client, whatever happens to the server."""
    with forebay.Client(url, state_dir=state, policy=POLICY) as client:
        return client.upload(path)


def assert_one_whole_file(drive: DriveEmulator, path: Path) -> None:
    """Exactly once, these bytes, and no rule of Drive's was broken."""
    files = [file for file in drive.files.values() if file.sha256]
    assert [(file.name, file.sha256) for file in files] == [(path.name, hashlib.sha256(path.read_bytes()).hexdigest())]
    assert not list(drive.events.violations)


def everything_is_back(rig: Rig) -> bool:
    """No room, buffer or slot is held by anybody."""
    room = rig.product.server.staging.latest
    return rig.product.quiescent() and room.reserved_bytes == room.waiting == 0


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * MIB, 3 * MIB + 7])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_file_of_any_size_arrives(rig: Rig, size: int, *, parallel: bool) -> None:
    """In closed pieces; the last with the file's end."""
    rig.run(**MEMORY, enable_parallel_uploads=parallel)
    content = os.urandom(size)
    rig.assert_stored(content, rig.upload(content))
    rig.product.wait_for(lambda: everything_is_back(rig))


def test_a_small_file_in_one_request_arrives(rig: Rig) -> None:
    """Sent from memory, and verified."""
    rig.run(**MEMORY)
    reply = rig.api.request("PUT", "/api/v1/files/report.bin", b"hello")
    assert reply.status == 201
    rig.assert_stored(b"hello", reply.json)
    rig.product.wait_for(lambda: everything_is_back(rig))


def test_drive_holds_what_is_acknowledged_and_half_a_window_at_most_is_sent_at_once(rig: Rig, path: Path) -> None:
    """What of a chunk goes with the file's end is the only exception."""
    rig.run(**MEMORY)
    content = path.read_bytes()
    view = rig.begin(content, chunk_size=CHUNK)
    for number in range(view["chunk_count"]):
        assert rig.api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK]).status == 204
        held = max((event.position or 0) for event in rig.drive.events if event.kind is Kind.HELD)
        assert held >= min((number + 1) * CHUNK, (len(content) - 1) // CHUNK * CHUNK)
    assert rig.ended(view["id"])["state"] == "completed"
    assert_one_whole_file(rig.drive, path)
    puts = [event for event in rig.drive.events if event.kind is Kind.PUT_STARTED and event.size]
    window = rig.product.server.staging.window_bytes
    assert all((event.size or 0) <= window // 2 for event in puts)


FAULTS: dict[str, list[Rule]] = {
    "429": [Rule("upload.put", Status(429), times=3)],
    "429 with Retry-After": [Rule("upload.start", Status(429, retry_after=1), times=1)],
    "403 rate": [Rule("upload.start", Status(403, "rateLimitExceeded"), times=2)],
    "503 storm": [Rule("any", Status(503), times=8)],
    "503 after all was taken": [Rule("upload.put", Status(503, when="after"), skip=1, times=1)],
    "503 after the file was made": [Rule("upload.finish", Status(503, when="after"), times=1)],
    "401": [Rule("upload.put", Status(401), skip=1, times=1)],
    "lost answer": [Rule("upload.put", LoseAnswer(), skip=2, times=2)],
    "lost final answer": [Rule("upload.finish", LoseAnswer(), times=1)],
    "lost session": [Rule("upload.start", LoseAnswer(), times=1)],
    "error in a 200": [Rule("upload.finish", ErrorIn200(when="after"), times=1)],
    "cut": [Rule("upload.put", CutAfter(512 * KIB), skip=1, times=2)],
    "cut at once": [Rule("upload.put", CutAfter(0), times=2)],
    "keeps less": [Rule("upload.put", CommitLess(512 * KIB), skip=1, times=3)],
    "404 at once": [Rule("upload.put", Expire(404), times=1)],
    "404": [Rule("upload.put", Expire(404), skip=6, times=1)],
    "410": [Rule("upload.put", Expire(410), skip=4, times=1)],
    "404 when asked": [Rule("upload.put", CutAfter(MIB), skip=3, times=1), Rule("upload.query", Expire(404), times=1)],
    "wrong digest once": [Rule("upload.finish", WrongDigest(), times=1)],
    "wrong digest twice": [Rule("upload.finish", WrongDigest(), times=2)],
}


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_drive_answers_exactly_one_whole_file_is_there(
    rig: Rig, path: Path, tmp_path: Path, fault: str
) -> None:
    """FAULTS.md rows 22 to 25: sent again from memory while it is there, asked for again when it is not."""
    rig.drive.script(FAULTS[fault])
    rig.run(**MEMORY)
    result = bring(rig.product.url, path, tmp_path / "state")
    assert_one_whole_file(rig.drive, path)
    assert result.stored.sha256 == rig.only_file().sha256
    rig.product.wait_for(lambda: everything_is_back(rig))


def test_a_destination_that_always_stores_other_bytes_fails_the_upload(rig: Rig, path: Path, tmp_path: Path) -> None:
    """After the third time, with a clear error, and nothing stays there."""
    rig.drive.script([Rule("upload.finish", WrongDigest())])
    rig.run(**MEMORY)
    with pytest.raises(UploadFailed):
        bring(rig.product.url, path, tmp_path / "state")
    assert not [file for file in rig.drive.files.values() if file.sha256]
    rig.product.wait_for(lambda: everything_is_back(rig))


@pytest.mark.usefixtures("looked_at_often")
def test_clients_wait_while_drive_is_full_and_memory_is_bounded(rig: Rig, path: Path, tmp_path: Path) -> None:
    """FAULTS 22: nothing is given up, and it goes on by itself."""
    rig.drive.set_storage_quota(4 * MIB)
    rig.run(**MEMORY)
    results: list[forebay.UploadResult] = []
    bringing = threading.Thread(target=lambda: results.append(bring(rig.product.url, path, tmp_path / "state")))
    bringing.start()
    rig.product.wait_for(lambda: any(live.problem is not None for live in rig.product.server.context.uploads.live))
    assert rig.product.server.staging.latest.reserved_bytes <= 2 * MIB
    rig.drive.set_storage_quota(None)
    bringing.join()
    assert_one_whole_file(rig.drive, path)
    rig.product.wait_for(lambda: everything_is_back(rig))


@pytest.mark.parametrize(
    "broken", [["upload.put"], ["upload.finish", "upload.query", "files.get"]], ids=lambda ops: ops[0]
)
def test_cancelling_while_drive_is_at_work_leaves_nothing(rig: Rig, path: Path, broken: list[str]) -> None:
    """Neither there nor here."""
    rig.drive.script([Rule(operation, Status(503, when="after")) for operation in broken])
    rig.run(**MEMORY)
    content = path.read_bytes()[: 3 * CHUNK]
    view = rig.begin(content, chunk_size=CHUNK)
    live = rig.product.server.context.uploads.under_way(view["id"])
    for number in range(3):
        with rig.product.client() as client:
            client.begin_chunk(view["id"], number, CHUNK, content[number * CHUNK : (number + 1) * CHUNK])
            rig.product.wait_for(lambda number=number: live.readable_prefix == (number + 1) * CHUNK)
    rig.problem(view["id"], "destination-unavailable")
    assert rig.api.cancel(view["id"]).status == 204
    rig.drive.script([])
    rig.product.wait_for(lambda: not rig.product.server.transfers.removals, 60)
    assert rig.api.upload(view["id"])["state"] == "cancelled"
    assert not [file for file in rig.drive.files.values() if file.sha256]
    rig.product.wait_for(lambda: everything_is_back(rig))


# -- lives of the server -------------------------------------------------------------------------------------------------


@pytest.fixture
def server(drive: DriveEmulator, start_server: Callable[..., ServerProcess], tmp_path: Path) -> ServerProcess:
    """A process that relays to Drive."""
    credentials = tmp_path / "google-drive.json"
    credentials.write_text(json.dumps(drive.authorized_user()))
    return start_server(
        tmp_path / "server",
        FOREBAY_DESTINATION="gdrive:",
        FOREBAY_GOOGLE_DRIVE_API_ROOT=drive.root,
        FOREBAY_GOOGLE_DRIVE_CREDENTIALS=str(credentials),
        PARALLEL_UPLOAD_STAGING="memory",
        PARALLEL_UPLOAD_MEMORY_STAGING_MB="8",
        PARALLEL_UPLOAD_MAX_CONCURRENT_USERS="4",
    )


PHASES: dict[str, Callable[[Event], bool]] = {
    "session asked for": lambda event: event.kind is Kind.REQUEST and event.operation == "upload.start",
    "session begun": lambda event: event.kind is Kind.SESSION_STARTED,
    "first bytes": lambda event: event.kind is Kind.HELD,
    "in the middle": lambda event: event.kind is Kind.HELD and (event.position or 0) > SIZE // 2,
    "the end asked for": lambda event: event.kind is Kind.PUT_STARTED and (event.position or 0) > 12 * MIB - 1,
    "the file is there": lambda event: event.kind is Kind.FILE_CREATED,
}


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_in_any_phase_ends_in_one_whole_file(
    drive: DriveEmulator, server: ServerProcess, path: Path, tmp_path: Path, phase: str
) -> None:
    """The client sends everything again, by itself; what became a file is found."""
    drive.set_latency(0.02)
    drive.set_rate(20 * MIB)

    def crash() -> None:
        drive.wait(PHASES[phase], timeout_s=60)
        server.kill()
        server.start()

    crashing = threading.Thread(target=crash)
    crashing.start()
    bring(server.url, path, tmp_path / "state")
    crashing.join()
    assert_one_whole_file(drive, path)
    assert server.stop() == 0


@pytest.mark.slow
def test_a_kill_a_storm_and_an_expired_session_on_one_file(
    drive: DriveEmulator, server: ServerProcess, path: Path, tmp_path: Path
) -> None:
    """It arrives once, verified."""
    drive.set_rate(10 * MIB)

    def trouble() -> None:
        drive.wait(lambda event: event.kind is Kind.HELD and (event.position or 0) > 4 * MIB, timeout_s=60)
        server.kill()
        drive.script([Rule("any", Status(503, retry_after=1), times=6)])
        seen = len(drive.events)
        server.start()
        drive.wait(lambda event: event.kind is Kind.HELD and (event.position or 0) > 5 * MIB, timeout_s=60, after=seen)
        assert drive.expire_sessions(410) >= 1

    troubling = threading.Thread(target=trouble)
    troubling.start()
    bring(server.url, path, tmp_path / "state")
    troubling.join()
    assert_one_whole_file(drive, path)


def test_the_session_of_an_earlier_life_is_cancelled_before_the_next_begins(
    drive: DriveEmulator, start_product: Callable[..., Any], tmp_path: Path, path: Path
) -> None:
    """Nothing of what Drive holds is believed, and nothing is left there."""
    credentials = tmp_path / "google-drive.json"
    credentials.write_text(json.dumps(drive.authorized_user()))
    settings = {
        **MEMORY,
        "destination": "gdrive:",
        "google_drive_api_root": drive.root,
        "google_drive_credentials": credentials,
    }
    content = path.read_bytes()[: 6 * CHUNK]
    product = start_product(tmp_path, **settings)
    with product.client() as api:
        view = api.create("report.bin", len(content), chunk_size=CHUNK)
        for number in range(3):
            assert api.put_chunk(view["id"], number, content[number * CHUNK : (number + 1) * CHUNK]).status == 204
    product.__exit__()
    product = start_product(tmp_path, **settings)
    assert product.server.context.uploads.under_way(view["id"]).row.state is UploadState.RECEIVING
    with product.client() as api:
        api.put_all(view, content)
        assert api.complete(view["id"]).json["state"] == "completed"
    asked = [event.operation for event in drive.events if event.kind is Kind.REQUEST]
    assert [name for name in asked if name in {"upload.start", "upload.cancel"}] == [
        "upload.start",
        "upload.cancel",
        "upload.start",
    ]
    assert [drive.content(file.id) for file in drive.files.values() if file.sha256] == [content]
