"""Emulators in threads, and a client that speaks Drive's protocols by hand."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from google.oauth2.credentials import Credentials

from app.testing.drive_emulator import UNIT_BYTES, DriveEmulator, Options


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The first error's."""
        return str(self.json()["error"]["errors"][0]["reason"])

    @property
    def held(self) -> int:
        """What a 308 says."""
        assert self.status == 308, (self.status, self.body)
        return int(self.headers["Range"].removeprefix("bytes=0-")) + 1 if "Range" in self.headers else 0


class Raw:
    """Requests by hand, with a good access token."""

    def __init__(self, drive: DriveEmulator, session: aiohttp.ClientSession) -> None:
        self.drive = drive
        self.session = session
        self.token = drive.access_token()

    async def ask(self, method: str, path: str, *, token: str | None = "", **more: Any) -> Answer:
        """One request; `token=None`: without one."""
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.token}")
        url = path if path.startswith("http") else self.drive.root + path
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **more) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def begin(self, name: str = "a.bin", *, size: int | None = None, params: str = "", **metadata: Any) -> str:
        """A session; returns its URI."""
        headers = {} if size is None else {"X-Upload-Content-Length": str(size)}
        path = f"/upload/drive/v3/files?uploadType=resumable{params}"
        answer = await self.ask("POST", path, json={"name": name, **metadata}, headers=headers)
        assert answer.status == 200, answer.body
        return answer.headers["Location"]

    async def put(self, uri: str, data: Any = b"", content_range: str | None = None, **headers: str) -> Answer:
        """Bytes to a session, without a token."""
        if content_range is not None:
            headers["Content-Range"] = f"bytes {content_range}"
        body = io.BytesIO(data) if isinstance(data, bytes) and data else data
        return await self.ask("PUT", uri, token=None, data=body, headers=headers)

    async def position(self, uri: str, total: int | str = "*") -> int:
        """What the session says that it holds."""
        return (await self.put(uri, b"", f"*/{total}")).held


def user_credentials(info: dict[str, Any]) -> Credentials:
    """google-auth's own reader of this form always asks Google for tokens, whatever `token_uri` says."""
    return Credentials(
        None,
        refresh_token=info["refresh_token"],
        token_uri=info["token_uri"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        scopes=info["scopes"],
    )


@pytest.fixture
def log_in() -> Callable[[dict[str, Any]], Credentials]:
    """`log_in(drive.authorized_user())`: credentials for Google's libraries."""
    return user_credentials


@pytest.fixture
def start_drive() -> Iterator[Callable[..., DriveEmulator]]:
    """`start_drive(**options)`: an emulator in a thread."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(DriveEmulator.in_thread(Options(**options)))


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[DriveEmulator], Raw]]:
    """`connect(drive)`: a client by hand."""
    async with aiohttp.ClientSession() as session:
        session._retry_connection = False  # it repeats a broken PUT by itself, which would hide what is tested here
        yield lambda drive: Raw(drive, session)


@pytest.fixture
def drive(start_drive: Callable[..., DriveEmulator]) -> DriveEmulator:
    """An emulator as it is by default."""
    return start_drive()


@pytest.fixture
async def raw(drive: DriveEmulator, connect: Callable[[DriveEmulator], Raw]) -> Raw:
    """A client of `drive`."""
    return connect(drive)


@pytest.fixture(scope="session")
def data() -> bytes:
    """Five units and a bit."""
    return os.urandom(5 * UNIT_BYTES + 1234)
