"""What Drive refuses, and what the operator is told. Every answer by its reason; no answer at all; lost logins."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import trustme

from app.core.errors import (
    DestinationFull,
    DestinationLoginLost,
    DestinationQuotaReached,
    DestinationRefused,
    DestinationRefusedUpload,
    DestinationUnavailable,
)
from app.testing.drive_emulator import DriveEmulator, Options, Rule, Status
from app.testing.drive_emulator.model import Caller

UNIT = 262_144
TABLE = [
    (Status(429), DestinationUnavailable, "busy"),
    (Status(403, "rateLimitExceeded"), DestinationUnavailable, "busy"),
    (Status(403, "userRateLimitExceeded"), DestinationUnavailable, "busy"),
    (Status(500, "internalError"), DestinationUnavailable, "busy"),
    (Status(503, "backendError"), DestinationUnavailable, "busy"),
    (Status(403, "storageQuotaExceeded"), DestinationFull, "no storage left"),
    (Status(403, "teamDriveFileLimitExceeded"), DestinationFull, "shared drive holds as many"),
    (Status(403, "activeItemCreationLimitExceeded"), DestinationFull, "account holds as many"),
    (
        Status(403, "numChildrenInNonRootLimitExceeded"),
        DestinationRefusedUpload,
        "folder at Google Drive holds as many",
    ),
    (Status(403, "dailyLimitExceeded"), DestinationQuotaReached, "daily limit"),
    (Status(403, "quotaExceeded"), DestinationQuotaReached, "quota"),
    (Status(403, "uploadLimitExceeded"), DestinationQuotaReached, "no more from this account today"),
    (Status(401, "authError"), DestinationLoginLost, "forebay-server drive login"),
    (Status(403, "accessNotConfigured"), DestinationRefused, "not enabled"),
    (Status(403, "SERVICE_DISABLED"), DestinationRefused, "not enabled"),
    (Status(403, "insufficientPermissions"), DestinationRefused, "scope"),
    (Status(403, "appNotAuthorizedToFile"), DestinationRefused, r"drive\.file"),
    (Status(403, "insufficientFilePermissions"), DestinationRefused, "editor"),
    (Status(403, "domainPolicy"), DestinationRefused, "administrator"),
    (Status(403, "teamDriveMembershipRequired"), DestinationRefused, "member"),
    (Status(403, "teamDriveHierarchyTooDeep"), DestinationRefusedUpload, "nested too deeply"),
    (Status(400, "somethingNew"), DestinationRefusedUpload, "status 400, somethingNew"),
]


@pytest.mark.parametrize(("fault", "error", "words"), TABLE, ids=lambda value: getattr(value, "reason", None))
@pytest.mark.parametrize("operation", ["upload.start", "upload.put", "about"])
async def test_each_reason_has_its_error(
    rig: Any, data: bytes, fault: Any, error: Any, words: str, operation: str
) -> None:
    """With what to do about it, and that nothing is lost; afterwards it goes on."""
    if operation == "upload.put" and "somethingNew" in words:
        error, words = DestinationUnavailable, "again in a new one"  # what Drive tells to make of it
    if operation == "upload.put" and error is DestinationLoginLost:
        error, words = DestinationUnavailable, "new access token"  # the next request tells whether the login holds
    session = await rig.begin(data) if operation == "upload.put" else None
    calls = {
        "upload.start": lambda: rig.begin(data),
        "upload.put": lambda: rig.append(session, data),
        "about": rig.destination.check,
    }
    rig.script(Rule(operation, fault))
    with pytest.raises(error, match=words) as raised:
        await calls[operation]()
    assert type(raised.value) is error
    assert "What was received is kept" in raised.value.detail
    rig.script()
    session = session or await rig.begin(data)
    await rig.persist(session, data)
    rig.assert_one(data)


async def test_a_session_refused_for_an_unknown_reason_is_begun_anew_once(rig: Any, data: bytes) -> None:
    """Then it is told as what it is, with status and reason; when Drive takes it again, it goes on where it was."""
    session = await rig.begin(data)
    await rig.append(session, data, until=2 * UNIT)
    rig.script(Rule("upload.put", Status(403, "somethingNew")))
    with pytest.raises(DestinationUnavailable, match="again in a new one") as raised:
        await rig.append(session, data)
    assert type(raised.value) is DestinationUnavailable
    with pytest.raises(DestinationUnavailable, match="begins anew"):
        await rig.append(session, data)
    for _ in range(3):
        with pytest.raises(DestinationRefusedUpload, match="status 403, somethingNew"):
            await rig.append(session, data)
    assert rig.drive.requests["upload.start"] == 2
    rig.script()
    await rig.append(session, data)
    await rig.finish(session, data)
    rig.assert_one(data)
    assert rig.drive.requests["upload.start"] == 2


@pytest.mark.parametrize("operation", ["upload.put", "upload.finish"])
async def test_last_bytes_refused_for_an_unknown_reason(rig: Any, data: bytes, operation: str) -> None:
    """As any others; what has become a file all the same is found."""
    session = await rig.begin(data)
    await rig.append(session, data)
    rig.script(Rule(operation, Status(400, "somethingNew", when="after")))
    assert (await rig.finish(session, data)).id == rig.assert_one(data).id


async def test_a_token_that_is_refused_once_is_fetched_anew(rig: Any, data: bytes) -> None:
    """Nobody notices."""
    rig.drive.expire_access_tokens()
    await rig.store(data)
    assert len(rig.tokens.refused) == 1
    rig.assert_one(data)


async def test_a_token_refused_in_the_middle_of_a_stream(rig: Any, data: bytes) -> None:
    """It can't be sent again as it is: the next try has a new token, and nobody else waits for a login."""
    session = await rig.begin(data)
    rig.drive.expire_access_tokens()
    with pytest.raises(DestinationUnavailable, match="new access token"):
        await rig.append(session, data)
    assert len(rig.tokens.refused) == 1
    await rig.persist(session, data)
    rig.assert_one(data)


