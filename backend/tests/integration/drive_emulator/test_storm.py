"""All faults at once, and a client that follows Google's rules: in the end there is exactly one file, with the right bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import aiohttp
import pytest

from app.testing.drive_emulator import (
    UNIT_BYTES,
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    Kind,
    LoseAnswer,
    Rule,
    Stall,
    Status,
)

U = UNIT_BYTES

STORM = (
    Rule("upload.put", CommitLess(U + 1), probability=0.15),
    Rule("upload.put", CutAfter(2 * U + 100), probability=0.15),
    Rule("upload.put", Expire(410), probability=0.05),
    Rule("upload.put", ErrorIn200(), probability=0.1),
    Rule("upload.put", Stall(0.01, at=U, then="cut"), probability=0.1),
    Rule("upload.finish", LoseAnswer(), probability=0.3),
    Rule("upload.finish", Status(503, when="after"), probability=0.3),
    Rule("any", Status(503, when="after"), probability=0.05),
    Rule("any", Status(429, retry_after=0), probability=0.05),
    Rule("any", LoseAnswer(), probability=0.05),
)


class Patient:
    """Asks after every doubt, and begins again when the session is gone."""

    def __init__(self, raw: Any, data: bytes) -> None:
        self._raw = raw
        self._data = data
        self._uri: str | None = None
        self._file_id: str | None = None

    async def step(self) -> bool:
        """One more try; whether the file is there."""
        try:
            return await self._step()
        except aiohttp.ClientError:
            return False

    async def _step(self) -> bool:
        raw, total = self._raw, len(self._data)
        if self._file_id is None:
            answer = await raw.ask("GET", "/drive/v3/files/generateIds?count=1")
            self._file_id = answer.json()["ids"][0] if answer.status == 200 else None
            return False
        if self._uri is None:
            path, size = "/upload/drive/v3/files?uploadType=resumable", {"X-Upload-Content-Length": str(total)}
            answer = await raw.ask("POST", path, json={"id": self._file_id}, headers=size)
            self._uri = answer.headers.get("Location") if answer.status == 200 else None
            return bool(answer.status == 409)
        answer = await raw.put(self._uri, b"", f"*/{total}")
        if answer.status == 308:
            held = answer.held
            answer = await raw.put(self._uri, self._data[held:], f"{held}-{total - 1}/{total}")
        if answer.status in {404, 410}:
            self._uri = None
        return bool(answer.status == 200 and "id" in json.loads(answer.body))


@pytest.mark.parametrize("seed", range(6))
async def test_a_patient_client_gets_through(start_drive: Any, connect: Any, data: bytes, seed: int) -> None:
    """Whatever happens, and without a violation of the protocol."""
    drive = start_drive(script=STORM, seed=seed)
    raw = connect(drive)
    for _ in range(5):
        client = Patient(raw, data)
        for _ in range(300):
            if await client.step():
                break
    assert len(drive.files) == 5
    for file in drive.files.values():
        assert drive.content(file.id) == data
        assert (file.md5, file.sha256) == (hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest())
    assert len(drive.events.of(Kind.FAULT)) >= 5
    assert not drive.events.violations
