"""Requests to Google Drive: the one place where they are made.

Laws:
- One connection pool, made by the first request on the running event loop; TLS is verified; redirects are not followed.
  The environment's proxies are used (`HTTPS_PROXY`, `NO_PROXY`), as OAuth's requests use them.
- The access token goes to the API's own origin only. A 401 is answered with one fresh token: the request is made again
  where its body can be sent again, else it has failed for the moment; nothing else is tried twice here.
- What aiohttp raises is translated outside of the `except`, so that no exception with an address in it is chained to ours.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import structlog
from aiohttp.payload import Payload
from yarl import URL

from app.core.errors import (
    DestinationLoginLost,
    DestinationRefused,
    DestinationRefusedUpload,
    DestinationUnavailable,
)
from app.core.upload import KIB
from app.destinations.google_drive.faults import Refusal, error_for, refusal_in, unreachable
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.google_drive.tokens import TokenSource

__all__ = ["BROKEN", "Answer", "DriveApi", "Timeouts"]

log = structlog.get_logger(__name__)

BROKEN: Final = (aiohttp.ClientError, OSError, ssl.SSLError, asyncio.IncompleteReadError, EOFError)
"""What a connection that fails raises; `TimeoutError` is an `OSError`."""

_READ_BYTES: Final = 256 * KIB  # of a download, buffered
_LONGEST_ANSWER_BYTES: Final = 8 << 20  # a page of 1,000 files with all that is asked for is far below


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds without progress; a request as a whole may take as long as it needs."""

    connect_s: float = 10.0
    answer_s: float = 60.0
    """For the answer to begin, once all is sent, and between its pieces."""
    stall_s: float = 60.0
    """For a peer that takes nothing of what is being sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # may hold a session URI
    body: bytes = field(repr=False)

    @property
    def refusal(self) -> Refusal | None:
        """Why it is an error, if it is one."""
        return refusal_in(self.status, self.headers, self.body)

    def value(self) -> dict[str, Any]:
        """The object in the body; empty where there is none.

        Raises:
            DestinationUnavailable: the body is something else.
        """
        if not self.body.strip():
            return {}
        try:
            said = json.loads(self.body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise DestinationUnavailable("Google Drive's answer can't be read. What was received is kept.")
        return said


class DriveApi:
    """A client of the API. Event loop only."""

    def __init__(
        self,
        options: GoogleDriveOptions,
        tokens: TokenSource,
        *,
        timeouts: Timeouts,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Keep what it works with; nothing is opened yet.

        Args:
            options: where the API is.
            tokens: access tokens.
            timeouts: how long to wait.
            tls: what to trust instead of the system's certificate authorities.
        """
        self.options = options
        self.timeouts = timeouts
        self.login_ok: bool | None = None
        """As far as the last answers tell; None before there were any."""
        self._tokens = tokens
        self._tls = tls
        self._origin = URL(options.api_root).origin()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> Answer:
        """A call of the API proper.

        Args:
            method: of HTTP.
            path: below the API's address, quoted.
            params: of the query.
            body: sent as JSON.
            accept: statuses that are no error here.

        Raises:
            DestinationUnavailable, DestinationFull: as `error_for` says.
        """
        url = URL(f"{self.options.api_url}{path}", encoded=True)
        answer = await self.send(method, url.with_query(params or {}), json_body=body)
        self.judge(answer, accept=accept)
        return answer

    def judge(self, answer: Answer, *, accept: frozenset[int] = frozenset()) -> None:
        """Raise what an answer says is wrong, unless its status is to be accepted."""
        if answer.status in accept:
            return
        refusal = answer.refusal
        if refusal is None and answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            refusal = Refusal(HTTPStatus.BAD_GATEWAY)  # a redirection: somebody is between us and the API
        if refusal is not None:
            error = error_for(refusal)
            self.login_ok = not isinstance(error, DestinationLoginLost)
            if isinstance(error, (DestinationRefused, DestinationRefusedUpload)):  # for the operator; clients get ours
                log.warning(
                    "Google Drive refuses", status=refusal.status, reasons=refusal.reasons, said=refusal.message[:500]
                )
            raise error

    async def send(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        json_body: Mapping[str, object] | None = None,
        stream: Payload | None = None,
    ) -> Answer:
        """One request, whatever the answer's status.

        Args:
            method: of HTTP.
            url: absolute; used as it is.
            headers: further ones.
            json_body: sent as JSON.
            stream: the body, instead; it can't be sent again.

        Raises:
            DestinationUnavailable: there is no answer.
            DestinationLoginLost: there is no login.
        """
        authorized = url.origin() == self._origin
        token = await self._token(None) if authorized else None
        answer = await self._ask(method, url, self._headers(headers, token), json_body, stream)
        if answer.status == HTTPStatus.UNAUTHORIZED and token is not None:
            token = await self._token(token)
            if stream is not None:  # what comes next has the new one; whether the login holds is not known yet
                raise DestinationUnavailable(
                    "Google Drive asked for a new access token. What was received is kept, and sent again with one."
                )
            answer = await self._ask(method, url, self._headers(headers, token), json_body, stream)
        return answer

    async def _token(self, refused: str | None) -> str:
        try:
            return await self._tokens.token(refused=refused)
        except DestinationLoginLost:
            self.login_ok = False
            raise

    @staticmethod
    def _headers(headers: Mapping[str, str] | None, token: str | None) -> dict[str, str]:
        made = dict(headers or {})
        if token is not None:
            made["Authorization"] = f"Bearer {token}"
        return made

    async def _ask(
        self,
        method: str,
        url: URL,
        headers: dict[str, str],
        json_body: Mapping[str, object] | None,
        stream: Payload | None,
    ) -> Answer:
        data: bytes | Payload | None = stream
        if json_body is not None:
            data = json.dumps(json_body, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json; charset=UTF-8"
        try:
            async with self.http.request(method, url, headers=headers, data=data, allow_redirects=False) as response:
                answer = Answer(response.status, response.headers, await _read(response))
        except BROKEN as exc:
            broken = unreachable(exc)
        else:
            if answer.status < HTTPStatus.BAD_REQUEST:
                self.login_ok = True
            return answer
        raise broken

    async def download(
        self, path: str, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Begin to read a content; the caller closes the response. Raises what aiohttp raises (see `BROKEN`)."""
        url = URL(f"{self.options.api_url}{path}", encoded=True).with_query(params)
        token = await self._token(None)
        response = await self._get(url, headers, token)
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.close()
            response = await self._get(url, headers, await self._token(token))
        return response

    async def _get(self, url: URL, headers: Mapping[str, str], token: str) -> aiohttp.ClientResponse:
        return await self.http.get(url, headers=self._headers(headers, token), allow_redirects=False)

    async def read_answer(self, response: aiohttp.ClientResponse) -> Answer:
        """All of a response that is no content. Raises what aiohttp raises."""
        return Answer(response.status, response.headers, await _read(response))

    @property
    def http(self) -> aiohttp.ClientSession:
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            timeouts = self.timeouts
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=timeouts.connect_s, sock_connect=timeouts.connect_s, sock_read=timeouts.answer_s
                ),
                headers={"User-Agent": "forebay", "Accept-Encoding": "identity"},
                read_bufsize=_READ_BYTES,
                trust_env=True,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > _LONGEST_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError("too long")
    return bytes(body)
