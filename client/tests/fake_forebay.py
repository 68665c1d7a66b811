"""A small, honest Forebay server in memory, for the client's tests: the contract of DESIGN section 5, and faults on demand.

It checks what it is sent (digests, lengths, order), keeps what it acknowledged through `restart`, and counts what a good
client never does: sending a chunk again that is recorded (`repeats`).
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import crc32c
from aiohttp import web

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
MakeFile = Callable[..., Path]
MIB = 1024 * 1024


@dataclass
class FakeUpload:
    """One upload."""

    id: str
    body: dict
    chunk_size: int
    chunks: dict[int, bytes] = field(default_factory=dict)
    state: str = "receiving"
    polls: int = 0
    name: str = ""
    error: dict | None = None

    @property
    def size(self) -> int:
        """Of the file."""
        return self.body["size"]

    @property
    def count(self) -> int:
        """Of chunks."""
        return -(-self.size // self.chunk_size)

    def length(self, number: int) -> int:
        """Of a chunk."""
        return min(self.chunk_size, self.size - number * self.chunk_size)

    @property
    def missing(self) -> list[int]:
        """Numbers of the chunks that have not come."""
        return [number for number in range(self.count) if number not in self.chunks]

    @property
    def content(self) -> bytes:
        """What came, joined."""
        return b"".join(self.chunks[number] for number in range(self.count))


def problem(status: int, code: str, detail: str = "", **headers: str) -> web.Response:
    """A refusal."""
    return web.json_response(
        {
            "type": f"https://forebay.dev/problems/{code}",
            "title": code,
            "status": status,
            "detail": detail or f"{code}, says the fake.",
            "code": code,
            "request_id": "req-1",
        },
        status=status,
        content_type="application/problem+json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def refuse(status: int, code: str, **headers: str) -> Fault:
    """Answer so, with the body unread."""

    async def fault(request: web.Request) -> web.Response:
        return problem(status, code, **headers)

    return fault


def drop_after(count: int) -> Fault:
    """Read so many bytes of the body, then break the connection."""

    async def fault(request: web.Request) -> web.Response:
        left = count
        while left > 0:
            piece = await request.content.read(left)
            if not piece:
                break
            left -= len(piece)
        request.transport.abort()
        return web.Response()

    return fault


class FakeForebay:
    """The server. Use as an async context manager."""

    def __init__(
        self, *, mode: str = "parallel", chunk_size: int = MIB, lanes: int = 4, token: str | None = None
    ) -> None:
        self.mode = mode
        self.chunk_size = chunk_size
        self.lanes = lanes
        self.token = token
        self.uploads: dict[str, FakeUpload] = {}
        self.keys: dict[str, str] = {}
        self.requests: list[str] = []
        self.repeats: list[int] = []
        self.order: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.polls_to_complete = 1
        self.wrong_crc = False
        self.names: set[str] = set()
        self.small_limit = 16 * MIB
        self.recorded = asyncio.Event()
        self.events: asyncio.Queue[str | None] | None = None
        """Text of a stream of events; None ends it. No queue: the server has no events."""
        self.listened = asyncio.Event()
        self.queue_positions: deque[int | None] = deque()
        self._faults: list[tuple[re.Pattern, Fault, bool]] = []
        self._port = 0
        self._runner: web.AppRunner | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it listens; the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen, with everything that was kept."""
        app = web.Application(middlewares=[self._middleware], client_max_size=64 * MIB)
        app.add_routes(
            [
                web.post("/api/v1/uploads", self._create),
                web.get("/api/v1/uploads", self._list),
                web.get("/api/v1/uploads/{id}", self._get),
                web.get("/api/v1/uploads/{id}/events", self._events),
                web.delete("/api/v1/uploads/{id}", self._delete),
                web.put("/api/v1/uploads/{id}/chunks/{n}", self._chunk),
                web.put("/api/v1/files/{name}", self._small),
                web.get("/api/v1/files/{id}/content", self._content),
                web.get("/api/v1/system/upload-status", self._status),
                web.get("/api/v1/system/upload-progress/{id}", self._progress),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Break all connections and stop listening; what was acknowledged is kept."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -- faults --------------------------------------------------------------------------------------------------

    def fault(self, pattern: str, fault: Fault, *, times: int | None = 1, after: bool = False) -> None:
        """Do this to the next requests that match `METHOD path`; `after`: once the request has been carried out."""
        self._faults += [(re.compile(pattern), fault, after)] * (times or 1000)

    def lose_answer(self, pattern: str, *, times: int = 1) -> None:
        """Carry it out, and break the connection instead of answering."""

        async def fault(request: web.Request) -> web.Response:
            request.transport.abort()
            return web.Response()

        self.fault(pattern, fault, times=times, after=True)

    def _fault_for(self, line: str, *, after: bool) -> Fault | None:
        for index, (pattern, fault, late) in enumerate(self._faults):
            if late == after and pattern.search(line):
                del self._faults[index]
                return fault
        return None

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        line = f"{request.method} {request.path}"
        self.requests.append(line)
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return problem(401, "unauthenticated")
        fault = self._fault_for(line, after=False)
        if fault is not None and (answer := await fault(request)) is not None:
            return answer
        answer = await handler(request)
        fault = self._fault_for(line, after=True)
        if fault is not None and (other := await fault(request)) is not None:
            return other
        return answer

    # -- the contract --------------------------------------------------------------------------------------------

    def _view(self, upload: FakeUpload) -> dict:
        missing: list[dict] = []
        for number in upload.missing if upload.state == "receiving" else []:
            start = number * upload.chunk_size
            end = start + upload.length(number)
            if missing and missing[-1]["end"] == start:
                missing[-1]["end"] = end
            else:
                missing.append({"start": start, "end": end})
        result = None
        if upload.state == "completed":
            content = upload.content
            crc = crc32c.crc32c(content) ^ (1 if self.wrong_crc else 0)
            digest = f"crc32c=:{base64.b64encode(crc.to_bytes(4, 'big')).decode()}:"
            result = {
                "destination": "default",
                "id": upload.name,
                "name": upload.name,
                "size": len(content),
                "digest": digest,
            }
        received = sum(map(len, upload.chunks.values()))
        return {
            "id": upload.id,
            "filename": upload.body["filename"],
            "path": upload.body.get("path", ""),
            "media_type": upload.body.get("media_type"),
            "destination": upload.body.get("destination", "default"),
            "size": upload.size,
            "state": upload.state,
            "mode": self.mode,
            "chunk_size": upload.chunk_size,
            "chunk_count": upload.count,
            "max_concurrent_chunks": self.lanes,
            "chunk_url": f"/api/v1/uploads/{upload.id}/chunks/{{n}}",
            "completion": "auto",
            "bytes_received": received,
            "bytes_transferred": upload.size if upload.state == "completed" else 0,
            "missing": missing,
            "missing_chunks": [{"first": n, "last": n} for n in upload.missing],
            "queue_position": self.queue_positions.popleft() if self.queue_positions else None,
            "created_at": "2026-01-01T00:00:00Z",
            "expires_at": None,
            "result": result,
            "error": upload.error,
        }

    def _new(self, body: dict, key: str | None) -> FakeUpload:
        if key is not None and key in self.keys:
            return self.uploads[self.keys[key]]
        upload = FakeUpload(f"u{len(self.uploads)}", body, self.chunk_size)
        self.uploads[upload.id] = upload
        if key is not None:
            self.keys[key] = upload.id
        if upload.count == 0:
            self._received(upload)
        return upload

    def _received(self, upload: FakeUpload) -> None:
        upload.state = "transferring"
        if self.polls_to_complete == 0:
            self._complete(upload)

    def _complete(self, upload: FakeUpload) -> None:
        stem = upload.body["filename"]
        name, serial = stem, 0
        while name in self.names:
            serial += 1
            name = f"{stem} ({serial})"
        self.names.add(name)
        upload.name = name
        upload.state = "completed"

    def _find(self, request: web.Request) -> FakeUpload | None:
        return self.uploads.get(request.match_info["id"])

    async def _create(self, request: web.Request) -> web.Response:
        upload = self._new(await request.json(), request.headers.get("Idempotency-Key"))
        return web.json_response(self._view(upload), status=201)

    async def _get(self, request: web.Request) -> web.Response:
        upload = self._find(request)
        if upload is None:
            return problem(404, "not-found")
        if upload.state == "transferring":
            upload.polls += 1
            if upload.polls >= self.polls_to_complete:
                self._complete(upload)
        return web.json_response(self._view(upload))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """What a test puts into `events`, as it comes; nothing of itself."""
        if self.events is None:
            return problem(404, "not-found")
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        self.listened.set()
        while (text := await self.events.get()) is not None:
            await answer.write(text.encode())
        return answer

    async def _list(self, request: web.Request) -> web.Response:
        ids = sorted(self.uploads)
        start = int(request.query.get("cursor", 0))
        end = start + min(2, int(request.query["limit"]))  # small pages, so that cursors are followed
        page = [self._view(self.uploads[upload_id]) for upload_id in ids[start:end]]
        return web.json_response({"uploads": page, "next": str(end) if end < len(ids) else None})

    async def _delete(self, request: web.Request) -> web.Response:
        upload = self._find(request)
        if upload is None:
            return problem(404, "not-found")
        upload.state = "cancelled"
        return web.Response(status=204)

    async def _chunk(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - one line a refusal
        upload, number = self._find(request), int(request.match_info["n"])
        if upload is None:
            return problem(404, "not-found")
        if upload.state != "receiving" and number not in upload.chunks:
            return problem(409, "state-conflict")
        if self.mode == "sequential" and number not in upload.chunks and number != upload.missing[0]:
            return problem(409, "mode-changed", f"send {upload.missing[0]} next")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = await request.content.read()
        finally:
            self.in_flight -= 1
        if len(body) != upload.length(number):
            return problem(400, "chunk-short")
        if not _digest_fits(request, body):
            return problem(422, "digest-mismatch")
        if number in upload.chunks:
            self.repeats.append(number)
            if upload.chunks[number] != body:
                return problem(409, "chunk-conflict")
        else:
            upload.chunks[number] = body
            self.order.append(number)
            self.recorded.set()
            if not upload.missing:
                self._received(upload)
        return web.Response(status=204, headers={"Upload-State": upload.state})

    async def _small(self, request: web.Request) -> web.Response:
        body = await request.content.read()
        if len(body) > self.small_limit:
            return problem(413, "body-too-large")
        if not _digest_fits(request, body):
            return problem(422, "digest-mismatch")
        wanted = {"filename": request.match_info["name"], "size": len(body), **request.query}
        upload = self._new(wanted, request.headers.get("Idempotency-Key"))
        if upload.state != "completed":
            upload.chunk_size = max(1, len(body))
            if body:
                upload.chunks[0] = body
            self._complete(upload)
        return web.json_response(self._view(upload), status=201)

    async def _content(self, request: web.Request) -> web.Response:
        upload = self._find(request)
        if upload is None:
            return problem(404, "not-found")
        start = int(re.fullmatch(r"bytes=(\d+)-", request.headers["Range"])[1])
        headers = {"Content-Range": f"bytes {start}-{upload.size - 1}/{upload.size}"}
        return web.Response(body=upload.content[start:], status=206, headers=headers)

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "mode": self.mode,
                "version": "0.1.0",
                "uptime_seconds": 61.5,
                "concurrency_manager": {"active_uploads": 1, "max_uploads": 20},
                "memory_monitor": {"current_usage": 41.5, "limit": None},
            }
        )

    async def _progress(self, request: web.Request) -> web.Response:
        upload = self._find(request)
        if upload is None:
            return problem(404, "not-found")
        return web.json_response(self.progress(upload))

    def progress(self, upload: FakeUpload, *, stored: int = 0) -> dict:
        """How far an upload is, of which so much is at the destination."""
        return {
            "file_id": upload.id,
            "state": upload.state,
            "mode": self.mode,
            "total_bytes": upload.size,
            "bytes_received": upload.size,
            "bytes_transferred": stored,
            "progress_percent": 12.5,
            "total_chunks": upload.count,
            "completed_chunks": len(upload.chunks),
            "failed_chunks": 0,
            "retried_chunks": 1,
            "in_flight_chunks": 2,
            "elapsed_seconds": 3.0,
            "bytes_per_second": 1000.0,
            "chunks_per_second": 0.5,
            "estimated_seconds_remaining": None,
        }


def _digest_fits(request: web.Request, body: bytes) -> bool:
    found = re.fullmatch(r"crc32c=:([^:]+):", request.headers["Content-Digest"])
    return base64.b64decode(found[1]) == crc32c.crc32c(body).to_bytes(4, "big")
