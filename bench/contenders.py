"""Our own server as `ingest` and `small_peers` see everybody: something that prepares bodies, and is cleared after them."""

from __future__ import annotations

import base64
import hashlib
import http.client
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from bench.certificate import connection
from bench.forebay import MIB, Forebay
from bench.load import Request

__all__ = ["Chunks", "Contender", "TusPatches", "zeros_digest"]

_TUS_ROOT = "/api/v1/tus"
_TUS = {"Tus-Resumable": "1.0.0"}
_PATCH = {**_TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}


class Contender(Protocol):
    """Whoever takes bodies; every `rivals.Rival` is one."""

    @property
    def name(self) -> str:
        """As the report has it."""

    @property
    def port(self) -> int:
        """Where it listens."""

    @property
    def authority(self) -> Path | None:
        """Who has signed its certificate; None: it speaks plainly."""

    def bodies(self, count: int, size: int) -> list[Request]:
        """Requests that bring so many bodies."""

    def clear(self) -> None:
        """Forget what came."""

    def cpu_seconds(self) -> float:
        """Processor time used so far."""


class Chunks:
    """The native way: each body is a chunk, the only one of its upload; nothing is finished (`completion: explicit`)."""

    def __init__(self, server: Forebay, name: str, *, sha256: bool = False) -> None:
        """Name it; with `sha256` the client sends a digest of each body, which the server compares."""
        self._server, self.name, self._sha256 = server, name, sha256
        self._made: list[Mapping[str, Any]] = []

    @property
    def port(self) -> int:
        """The server's."""
        return self._server.port

    @property
    def authority(self) -> Path | None:
        """The server's."""
        return self._server.authority

    def bodies(self, count: int, size: int) -> list[Request]:
        """PUTs."""
        self._made = [self._server.create(size, chunk_size=size) for _ in range(count)]
        headers = {"Content-Digest": zeros_digest(size)} if self._sha256 else {}
        return [Request(self._server.chunk_target(upload, 0), size, headers=headers) for upload in self._made]

    def clear(self) -> None:
        """Cancel them."""
        for upload in self._made:
            self._server.discard(upload)

    def cpu_seconds(self) -> float:
        """The server's."""
        return self._server.cpu_seconds()


class TusPatches:
    """The same server by tus; each upload lacks a byte in the end, so that nothing is finished here either."""

    def __init__(self, server: Forebay, name: str) -> None:
        self._server, self.name = server, name
        self._paths: list[str] = []

    @property
    def port(self) -> int:
        """The server's."""
        return self._server.port

    @property
    def authority(self) -> Path | None:
        """The server's."""
        return self._server.authority

    def bodies(self, count: int, size: int) -> list[Request]:
        """PATCHes."""
        self._paths = self._asked("POST", [_TUS_ROOT] * count, {"Upload-Length": str(size + 1)}, _location)
        return [Request(path, size, "PATCH", _PATCH) for path in self._paths]

    def clear(self) -> None:
        """Cancel them."""
        self._asked("DELETE", self._paths, {}, lambda answer: str(answer.status))

    def cpu_seconds(self) -> float:
        """The server's."""
        return self._server.cpu_seconds()

    def _asked(
        self,
        method: str,
        paths: list[str],
        headers: Mapping[str, str],
        read: Callable[[http.client.HTTPResponse], str],
    ) -> list[str]:
        asking = connection(self.port, self.authority)
        heard = []
        try:
            for path in paths:
                asking.request(method, path, headers={**_TUS, **headers})
                answer = asking.getresponse()
                said = answer.read()
                if answer.status >= 300:
                    raise RuntimeError(f"{method} {path}: {answer.status} {said.decode()}")
                heard.append(read(answer))
        finally:
            asking.close()
        return heard


def _location(answer: http.client.HTTPResponse) -> str:
    return urlsplit(answer.headers["Location"]).path


def zeros_digest(size: int) -> str:
    """The Content-Digest of so many zero bytes."""
    digest = hashlib.sha256()
    for _ in range(size // MIB):
        digest.update(bytes(MIB))
    digest.update(bytes(size % MIB))
    return f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
