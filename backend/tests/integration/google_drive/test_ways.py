"""What is between us and Drive: proxies, redirections, and answers that are not what was asked for."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme

from app.core.errors import DestinationUnavailable, ForebayError
from app.core.upload import NameConflictPolicy
from app.destinations.google_drive.destination import GoogleDriveDestination
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.port import Target
from app.testing.destination_contract import read_back, store
from app.testing.drive_emulator import DriveEmulator, Options

from .conftest import UNIT, Rig, Tokens


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server on a port of its own, until the block ends."""
    async with asyncio.TaskGroup() as connections:

        async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await serve(reader, writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

        server = await asyncio.start_server(
            lambda reader, writer: connections.create_task(serve_and_close(reader, writer)), "127.0.0.1", 0
        )
        async with server:
            yield server.sockets[0].getsockname()[1]


async def test_the_environments_proxy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the long PUT and for reading: all of it goes through a tunnel (RFC 9110 section 9.3.6)."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    asked: list[bytes] = []

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]
        asked.append(line)
        host, _, port = line.split()[1].decode().rpartition(":")
        there, sink = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        async with asyncio.TaskGroup() as both:
            both.create_task(copy(reader, sink))
            both.create_task(copy(there, writer))
        with suppress(OSError):
            await sink.wait_closed()

    context = ssl.create_default_context()
    authority.configure_trust(context)
    data = os.urandom(5 * UNIT + 7)
    with DriveEmulator.in_thread(Options(tls=(chain, key))) as drive:
        async with listening(tunnel) as port:
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            destination = GoogleDriveDestination(
                "",
                options=GoogleDriveOptions(drive.root, tmp_path / "login", tmp_path / "key"),
                tokens=Tokens(drive, ("https://www.googleapis.com/auth/drive",)),
                tls=context,
            )
            target = Target("u", "", "a.bin", "text/plain", len(data), NameConflictPolicy.RENAME)
            stored = await store(destination, target, data)
            assert await read_back(destination, stored.id, 0, len(data)) == data
            await destination.aclose()
    assert asked
    assert {line.split()[0] for line in asked} == {b"CONNECT"}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", ""),
        (
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc",
            "another part",
        ),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc", "another part"),
        (
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-4/9\r\nContent-Length: 2\r\n\r\nab",
            "another part",
        ),
        (
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-5/10\r\nContent-Length: 3\r\n\r\nabc",
            "another size",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcdefghi", "something else"),
        (b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n", "another size"),
    ],
    ids=["redirection", "another range", "no range", "less", "another size", "all of it", "no such range"],
)
async def test_a_download_is_what_was_asked_for(
    start_rig: Callable[..., Rig], rig: Rig, answer: bytes, why: str
) -> None:
    """No redirection is followed with the login's token, and no other part of the file is taken for the one asked for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(serve) as port:
        other = start_rig(drive=rig.drive, root=f"http://127.0.0.1:{port}")
        with pytest.raises(ForebayError) as caught:
            await read_back(other.destination, "a" * 33, 3, 6, size=9)
        assert why in caught.value.detail
        assert caught.value.status >= 500


_ERROR = b'{"error": {"code": 500, "message": "Backend Error", "errors": [{"reason": "backendError"}]}}'


@pytest.mark.parametrize(
    ("body", "size", "why"),
    [(b"abcdefghi", 9, None), (b"abcdefghi", 10, "another size"), (_ERROR, 9, "busy"), (_ERROR, len(_ERROR), "busy")],
    ids=["the file", "another size", "an error", "an error of the file's size"],
)
async def test_of_a_server_without_ranges_only_the_file_is_taken(
    start_rig: Callable[..., Rig], rig: Rig, body: bytes, size: int, why: str | None
) -> None:
    """All of it, when it is as large as what was stored, and no error object that came with a 200."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async with listening(serve) as port:
        other = start_rig(drive=rig.drive, root=f"http://127.0.0.1:{port}")
        if why is None:
            assert await read_back(other.destination, "a" * 33, 0, 4, size=size) == body[:4]
            return
        with pytest.raises(DestinationUnavailable, match=why):
            await read_back(other.destination, "a" * 33, 0, 4, size=size)
