"""The nginx and the Caddy recipe, each run as a private process in front of a server that watches what arrives.

Only names, ports and paths of the recipe are replaced; what is tested is what operators copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from app.testing.ports import free_port

DEPLOY = Path(__file__).parents[1]
MIB = 1024 * 1024
PATIENCE_S = 20.0


# -- the server behind -----------------------------------------------------------------------------------------------


@dataclass
class Request:
    """One request as it arrived."""

    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body_bytes: int = 0
    body_began: asyncio.Event = field(default_factory=asyncio.Event)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]


class Upstream:
    """An HTTP/1.1 server that notes what arrives and when.

    `/events` sends one event for each `more`; `/refuse` answers without reading the body, and closes when that was `seen`.
    """

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Request] = asyncio.Queue()
        self.more: asyncio.Queue[bytes] = asyncio.Queue()
        self.seen = asyncio.Event()
        self.port = 0
        self._connections = 0
        self._serving: set[asyncio.Task[None]] = set()

    async def next(self) -> Request:
        """The next request whose headers have arrived."""
        return await asyncio.wait_for(self.requests.get(), PATIENCE_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            # Cancelled is only by `running`, at the end; asyncio's streams log a cancelled handler as an error (3.11).
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer(number, reader, writer):
                    pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        method, target, _ = head[0].split(" ")
        headers = [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in head[1:] if line)]
        request = Request(number, method, target, headers)
        await self.requests.put(request)
        if target == "/refuse":
            writer.write(b"HTTP/1.1 507 No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull")
            await self.seen.wait()  # closing at once would reset the connection; nothing of the body is read
            return False
        if request.all("upload-draft-interop-version"):
            writer.write(b"HTTP/1.1 104 Upload Resumption Supported\r\nLocation: /u\r\n\r\n")
            await writer.drain()
        await self._read_body(request, reader)
        if target == "/die":
            return False
        if target == "/events":
            await self._stream(writer)
            return False
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(str(request.body_bytes)))
        writer.write(str(request.body_bytes).encode())
        await writer.drain()
        return True

    async def _read_body(self, request: Request, reader: asyncio.StreamReader) -> None:
        for length in request.all("content-length"):
            left = int(length)
            while left:
                piece = await reader.read(min(left, 65_536))
                if not piece:
                    raise ConnectionResetError
                left -= len(piece)
                request.body_bytes += len(piece)
                request.body_began.set()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        while event := await self.more.get():
            writer.write(event)
            await writer.drain()


# -- the proxies -----------------------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """A running proxy."""

    port: int
    tls: ssl.SSLContext | None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to it, as a client makes one."""
        name = "upload.example.org" if self.tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, server_hostname=name)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@dataclass
class Recipe:
    """How a recipe becomes a private process."""

    name: str
    program: str
    package: str
    prepare: Callable[[Path, int, int], tuple[list[str], ssl.SSLContext | None]]


def replaced(text: str, *replacements: tuple[str, str]) -> str:
    """The recipe with names, ports and paths of this test; each must be there to be replaced."""
    for old, new in replacements:
        assert old in text, f"the recipe has no {old!r} any more"
        text = text.replace(old, new)
    return text


def prepare_nginx(folder: Path, port: int, upstream: int) -> tuple[list[str], ssl.SSLContext | None]:
    """The recipe as a file that a minimal nginx.conf includes, over TLS, as it stands."""
    authority = trustme.CA()
    certificate = authority.issue_cert("upload.example.org")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    recipe = replaced(
        (DEPLOY / "nginx.conf").read_text(encoding="utf-8"),
        ("/etc/letsencrypt/live/upload.example.org/fullchain.pem", str(folder / "both.pem")),
        ("/etc/letsencrypt/live/upload.example.org/privkey.pem", str(folder / "both.pem")),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
    )
    recipe = re.sub(r"\n +listen \[::\]:[0-9]+( ssl)?;", "", recipe)  # not every machine that tests has IPv6
    (folder / "recipe.conf").write_text(recipe, encoding="utf-8")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr warn;\n"
        + ("user root;\n" if os.geteuid() == 0 else "")
        + "events {}\nhttp {\naccess_log off;\n"
        + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        + f"include {folder}/recipe.conf;\n}}\n",
        encoding="utf-8",
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return ["-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")], context


def prepare_caddy(folder: Path, port: int, upstream: int) -> tuple[list[str], ssl.SSLContext | None]:
    """The recipe behind a plain address: the certificate that Caddy would fetch can't be had in a test."""
    recipe = replaced(
        (DEPLOY / "Caddyfile").read_text(encoding="utf-8"),
        ("upload.example.org {", f"http://upload.example.org:{port} {{"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}}\n{recipe}", encoding="utf-8")
    return ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"], None


RECIPES = [
    Recipe("nginx", "nginx", "nginx-light", prepare_nginx),
    Recipe("caddy", "caddy", "caddy", prepare_caddy),
]


