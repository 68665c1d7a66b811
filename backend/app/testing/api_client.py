"""A plain client of the HTTP API for tests: one connection, one request at a time, nothing repeated, nothing hidden."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

__all__ = ["ApiClient", "Reply", "refusal", "sha256_field"]

_TIMEOUT_S = 60.0


def sha256_field(data: bytes) -> str:
    """`Content-Digest` of `data` (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as it came; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code; empty when it is no problem document."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        return str(self.json["code"])


def refusal(reply: Reply, status: int, code: str | None = None) -> Reply:
    """The reply, when it is a refusal in the form that all have (RFC 9457, our members), of this status and code.

    Raises:
        AssertionError: it is not.
    """
    if reply.status != status or reply.headers["content-type"] != "application/problem+json":
        raise AssertionError(f"not a refusal with {status}: {reply}")
    problem = reply.json
    expected = {
        "type": f"urn:forebay:problem:{code or problem['code']}",
        "status": status,
        "code": code or problem["code"],
        "request_id": reply.headers["x-request-id"],
    }
    shown = {name: problem.get(name) for name in expected}
    if shown != expected or not (problem["title"] and problem["detail"]) or "Traceback" in str(problem):
        raise AssertionError(f"not the refusal expected: {problem}, {expected}")
    return reply


class ApiClient:
    """Requests over one kept connection, opened again when it broke."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        source: str | None = None,
        token: str | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """Connect with the first request.

        Args:
            address: of the server.
            source: this side's address, such as 127.0.0.5.
            token: for the Authorization field.
            timeout_s: longest time without anything coming.
        """
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.connection = http.client.HTTPConnection(
            *address, timeout=timeout_s, source_address=None if source is None else (source, 0)
        )

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Leave, with FIN."""
        self.connection.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a request and read its answer, also one that comes before the body was sent.

        Raises:
            OSError, http.client.HTTPException: there is none.
        """
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # an early answer may be there all the same
                self.connection.request(method, path, body, {**self._headers, **(headers or {})})
            response = self.connection.getresponse()
            reply = Reply(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except BaseException:
            self.connection.close()
            raise
        if reply.headers.get("connection") == "close":
            self.connection.close()
        return reply

    def post(self, path: str, value: object, headers: Mapping[str, str] | None = None) -> Reply:
        """POST JSON."""
        return self.request("POST", path, json.dumps(value).encode(), headers)

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """GET, and the JSON of a 200."""
        reply = self.request("GET", path)
        if reply.status != 200:  # noqa: PLR2004
            raise AssertionError(f"GET {path}: {reply.status} {reply.body!r}")
        return reply.json

    # -- uploads -------------------------------------------------------------------------------------------------

    def create(self, filename: str, size: int, **fields: object) -> dict[str, Any]:
        """Begin an upload; the view of a 201."""
        reply = self.post("/api/v1/uploads", {"filename": filename, "size": size, **fields})
        if reply.status != 201:  # noqa: PLR2004
            raise AssertionError(f"creation: {reply.status} {reply.body!r}")
        view: dict[str, Any] = reply.json
        return view

    def put_chunk(
        self, upload_id: str, number: int | str, data: bytes, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a chunk."""
        return self.request("PUT", f"/api/v1/uploads/{upload_id}/chunks/{number}", data, headers)

    def put_all(self, view: Mapping[str, Any], content: bytes) -> None:
        """Send every chunk in order; each must be taken."""
        for number in range(view["chunk_count"]):
            start = number * view["chunk_size"]
            reply = self.put_chunk(view["id"], number, content[start : start + view["chunk_size"]])
            if reply.status != 204:  # noqa: PLR2004
                raise AssertionError(f"chunk {number}: {reply.status} {reply.body!r}")

    def upload(self, upload_id: str) -> dict[str, Any]:
        """The upload as its owner sees it."""
        view: dict[str, Any] = self.get(f"/api/v1/uploads/{upload_id}")
        return view

    def progress(self, upload_id: str) -> dict[str, Any]:
        """The guide's progress."""
        view: dict[str, Any] = self.get(f"/api/v1/system/upload-progress/{upload_id}")
        return view

    def status(self) -> dict[str, Any]:
        """The guide's status."""
        view: dict[str, Any] = self.get("/api/v1/system/upload-status")
        return view

    def cancel(self, upload_id: str) -> Reply:
        """Cancel."""
        return self.request("DELETE", f"/api/v1/uploads/{upload_id}")

    def complete(self, upload_id: str, **fields: object) -> Reply:
        """Wait for the destination."""
        return self.post(f"/api/v1/uploads/{upload_id}/complete", fields)

    # -- clients that misbehave ----------------------------------------------------------------------------------

    def begin_chunk(self, upload_id: str, number: int, length: int, first: bytes = b"") -> socket.socket:
        """Send a chunk's header and its first bytes; the rest, and the answer, are the caller's business."""
        self.connection.close()
        self.connection.connect()
        sock: socket.socket = self.connection.sock
        fields = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        head = (
            f"PUT /api/v1/uploads/{upload_id}/chunks/{number} HTTP/1.1\r\n"
            f"Host: {self.connection.host}:{self.connection.port}\r\n{fields}Content-Length: {length}\r\n\r\n"
        )
        sock.sendall(head.encode() + first)
        return sock

    def reset(self) -> None:
        """Leave, with RST."""
        if self.connection.sock is not None:
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
