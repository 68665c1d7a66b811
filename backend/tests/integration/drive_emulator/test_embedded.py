"""The emulator on the test's own loop and in a thread, over TLS, and its waits."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.testing.drive_emulator import UNIT_BYTES, DriveEmulator, Kind, Options, State

U = UNIT_BYTES


async def test_it_runs_on_the_callers_loop(connect: Any, data: bytes) -> None:
    """And everything that a test can tell it works there."""
    async with DriveEmulator() as drive:
        raw = connect(drive)
        folder = drive.add_folder("box")
        uri = await raw.begin(parents=[folder])
        assert drive.expire_sessions() == 1
        assert (await raw.put(uri, data)).status == 404
        done = await raw.put(await raw.begin(parents=[folder]), data)
        event = await drive.wait_for(lambda event: event.kind is Kind.FILE_CREATED)
        assert event.file_id == done.json()["id"]
        assert drive.sessions[(event.session or 0) - 1].state is State.COMPLETE


async def test_it_ends_while_bodies_come(connect: Any) -> None:
    """At once, and its folder is gone."""

    async def endless() -> Any:
        yield bytes(U)
        await asyncio.Event().wait()

    drive = DriveEmulator()
    async with drive:
        raw = connect(drive)
        put = asyncio.create_task(raw.put(await raw.begin(), endless(), "0-*/*"))
        held = await drive.wait_for(lambda event: event.kind is Kind.HELD)
        assert held.position == U
        folder = drive.sessions[0].content.path.parent
        assert folder.exists()
    with pytest.raises(aiohttp.ClientError):
        await put
    assert not folder.exists()


async def test_a_wait_finds_what_was_and_what_comes(drive: DriveEmulator) -> None:
    """From any thread and loop; and gives up."""
    drive.call(lambda: drive.events.append(Kind.TOKEN, detail="one"))
    assert (await drive.wait_for(lambda event: event.detail == "one")).number == 1
    assert drive.wait(lambda event: event.detail == "one").number == 1
    later = asyncio.create_task(drive.wait_for(lambda event: event.detail == "two", after=1))
    blocking = asyncio.create_task(asyncio.to_thread(drive.wait, lambda event: event.detail == "two"))
    await asyncio.sleep(0)
    await asyncio.to_thread(drive.call, lambda: drive.events.append(Kind.TOKEN, detail="two"))
    assert [(await task).number for task in (later, blocking)] == [2, 2]
    with pytest.raises(TimeoutError):
        await drive.wait_for(lambda event: event.detail == "one", after=1, timeout_s=0.01)
    with pytest.raises(TimeoutError):
        drive.wait(lambda event: event.detail == "three", timeout_s=0.01)
    assert len(drive.events) == 2


async def test_old_events_go(drive: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers stay."""
    monkeypatch.setattr("app.testing.drive_emulator.events._KEPT_AT_MOST", 10)
    for _ in range(11):
        drive.events.append(Kind.TOKEN)
    assert [event.number for event in drive.events] == [6, 7, 8, 9, 10, 11]
    assert [event.number for event in drive.events.after(9)] == [10, 11]
    assert len(drive.events.after(2)) == 6


def test_a_thread_that_cannot_start_says_why(drive: DriveEmulator) -> None:
    """The port is taken."""
    with pytest.raises(OSError, match="address already in use"), DriveEmulator.in_thread(Options(port=drive.port)):
        pytest.fail("two on one port")
    assert [thread.name for thread in threading.enumerate()].count("drive-emulator") == 1


def test_it_does_not_run_before_it_is_entered() -> None:
    """There is no address then."""
    drive = DriveEmulator(Options(discard=True))
    with pytest.raises(RuntimeError, match="does not run"):
        _ = drive.root


async def test_it_speaks_tls(start_drive: Any, connect: Any, tmp_path: Path, data: bytes) -> None:
    """And says so in its addresses."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    drive = start_drive(tls=(certificate, key))
    context = ssl.create_default_context(cafile=str(certificate))
    raw = connect(drive)
    headers = {"Authorization": f"Bearer {raw.token}"}
    begun = await raw.ask("POST", "/upload/drive/v3/files?uploadType=resumable", ssl=context, headers=headers)
    uri = begun.headers["Location"]
    assert uri.startswith("https://127.0.0.1:")
    done = await raw.ask("PUT", uri, data=data[: 2 * U], ssl=context)
    assert drive.content(done.json()["id"]) == data[: 2 * U]


async def test_memory_stays_bounded_under_a_slow_disk(drive: DriveEmulator, connect: Any, monkeypatch: Any) -> None:
    """A body that comes faster than it can be written waits in the socket, not here."""
    raw, gate, written = connect(drive), threading.Event(), []
    pwrite = os.pwrite

    def slowly(file: int, piece: Any, offset: int) -> int:
        gate.wait(10)
        written.append(len(piece))
        return pwrite(file, piece, offset)

    monkeypatch.setattr("app.testing.drive_emulator.content.os.pwrite", slowly)
    sent = 0

    async def body() -> Any:
        nonlocal sent
        for _ in range(256):
            yield bytes(U)
            sent += U

    uri = await raw.begin()
    put = asyncio.create_task(raw.put(uri, body(), "0-*/*"))
    before = -1
    while sent != before:  # until nothing moves any more
        before = sent
        await asyncio.sleep(0.1)
    assert sent < 64 * U
    gate.set()
    assert (await put).status == 200
    assert sum(written) == sent == 256 * U