async def test_a_login_that_is_lost_and_comes_back(rig: Any, data: bytes) -> None:
    """Told as such by the tokens, shown in the report, and taken up again."""
    session = await rig.begin(data)
    rig.tokens.error = DestinationLoginLost()
    for call in (rig.append(session, data), rig.begin(data, "u2"), rig.destination.check()):
        with pytest.raises(DestinationLoginLost):
            await call
    assert rig.destination.report().login_ok is False
    rig.tokens.error = None
    await rig.persist(session, data)
    assert rig.destination.report().login_ok is True


async def test_a_service_account_owns_no_storage(start_rig: Any, data: bytes) -> None:
    """Said with the ways out; in a shared drive it can store."""
    rig = start_rig()
    account = Caller("forebay@emulator.iam.gserviceaccount.com", frozenset(rig.tokens.scopes), owns_no_storage=True)
    token = rig.drive.call(lambda: rig.drive.world.tokens.new_access_token(account))
    rig.tokens.value = token
    with pytest.raises(DestinationRefused, match=r"owns no storage.*shared drive.*FOREBAY_GOOGLE_DRIVE_SUBJECT"):
        await rig.destination.check()
    with pytest.raises(DestinationFull, match="owns no storage"):
        await rig.begin(data)
    shared = start_rig(rig.drive, folder_id=rig.drive.shared_drive)
    shared.tokens.value = token
    await shared.destination.check()
    await shared.store(data)


async def test_storage_that_is_full(start_rig: Any, data: bytes) -> None:
    """Seen by `check`, by the beginning, and at the last byte; it goes on when there is room."""
    rig = start_rig(storage_quota=len(data) + 10)
    await rig.destination.check()
    session = await rig.begin(data)
    await rig.append(session, data)
    rig.drive.set_storage_quota(len(data) - 1)
    with pytest.raises(DestinationFull):
        await rig.finish(session, data)
    rig.drive.set_storage_quota(len(data))
    await rig.persist(session, data)
    with pytest.raises(DestinationFull):
        await rig.destination.check()
    with pytest.raises(DestinationFull):
        await rig.begin(data, "u2")
    report = rig.destination.report()
    assert (report.storage_used, report.storage_limit) == (len(data), len(data))
    rig.assert_one(data)


async def test_nobody_is_there(start_rig: Any, rig: Any, data: bytes) -> None:
    """Nothing listens, or something that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = start_rig(rig.drive, root=f"http://127.0.0.1:{port}")
    with pytest.raises(DestinationUnavailable, match="can't be reached"):
        await nobody.begin(data)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deaf = start_rig(rig.drive, root=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DestinationUnavailable, match="too slow"):
            await deaf.begin(data)


async def test_a_certificate_that_nobody_trusts(start_rig: Any, tmp_path: Any, data: bytes) -> None:
    """Nothing is sent to whoever that is."""
    issued = trustme.CA().issue_cert("localhost")
    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    with DriveEmulator.in_thread(Options(tls=(chain, key))) as drive:
        rig = start_rig(drive)
        with pytest.raises(DestinationUnavailable, match="can't be reached"):
            await rig.begin(data)
        assert drive.requests == {}


async def test_something_else_that_speaks_http(start_rig: Any, rig: Any, data: bytes) -> None:
    """A portal that redirects, a page where JSON should be: no crash, and nothing is believed."""
    answers = [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/login\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"\x00\x01\x02 not http\r\n\r\n",
        b"",
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers[0])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        while answers:
            portal = start_rig(rig.drive, root=f"http://127.0.0.1:{port}")
            with pytest.raises(DestinationUnavailable):
                await portal.begin(data)
            del answers[0]
