"""The server dies in every phase of a transfer, Drive misbehaves meanwhile: one file, whole, at the end.

A kill comes when Drive has seen something (its events), never after a time.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import forebay
from app.testing.drive_emulator import DriveEmulator, Event, Kind
from app.testing.drive_emulator.faults import Stall, Status
from app.testing.drive_emulator.script import Rule
from app.testing.server_process import ServerProcess

from .conftest import MIB

Start = Callable[..., ServerProcess]
SIZE = 12 * MIB + 4321
POLICY = forebay.RetryPolicy(patience_s=60, wait_initial_s=0.05, wait_max_s=0.5)

pytestmark = pytest.mark.slow


@pytest.fixture
def server(drive: DriveEmulator, start_server: Start, tmp_path: Path) -> ServerProcess:
    """A process that stores in Drive, in chunks of 1 MiB."""
    credentials = tmp_path / "google-drive.json"
    credentials.write_text(json.dumps(drive.authorized_user()))
    return start_server(
        tmp_path / "server",
        FOREBAY_DESTINATION="gdrive:",
        FOREBAY_GOOGLE_DRIVE_API_ROOT=drive.root,
        FOREBAY_GOOGLE_DRIVE_CREDENTIALS=str(credentials),
        PARALLEL_UPLOAD_CHUNK_SIZE_MB="1",
    )


def bring(server: ServerProcess, path: Path, state: Path) -> forebay.UploadResult:
    """Upload with the real client, however often the server dies."""
    with forebay.Client(server.url, state_dir=state, policy=POLICY) as client:
        return client.upload(path)


def assert_one_whole_file(drive: DriveEmulator, result: forebay.UploadResult, content: bytes) -> None:
    """Exactly once, these bytes, and no rule of Drive's was broken."""
    files = [file for file in drive.files.values() if file.sha256]
    assert [drive.content(file.id) == content for file in files] == [True]
    assert result.stored.sha256 == files[0].sha256
    assert not list(drive.events.violations)


