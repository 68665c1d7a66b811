"""The synchronous face, downloads, and questions."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_forebay import FakeForebay, MakeFile, drop_after, refuse

from forebay import AsyncClient, Client
from forebay.errors import FileUnusable, NotFound, StateConflict, VerificationFailed


async def in_thread(function: Callable, *args: object) -> Any:
    """Run a script's code beside the fake server's loop."""
    return await asyncio.to_thread(function, *args)


async def test_a_script_uploads_asks_and_cancels(fake: FakeForebay, state_dir: Path, make_file: MakeFile) -> None:
    """Every method of the sync face, once."""
    path = make_file(6_000_000)

    def script() -> tuple:
        events = []
        with Client(fake.url) as client:
            result = client.upload(path, progress=events.append)
            info = client.get(result.upload_id)
            listed = client.list()
            progress = client.progress(result.upload_id)
            status = client.status()
            fetched = path.with_name("back.bin")
            client.download(result.upload_id, fetched)
            client.cancel(result.upload_id)
            return events, result, info, listed, progress, status, fetched

    events, result, info, listed, progress, status, fetched = await in_thread(script)
    assert events
    assert info.state == "completed"
    assert [upload.id for upload in listed] == [result.upload_id]
    assert progress.progress_percent == 12.5
    assert status.sections["concurrency_manager"]["max_uploads"] == 20
    assert fetched.read_bytes() == path.read_bytes()
    assert fake.uploads[result.upload_id].state == "cancelled"


async def test_errors_come_out_of_the_sync_face(fake: FakeForebay, state_dir: Path) -> None:
    """Typed, as from the async one."""

    def script() -> None:
        with Client(fake.url) as client:
            client.get("unknown")

    with pytest.raises(NotFound):
        await in_thread(script)


def test_a_client_that_is_not_open_says_so(tmp_path: Path) -> None:
    """No hanging, no unawaited coroutine."""
    with pytest.raises(RuntimeError, match="not open"):
        Client("http://127.0.0.1:1").status()


INTERRUPTED = """
import asyncio, sys
from forebay import Client

async def others():
    return len(asyncio.all_tasks()) - 1

with Client(sys.argv[1]) as client:
    try:
        client.upload(sys.argv[2])
    except KeyboardInterrupt:
        print(asyncio.run_coroutine_threadsafe(others(), client._loop).result())
"""


async def test_an_interrupt_stops_the_work_before_it_is_raised(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile
) -> None:
    """Ctrl-C in a script: when it comes out, nothing of the upload runs any more."""
    reached = asyncio.Event()

    async def hold(request: web.Request) -> None:
        reached.set()
        await asyncio.Event().wait()

    fake.fault("POST", hold)
    script = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", INTERRUPTED, fake.url, str(make_file(6_000_000))),
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    await reached.wait()
    script.send_signal(signal.SIGINT)
    output, _ = await script.communicate()
    assert output.strip() == b"0"


@pytest.mark.parametrize("begun", [False, True])
async def test_an_interrupt_while_work_is_handed_over_stops_it_as_well(
    fake: FakeForebay, state_dir: Path, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Between the thread that calls and the one that works there is a moment."""
    path = make_file(6_000_000)

    async def hold(request: web.Request) -> None:
        await asyncio.Event().wait()

    async def others() -> int:
        return len(asyncio.all_tasks()) - 1

    def script() -> int:
        with Client(fake.url) as client:
            loop = client._loop
            assert loop is not None
            hand_over = loop.call_soon_threadsafe

            def interrupted(callback: Callable[[], None]) -> None:
                monkeypatch.undo()
                if begun:
                    hand_over(callback)
                raise KeyboardInterrupt

            monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
            with pytest.raises(KeyboardInterrupt):
                client.upload(path)
            return asyncio.run_coroutine_threadsafe(others(), loop).result()

    fake.fault("POST", hold)
    assert await in_thread(script) == 0


async def test_a_download_goes_on_where_the_line_broke(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """By Range; published only when whole."""
    path = make_file(3_000_000)
    result = await client.upload(path)
    target = path.with_name("back.bin")
    part = path.with_name("back.bin.forebay-part")
    part.write_bytes(path.read_bytes()[:1_000_000])
    stored = await client.download(result.upload_id, target)
    assert target.read_bytes() == path.read_bytes()
    assert stored.size == 3_000_000
    assert not part.exists()


async def test_a_download_that_is_not_what_was_stored_is_refused(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The wrong part is thrown away, and nothing is published."""
    path = make_file(1000)
    result = await client.upload(path)
    target, part = path.with_name("back.bin"), path.with_name("back.bin.forebay-part")
    part.write_bytes(b"wrong")
    with pytest.raises(VerificationFailed):
        await client.download(result.upload_id, target)
    assert not target.exists()
    assert not part.exists()


async def test_a_download_on_a_full_disk_says_so_at_once(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """It is not taken for a broken connection and tried for minutes."""
    path = make_file(1_000_000)
    result = await client.upload(path)
    target = path.with_name("back.bin")
    path.with_name("back.bin.forebay-part").symlink_to("/dev/full")
    with pytest.raises(FileUnusable, match="No space left"):
        await client.download(result.upload_id, target)


async def test_a_download_to_a_file_system_without_links_gets_its_name(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As exFAT answers link(2)."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = make_file(1000)
    result = await client.upload(path)
    target = path.with_name("back.bin")
    await client.download(result.upload_id, target)
    assert target.read_bytes() == path.read_bytes()
    assert not path.with_name("back.bin.forebay-part").exists()


async def test_a_download_never_overwrites(fake: FakeForebay, client: AsyncClient, make_file: MakeFile) -> None:
    """The name is taken."""
    path = make_file(1000)
    result = await client.upload(path)
    with pytest.raises(FileUnusable, match="exists"):
        await client.download(result.upload_id, path)


async def test_a_download_of_what_is_not_there_yet_says_so(
    fake: FakeForebay, client: AsyncClient, make_file: MakeFile
) -> None:
    """The upload is under way."""
    fake.fault(r"PUT .*/chunks/1", refuse(403, "forbidden"))
    path = make_file(6_000_000)
    with pytest.raises(Exception, match="forbidden"):
        await client.upload(path)
    with pytest.raises(StateConflict, match="receiving"):
        await client.download("u0", path.with_name("x"))


async def test_a_listing_follows_its_pages(fake: FakeForebay, client: AsyncClient, make_file: MakeFile) -> None:
    """The fake gives two at a time."""
    for number in range(5):
        await client.upload(make_file(10 + number, f"f{number}"))
    assert len(await client.list()) == 5
    assert len(await client.list(limit=3)) == 3


async def test_a_question_is_asked_again_when_the_line_breaks(fake: FakeForebay, client: AsyncClient) -> None:
    """A few seconds of patience."""
    fake.fault("GET .*upload-status", drop_after(0), times=2)
    assert (await client.status()).mode == "parallel"
