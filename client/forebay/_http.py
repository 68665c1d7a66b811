"""One request, one answer: aiohttp on this side, values and our errors on the other. Nothing is retried here.

Laws: an aiohttp exception never leaves this module; the token goes into one header of requests to the given server and
nowhere else (redirects are not followed); a request on which nothing moves for `stall_s`, in either direction, is given
up. aiohttp's own silent repetition of a PUT on a stale connection is turned off for bodies (`FileBody.consumed`): the
server may have taken the chunk, so it is asked first. Of what `on_piece` has told little is still here: the kernel is
given only so much more than it sends.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import AddrInfoType
from aiohttp.http import HttpProcessingError
from yarl import URL

from forebay._crc import content_digest
from forebay._retry import parse_retry_after
from forebay._source import PIECE_BYTES, SourceFile
from forebay.errors import ConnectionFailed, ForebayError, UnexpectedAnswer, Untrusted, refusal

__all__ = ["Api", "FileBody", "server_url"]

_API = "api/v1"
_CONNECT_S = 10.0
_KEEPALIVE_S = 10.0  # a server closes after 15 s: what is taken for a request must not be about to be closed
_UNSENT_BYTES = 512 * 1024  # of TCP_NOTSENT_LOWAT (tcp(7)): more would say "sent" early, less costs on a fast network
_ERROR_BODY_BYTES = 64 * 1024
_EVENTS_TYPE = "text/event-stream"
_PROBLEM_TYPES = ("application/problem+json", "application/json")


def server_url(text: str) -> URL:
    """The server's address, checked.

    Raises:
        ValueError: it is not an http or https address, or carries a name, password, query or fragment.
    """
    try:
        url = URL(text.strip())
    except ValueError as exc:
        raise ValueError(f"The server's address can't be read: {exc}.") from exc
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"The server's address must start with http:// or https:// and name a host, unlike {text!r}.")
    if url.user is not None or url.password is not None:
        raise ValueError("The server's address must carry no name or password; the token goes into FOREBAY_TOKEN.")
    if url.query_string or url.fragment:
        raise ValueError("The server's address must carry no query or fragment.")
    return url if url.path.endswith("/") else url.with_path(url.path + "/")


def _socket(address: AddrInfoType) -> socket.socket:
    """For a connection to that address."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    with suppress(AttributeError, OSError):  # not every system has it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    return sock


class FileBody(payload.Payload):
    """A range of the file as a request body: read piece by piece as the socket takes it."""

    def __init__(
        self, source: SourceFile, offset: int, length: int, media_type: str, on_piece: Callable[[int], None]
    ) -> None:
        super().__init__(None, content_type=media_type)
        self._source = source
        self._offset = offset
        self._size = length
        self._on_piece = on_piece
        self.on_move: Callable[[], None] | None = None
        self.failure: ForebayError | None = None  # why the file could not be read; aiohttp reports a broken connection

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refused: a file's bytes are no text.

        Raises:
            TypeError: always.
        """
        del encoding, errors
        raise TypeError("the body is a file")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write all of it, or less where `content_length` says so."""
        self._consumed = True
        length = self._size or 0
        end = self._offset + (length if content_length is None else min(length, content_length))
        position = self._offset
        while position < end:
            try:
                piece = await self._source.piece(position, min(PIECE_BYTES, end - position))
            except ForebayError as exc:
                self.failure = exc
                raise
            await writer.write(piece)
            position += len(piece)
            self._on_piece(len(piece))
            if self.on_move is not None:
                self.on_move()