PHASES: dict[str, Callable[[Event], bool]] = {
    "before the session": lambda event: event.kind is Kind.REQUEST and event.operation == "files.list",
    "session asked for": lambda event: event.kind is Kind.REQUEST and event.operation == "upload.start",
    "session begun": lambda event: event.kind is Kind.SESSION_STARTED,
    "first bytes": lambda event: event.kind is Kind.HELD,
    "in the middle": lambda event: event.kind is Kind.HELD and (event.position or 0) > SIZE // 2,
    "all but the end": lambda event: event.kind is Kind.PUT_ENDED,
    "the end asked for": lambda event: event.kind is Kind.PUT_STARTED and (event.position or 0) > 12 * MIB - 1,
    "the file is there": lambda event: event.kind is Kind.FILE_CREATED,
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_in_any_phase_ends_in_one_whole_file(
    drive: DriveEmulator, server: ServerProcess, tmp_path: Path, phase: str
) -> None:
    """The transfer goes on where Drive says it stands; what was about to be created twice is found."""
    content = os.urandom(SIZE)
    path = tmp_path / "report.bin"
    path.write_bytes(content)
    drive.set_latency(0.02)
    drive.set_rate(20 * MIB)

    def crash() -> None:
        drive.wait(PHASES[phase], timeout_s=60)
        server.kill()
        server.start()

    crashing = threading.Thread(target=crash)
    crashing.start()
    result = bring(server, path, tmp_path / "state")
    crashing.join()
    assert_one_whole_file(drive, result, content)
    assert server.stop() == 0


def test_a_kill_a_storm_and_an_expired_session_on_one_file(
    drive: DriveEmulator, server: ServerProcess, tmp_path: Path
) -> None:
    """What the product is judged by: it arrives once, verified."""
    content = os.urandom(2 * SIZE)
    path = tmp_path / "report.bin"
    path.write_bytes(content)
    drive.set_rate(10 * MIB)

    def trouble() -> None:
        drive.wait(lambda event: event.kind is Kind.HELD and (event.position or 0) > 4 * MIB, timeout_s=60)
        server.kill()
        drive.script([Rule("any", Status(503, retry_after=1), times=6)])
        server.start()
        began = len(drive.events.of(Kind.SESSION_EXPIRED))
        drive.wait(lambda event: event.kind is Kind.HELD and (event.position or 0) > 12 * MIB, timeout_s=60)
        assert drive.expire_sessions(410) == 1
        assert len(drive.events.of(Kind.SESSION_EXPIRED)) == began + 1

    troubling = threading.Thread(target=trouble)
    troubling.start()
    result = bring(server, path, tmp_path / "state")
    troubling.join()
    assert_one_whole_file(drive, result, content)


def test_a_cancelled_upload_is_removed_by_the_next_life(
    drive: DriveEmulator, server: ServerProcess, tmp_path: Path
) -> None:
    """Drive has the whole file and does not answer; the upload is cancelled; the server dies; nothing stays in Drive."""
    path = tmp_path / "report.bin"
    path.write_bytes(os.urandom(MIB))
    broken = ("upload.query", "upload.cancel", "files.get", "files.delete", "files.update", "files.list")
    drive.script(
        [
            Rule("upload.finish", Status(503, when="after")),
            *(Rule(operation, Status(503), skip=2 if operation == "files.list" else 0) for operation in broken),
        ]
    )
    with forebay.Client(server.url, state_dir=tmp_path / "state") as client:
        refused: list[forebay.ForebayError] = []

        def send() -> None:
            try:
                client.upload(path)
            except forebay.ForebayError as exc:
                refused.append(exc)

        sending = threading.Thread(target=send)
        sending.start()
        drive.wait(lambda event: event.kind is Kind.FILE_CREATED, timeout_s=60)
        (upload,) = client.list()
        client.cancel(upload.id)
        sending.join()
        assert refused
    server.kill()
    drive.script([])
    server.start()
    drive.wait(lambda event: event.kind is Kind.FILE_DELETED, timeout_s=60)
    assert not [file for file in drive.files.values() if file.sha256]
    with forebay.Client(server.url, state_dir=tmp_path / "state") as client:
        assert client.get(upload.id).state == "cancelled"


def test_a_spool_that_is_gone_makes_no_second_file(drive: DriveEmulator, server: ServerProcess, tmp_path: Path) -> None:
    """Drive has the file, nobody was told, the server died and lost its disk: the client sends again, and it is found."""
    content = os.urandom(2 * MIB + 1)
    path = tmp_path / "report.bin"
    path.write_bytes(content)
    silent = [Rule(operation, Status(503)) for operation in ("upload.query", "files.get")]
    drive.script([Rule("upload.finish", Status(503, when="after")), *silent])
    results: list[forebay.UploadResult] = []
    sending = threading.Thread(target=lambda: results.append(bring(server, path, tmp_path / "state")))
    sending.start()
    drive.wait(lambda event: event.kind is Kind.FILE_CREATED, timeout_s=60)
    server.kill()
    for staged in (server.directory / "var" / "spool").iterdir():
        staged.unlink()
    drive.script([])
    server.start()
    sending.join()
    assert_one_whole_file(drive, results[0], content)


@pytest.mark.parametrize("puts", [0, 1], ids=["on the way", "at the end"])
def test_sigterm_while_drive_stalls_ends_in_time_and_goes_on_later(
    drive: DriveEmulator, server: ServerProcess, tmp_path: Path, puts: int
) -> None:
    """A Drive that does not answer keeps no server from stopping."""
    content = os.urandom(2 * MIB + 1)
    path = tmp_path / "report.bin"
    path.write_bytes(content)
    drive.script([Rule("upload.put", Stall(600), skip=puts, times=1)])
    results: list[forebay.UploadResult] = []
    sending = threading.Thread(target=lambda: results.append(bring(server, path, tmp_path / "state")))
    sending.start()
    drive.wait(lambda event: event.kind is Kind.FAULT, timeout_s=60)
    assert server.stop() == 0
    server.start()
    sending.join()
    files = [file for file in drive.files.values() if file.sha256]
    assert [(file.sha256, drive.content(file.id)) for file in files] == [(results[0].stored.sha256, content)]
