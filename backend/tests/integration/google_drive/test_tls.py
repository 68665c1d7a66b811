"""The whole adapter over TLS and on both event loops: the emulator reads slowly, memory is used again, bytes are compared."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from app.core.errors import DestinationUnavailable
from app.core.upload import NameConflictPolicy
from app.destinations.google_drive.destination import GoogleDriveDestination
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.port import Target
from app.testing.destination_contract import append, read_back, store
from app.testing.drive_emulator import CutAfter, DriveEmulator, Options, Rule, SlowRead

UNIT = 262_144


class Tokens:
    """The emulator's own."""

    def __init__(self, drive: DriveEmulator) -> None:
        self.value = drive.access_token()

    async def token(self, *, refused: str | None = None) -> str:
        """Never refused."""
        return self.value


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, Path], ssl.SSLContext]:
    """Of the emulator, and a client that believes it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return (chain, key), context


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("encrypted", [True, False], ids=["tls", "plain"])
def test_files_arrive(
    run: Callable[[Coroutine[Any, Any, None]], None], *, encrypted: bool, certificate: Any, tmp_path: Path
) -> None:
    """Through slow readers and a cut, several at once; pieces of odd sizes."""
    files = {f"{size}.bin": os.urandom(size) for size in (0, 1, UNIT, 12 * UNIT + 5, 40 * UNIT)}
    rules = [Rule("upload.put", SlowRead(24 << 20)), Rule("files.media", SlowRead(64 << 20))]
    pair, context = certificate

    async def work(drive: DriveEmulator) -> None:
        options = GoogleDriveOptions(drive.root, tmp_path / "login", tmp_path / "key")
        destination = GoogleDriveDestination(
            "", options=options, tokens=Tokens(drive), tls=context if encrypted else None
        )
        targets = {
            name: Target(name, "a/b", name, "text/plain", len(data), NameConflictPolicy.RENAME)
            for name, data in files.items()
        }
        stored = await asyncio.gather(*(store(destination, targets[name], data) for name, data in files.items()))
        for data, each in zip(files.values(), stored, strict=True):
            assert await read_back(destination, each.id, 0, len(data)) == data
        drive.script([Rule("upload.put", CutAfter(3 * UNIT + 1), times=1), *rules])
        data = os.urandom(20 * UNIT + 1)
        session = await destination.begin(
            Target("u", "", "u", "text/plain", len(data), NameConflictPolicy.RENAME), None
        )
        while session.committed < 20 * UNIT:
            with suppress(DestinationUnavailable):
                await append(destination, session, data, piece=1_234_567)
        await destination.aclose()

    with DriveEmulator.in_thread(Options(tls=pair if encrypted else None, script=tuple(rules))) as drive:
        run(work(drive))
        contents = {file.name: drive.content(file.id) for file in drive.files.values() if not file.is_folder}
        assert contents == files
        assert drive.root.startswith("https" if encrypted else "http:")