class Api:
    """The server's HTTP API. Use as an async context manager."""

    def __init__(self, server: URL, token: str | None, *, stall_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._root = server.joinpath(_API)
        self._token = token
        self._stall_s = stall_s
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool of connections."""
        headers = {"User-Agent": f"forebay/{version('forebay')}", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # lanes are counted by those who send
                keepalive_timeout=_KEEPALIVE_S,
                socket_factory=_socket,
                ssl=True if self._tls is None else self._tls,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self._stall_s),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, *path: str, **query: str | int) -> dict[str, Any]:
        """GET a JSON object; raises what `request` does."""
        async with self.request("GET", *path, query=query) as answer:
            return await self._object(answer)

    async def post(self, *path: str, body: Mapping[str, object], key: str) -> dict[str, Any]:
        """POST a JSON object with an Idempotency-Key; raises what `request` does."""
        async with self.request("POST", *path, headers={"Idempotency-Key": key}, body=dict(body)) as answer:
            return await self._object(answer)

    async def delete(self, *path: str) -> None:
        """DELETE; raises what `request` does."""
        async with self.request("DELETE", *path):
            pass

    async def put_range(
        self,
        *path: str,
        source: SourceFile,
        offset: int,
        length: int,
        crc32c: int,
        on_piece: Callable[[int], None],
        media_type: str = "application/octet-stream",
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> dict[str, Any] | None:
        """PUT a range of the file with its digest; gives the JSON object of the answer, None where it has no body.

        Raises:
            FileUnusable: the file can't be read; and what `request` raises.
        """
        headers = {"Content-Digest": content_digest(crc32c)}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = FileBody(source, offset, length, media_type, on_piece)
        async with self.request("PUT", *path, query=query, headers=headers, body=body) as answer:
            return None if answer.status == HTTPStatus.NO_CONTENT else await self._object(answer)

    async def events(self, *path: str) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """GET a stream of Server-Sent Events (HTML Standard, section 9.2.6): the name and the JSON object of each.

        Raises:
            UnexpectedAnswer: this is no such stream; and what `request` raises.
        """
        async with self.request("GET", *path, headers={"Accept": _EVENTS_TYPE}) as answer:
            if answer.content_type != _EVENTS_TYPE:
                raise self._no_forebay(answer)
            name, data = "", ""
            try:
                async for line in answer.content:
                    field, _, value = line.decode().rstrip("\r\n").partition(":")
                    if field == "event":
                        name = value.strip()
                    elif field == "data":
                        data += value
                    elif not field and not value:  # a blank line ends an event, ": …" is a comment
                        if data:
                            yield name, self._parsed(answer, data)
                        name, data = "", ""
            except (UnicodeDecodeError, HttpProcessingError) as exc:  # aiohttp's is of a line without end
                raise self._no_forebay(answer) from exc

    @asynccontextmanager
    async def request(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: FileBody | dict[str, object] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send, and give the answer if it is a success.

        Args:
            method: HTTP method.
            path: segments below /api/v1, quoted here.
            query: parameters.
            headers: further ones.
            body: a range of the file, or what becomes JSON.

        Raises:
            Refused: the server said no; the class follows its problem document.
            ConnectionFailed: no answer, or half of one.
            Untrusted: TLS could not be established.
            UnexpectedAnswer: this is no Forebay server.
        """
        session = self._session
        if session is None:
            raise RuntimeError("the client is not open: use it in a `with` block")
        try:
            async with asyncio.timeout(self._stall_s) as stall:
                if isinstance(body, FileBody):
                    body.on_move = lambda: stall.reschedule(asyncio.get_running_loop().time() + self._stall_s)
                answer = await session.request(
                    method,
                    URL(f"{self._root}/{'/'.join(quote(segment, safe='') for segment in path)}", encoded=True),
                    params=query,
                    headers=headers,
                    data=body if isinstance(body, FileBody) else None,
                    json=None if isinstance(body, FileBody) else body,
                    allow_redirects=False,
                )
            async with answer:
                if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise await self._refusal(answer)
                yield answer
        except (aiohttp.ClientError, OSError) as exc:
            if isinstance(body, FileBody) and body.failure is not None:
                raise body.failure from exc
            raise self._translated(exc) from exc

    def _translated(self, error: Exception) -> ForebayError:
        origin = self._root.origin()
        if isinstance(error, aiohttp.ClientSSLError):
            return Untrusted(
                f"No trusted connection to {origin}: {error}. Check the address and the clock; for a certificate of "
                "your own, point SSL_CERT_FILE to its authority."
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return ConnectionFailed(f"The name {origin.host} is not known. Check the server's address.")
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            return ConnectionFailed(f"{origin} can't be reached: {reason}. Is the server running?")
        if isinstance(error, TimeoutError):
            return ConnectionFailed(
                f"{origin} does not answer: nothing moved for {self._stall_s:.0f} s.", code="stalled"
            )
        if isinstance(error, aiohttp.ClientResponseError):
            return UnexpectedAnswer(f"{origin} does not speak HTTP as a Forebay server does: {error.message}.")
        return ConnectionFailed(f"The connection to {origin} broke: {error or type(error).__name__}.")

    async def _refusal(self, answer: aiohttp.ClientResponse) -> ForebayError:
        if answer.status < HTTPStatus.BAD_REQUEST:
            target = answer.headers.get("Location", "elsewhere")
            return UnexpectedAnswer(f"{self._root.origin()} redirects to {target}: give that server's address instead.")
        document: object = None
        if answer.content_type in _PROBLEM_TYPES:
            with suppress(ValueError):
                document = json.loads(await answer.content.read(_ERROR_BODY_BYTES))
        if not isinstance(document, dict):
            if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                return UnexpectedAnswer(f"There is no Forebay server at {self._root.parent.parent}: check the address.")
            document = {}
        return refusal(answer.status, document, retry_after=parse_retry_after(answer.headers.get("Retry-After")))

    async def _object(self, answer: aiohttp.ClientResponse) -> dict[str, Any]:
        return self._parsed(answer, await answer.read())

    @classmethod
    def _parsed(cls, answer: aiohttp.ClientResponse, raw: str | bytes) -> dict[str, Any]:
        try:
            data = json.loads(raw)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise cls._no_forebay(answer)
        return data

    @staticmethod
    def _no_forebay(answer: aiohttp.ClientResponse) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"{answer.url.origin()} answered something that no Forebay server does: check the address."
        )