async def listening(port: int, process: asyncio.subprocess.Process) -> None:
    """Return when the process takes connections."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    assert process.stderr is not None
    pytest.fail((await process.stderr.read()).decode())


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """The server behind."""
    server = Upstream()
    async with server.running():
        yield server


@pytest.fixture(params=RECIPES, ids=lambda recipe: recipe.name)
async def proxy(request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path) -> AsyncIterator[Proxy]:
    """Each recipe in turn."""
    recipe: Recipe = request.param
    program = shutil.which(recipe.program, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"needs {recipe.program}: apt-get install {recipe.package}")
    port = free_port()
    arguments, tls = recipe.prepare(tmp_path, port, upstream.port)
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env=os.environ | homes, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        await asyncio.wait_for(listening(port, process), PATIENCE_S)
        said = asyncio.create_task(process.stderr.read())
        yield Proxy(port, tls)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    await said


def head(method: str, target: str, *headers: str) -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: upload.example.org:8443", *headers, "", ""]).encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of an answer with a length."""
    text = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).decode("latin-1")
    length = re.search(r"(?im)^content-length: *([0-9]+)", text)
    body = await asyncio.wait_for(reader.readexactly(int(length[1]) if length else 0), PATIENCE_S)
    return int(text.split(" ")[1]), body


# -- what must hold --------------------------------------------------------------------------------------------------


async def test_a_body_is_handed_on_while_it_is_still_being_sent(proxy: Proxy, upstream: Upstream) -> None:
    """The second half is sent only after the first has arrived behind: a buffering proxy would wait for ever."""
    async with proxy.connection() as (reader, writer):
        writer.write(head("PUT", "/chunk", f"Content-Length: {2 * MIB}") + bytes(MIB))
        request = await upstream.next()
        await asyncio.wait_for(request.body_began.wait(), PATIENCE_S)
        writer.write(bytes(MIB))
        assert await answer(reader) == (200, str(2 * MIB).encode())


async def test_a_body_of_any_size_passes_with_its_length(proxy: Proxy, upstream: Upstream) -> None:
    """By itself nginx stops at 1 MiB; and a chunked body would cost the server its fast path."""
    size = 64 * MIB
    async with proxy.connection() as (reader, writer):
        writer.write(head("PUT", "/chunk", f"Content-Length: {size}"))
        for _ in range(size // MIB):
            writer.write(bytes(MIB))
            await writer.drain()
        assert await answer(reader) == (200, str(size).encode())
        request = await upstream.next()
        assert request.all("content-length") == [str(size)]
        assert request.all("transfer-encoding") == []


async def test_the_server_learns_the_real_client_whatever_it_claims(proxy: Proxy, upstream: Upstream) -> None:
    """Forged forwarding headers are overwritten; the name that was asked for is kept with its port."""
    async with proxy.connection() as (reader, writer):
        writer.write(head("GET", "/x", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: gopher"))
        await answer(reader)
        request = await upstream.next()
        assert request.all("x-forwarded-for") == ["127.0.0.1"]
        assert request.all("x-forwarded-proto") == ["https" if proxy.tls else "http"]
        assert request.all("host") == ["upload.example.org:8443"]


async def test_events_arrive_one_by_one(proxy: Proxy, upstream: Upstream) -> None:
    """The second is sent only after the first has been read."""
    async with proxy.connection() as (reader, writer):
        writer.write(head("GET", "/events", "Accept: text/event-stream"))
        for number in range(3):
            await upstream.more.put(b"event: progress\ndata: %d\n\n" % number)
            await asyncio.wait_for(reader.readuntil(b"data: %d\n\n" % number), PATIENCE_S)
        await upstream.more.put(b"")


async def test_connections_to_the_server_are_kept(proxy: Proxy, upstream: Upstream) -> None:
    """Chunk after chunk over one connection behind, in front and between."""
    async with proxy.connection() as (reader, writer):
        for _ in range(3):
            writer.write(head("PUT", "/chunk", "Content-Length: 3") + b"abc")
            assert await answer(reader) == (200, b"3")
        requests = [await upstream.next() for _ in range(3)]
        assert {request.connection for request in requests} == {1}
        assert requests[0].all("connection") in ([], ["keep-alive"])


async def test_a_refusal_reaches_the_client_while_it_sends_its_body(proxy: Proxy, upstream: Upstream) -> None:
    """The server reads none of 64 MiB, so most of it is still unsent when the answer is there."""
    sent = 0

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 64 * MIB:
            writer.write(bytes(MIB))
            await writer.drain()
            sent += MIB

    async with proxy.connection() as (reader, writer):
        writer.write(head("PUT", "/refuse", f"Content-Length: {64 * MIB}"))
        sending = asyncio.create_task(send(writer))
        assert await answer(reader) == (507, b"full")
        assert sent < 64 * MIB
        upstream.seen.set()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_chunk_is_not_sent_twice_when_the_server_dies_over_it(proxy: Proxy, upstream: Upstream) -> None:
    """The client hears of it and decides; a proxy that repeats could not know what was recorded."""
    async with proxy.connection() as (reader, writer):
        writer.write(head("PUT", "/die", "Content-Length: 3") + b"abc")
        assert (await answer(reader))[0] == 502
        assert upstream.requests.qsize() == 1


async def test_an_interim_response_passes_or_is_not_asked_for(proxy: Proxy, upstream: Upstream) -> None:
    """104 of the IETF's resumable uploads; a proxy that took it for the final response would not answer what follows."""
    async with proxy.connection() as (reader, writer):
        writer.write(head("PUT", "/file", "Content-Length: 3", "Upload-Draft-Interop-Version: 8"))
        if (await upstream.next()).all("upload-draft-interop-version"):
            assert await answer(reader) == (104, b"")
        writer.write(b"abc")
        assert await answer(reader) == (200, b"3")
        writer.write(head("GET", "/next"))
        assert await answer(reader) == (200, b"0")
