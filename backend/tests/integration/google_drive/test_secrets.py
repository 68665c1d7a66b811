"""Session URIs, tokens and keys: in no message, no traceback, no representation, no log, and not readable at rest."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import traceback
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.core.errors import DestinationRefused, ForebayError
from app.destinations.google_drive.api import Timeouts
from app.destinations.google_drive.upload import IdTaken, StartRefused
from app.testing.destination_contract import read_back
from app.testing.drive_emulator import CutAfter, ErrorIn200, LoseAnswer, Rule, Stall, Status, WrongDigest

UNIT = 262_144
STORM = [
    CutAfter(0),
    CutAfter(UNIT + 1),
    LoseAnswer(),
    Stall(30),
    Stall(30, UNIT),
    Status(401),
    Status(403, "insufficientFilePermissions"),
    Status(404),
    Status(429),
    Status(503),
    ErrorIn200(),
]


def reachable(thing: object, depth: int = 6, seen: set[int] | None = None) -> list[str]:
    """Representations of an object and of what it holds."""
    seen = set() if seen is None else seen
    if depth == 0 or id(thing) in seen or isinstance(thing, (str, bytes, int, float, type(None))):
        return []
    seen.add(id(thing))
    found = [repr(thing), str(thing)]
    if type(thing).__module__.startswith("app.destinations.google_drive"):
        members = getattr(thing, "__dict__", None) or {
            name: getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())
        }
        for member in members.values():
            if type(member).__module__.startswith("app."):
                found += reachable(member, depth - 1, seen)
    return found


async def test_nothing_tells_a_secret(start_rig: Any, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Through a storm of faults on every request."""
    rig = start_rig(timeouts=Timeouts(connect_s=2.0, answer_s=0.3, stall_s=0.2))
    calm = start_rig(drive=rig.drive)  # before and after the storm: on a busy machine an answer may take a second
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    told: list[str] = []
    chained: list[BaseException] = []
    with structlog.testing.capture_logs() as logged:
        for operation in (
            "upload.start",
            "upload.put",
            "upload.finish",
            "upload.query",
            "upload.cancel",
            "files.get",
            "files.media",
        ):
            for fault in STORM:
                if operation == "upload.finish" and isinstance(fault, (CutAfter, Stall, Status, ErrorIn200)):
                    fault = WrongDigest()  # noqa: PLW2901 - what can happen so late
                stored = await calm.store(b"x" * 300_000, "stored", filename="stored")
                session = None
                try:
                    rig.script(Rule(operation, fault, times=3))
                    session = await rig.begin(data)
                    await rig.append(session, data)
                    await rig.finish(session, data)
                    await read_back(rig.destination, stored.id, 0, 300_000)
                    await session.abort()
                except ForebayError as exc:
                    told += [exc.detail, repr(exc), str(exc.extensions), *traceback.format_exception(exc)]
                    chained += [each for each in (exc.__cause__, exc.__context__) if each is not None]
                if session is not None:
                    told += [session.state, *reachable(session), *reachable(rig.destination)]
                rig.script()
                await calm.destination.delete(stored.id)
    told += [str(entry) for entry in logged] + [record.getMessage() for record in caplog.records]
    assert all(isinstance(each, (ForebayError, StartRefused, IdTaken)) for each in chained)
    text = "\n".join(told)
    secrets = {session.upload_id for session in rig.drive.sessions}
    secrets |= {rig.tokens.value, *rig.tokens.refused, (await _key(rig)).decode()}
    assert len(secrets) > 50
    assert len(text) > 20_000
    for secret in secrets:
        assert secret not in text
    assert "&upload_id=" not in text
    assert "Bearer" not in text


async def _key(rig: Any) -> bytes:
    path: Path = rig.destination._options.key_file
    return (await asyncio.to_thread(path.read_bytes)).strip()


async def test_the_key_is_made_once_and_is_the_servers_own(
    start_rig: Any, rig: Any, tmp_path: Path, data: bytes
) -> None:
    """By however many at once; a file that others could read is closed to them."""
    path = tmp_path / "deep" / "key"
    rigs = [start_rig(rig.drive, key_file=path) for _ in range(8)]
    sessions = await asyncio.gather(*(each.begin(data, f"u{n}", filename=f"{n}") for n, each in enumerate(rigs)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["key"]
    for session in sessions:  # each life can open what each other one has sealed
        assert rigs[0].destination._sealer.opened(json.loads(session.state)["sealed_uri"]).startswith(rig.drive.root)
    path.chmod(0o644)
    await start_rig(rig.drive, key_file=path).begin(data, "more", filename="more")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_key_file_that_can_t_be_used(start_rig: Any, rig: Any, tmp_path: Path, data: bytes) -> None:
    """Said in plain words, without what is in it."""
    (tmp_path / "spoilt").write_text("secret-but-no-key")
    (tmp_path / "folder").mkdir()
    for name, words in (("spoilt", "holds no key"), ("folder", "can't be read"), ("spoilt/key", "can't be read")):
        broken = start_rig(rig.drive, key_file=tmp_path / name)
        for call in (broken.begin(data), broken.destination.check()):
            with pytest.raises(DestinationRefused, match=words) as raised:
                await call
            assert "secret-but" not in "".join(traceback.format_exception(raised.value))
    assert os.listdir(tmp_path / "folder") == []  # noqa: PTH208


async def test_a_session_elsewhere_gets_no_token(start_rig: Any, rig: Any, data: bytes) -> None:
    """The token is for the API alone, whatever `Location` says."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 308 Resume Incomplete\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        session = await rig.begin(data)
        elsewhere = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/session"
        sealed = rig.destination._sealer.seal(elsewhere)
        again = await rig.begin(data, saved=json.dumps(json.loads(session.state) | {"sealed_uri": sealed}))
        assert again.committed == 0
    assert heads
    assert all(b"authorization" not in head.lower() for head in heads)
