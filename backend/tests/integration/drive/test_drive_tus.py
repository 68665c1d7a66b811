"""tus through staging in memory to Google Drive: what is added goes on as it comes."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.protocols.tus import EXTENSIONS
from app.testing.api_client import ApiClient, refusal
from app.testing.drive_emulator import Kind
from app.testing.server_process import ServerProcess
from app.testing.tus_client import BYTES, ROOT, VERSION, Tus, checksum, metadata

from .conftest import MIB, Rig
from .test_drive_relay import FAULTS

QUANTUM = 256 << 10  # of what Drive takes before the end
SIZE = 5 * MIB + 4321
MEMORY: dict[str, Any] = {"staging": "memory", "memory_staging_mb": 8, "max_concurrent_users": 4}
"""Windows of 2 MiB: less than the file."""


def everything_is_back(rig: Rig) -> bool:
    """No room, buffer or slot is held by anybody."""
    room = rig.product.server.staging.latest
    return rig.product.quiescent() and room.reserved_bytes == room.waiting == 0


def begin(rig: Rig, size: int | None) -> tuple[Tus, str, str]:
    """A client, an upload's path, its id; without a size it is said later."""
    tus = Tus(rig.api)
    path = begin_deferred(rig.api) if size is None else tus.begin(size)
    return tus, path, path.rpartition("/")[2]


@pytest.mark.parametrize("size", [0, 1, QUANTUM, QUANTUM + 1, 3 * MIB, SIZE])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_file_of_any_size_arrives(rig: Rig, size: int, *, parallel: bool) -> None:
    """In one request, whatever the window is."""
    rig.run(**MEMORY, enable_parallel_uploads=parallel)
    content = os.urandom(size)
    tus, path, upload_id = begin(rig, size)
    if size:
        assert tus.patch(path, 0, content).headers["upload-offset"] == str(size)
    rig.assert_stored(content, rig.ended(upload_id))
    rig.product.wait_for(lambda: everything_is_back(rig))


def begin_deferred(api: ApiClient) -> str:
    """An upload whose length is said later; its path."""
    named = {"Upload-Defer-Length": "1", "Upload-Metadata": metadata(filename="report.bin")}
    return urlsplit(api.request("POST", ROOT, headers={**VERSION, **named}).headers["location"]).path


@pytest.mark.parametrize("size", [0, 1, QUANTUM, QUANTUM + 1, 3 * MIB, SIZE])
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("when", ["with the last bytes", "behind them", "in the middle"])
def test_a_file_whose_length_is_said_later(rig: Rig, size: int, when: str, *, parallel: bool) -> None:
    """It is on its way to Drive long before, also where all of it has gone there without anybody knowing that it is all."""
    rig.run(**MEMORY, enable_parallel_uploads=parallel)
    content, said = os.urandom(size), {"Upload-Length": str(size)}
    tus, path, upload_id = begin(rig, None)
    half = size // 2
    if half:
        assert tus.patch(path, 0, content[:half]).headers["upload-offset"] == str(half)
    if when == "in the middle":
        assert tus.patch(path, half, b"", said).status == 204
        said = {}
    assert tus.patch(path, half, content[half:], said if when == "with the last bytes" else {}).status == 204
    if when == "behind them":
        assert tus.position(path) == size
        assert tus.patch(path, size, b"", said).status == 204
    rig.assert_stored(content, rig.ended(upload_id))
    assert not rig.drive.events.violations
    rig.product.wait_for(lambda: everything_is_back(rig))


def test_a_length_that_is_said_while_bytes_are_on_their_way_is_answered_when_they_are_there(rig: Rig) -> None:
    """Those of a request that has broken off, too: the client may leave then, and the file is as long as it said."""
    rig.drive.set_storage_quota(1)
    rig.run(**MEMORY)
    content = os.urandom(MIB)
    tus, path, upload_id = begin(rig, None)
    tus.begin_patch(path, 0, SIZE, content).close()
    uploads = rig.product.server.context.uploads
    rig.product.wait_for(lambda: uploads.under_way(upload_id).position == MIB)
    replies = []

    def say() -> None:
        with rig.product.client() as api:
            replies.append(Tus(api).patch(path, MIB, b"", {"Upload-Length": str(MIB)}))

    saying = threading.Thread(target=say)
    saying.start()
    rig.product.wait_for(lambda: not uploads.under_way(upload_id).row.length_deferred)
    assert not replies
    rig.drive.set_storage_quota(None)
    saying.join()
    assert replies[0].status == 204
    rig.assert_stored(content, rig.ended(upload_id))
    assert len([event for event in rig.drive.events if event.kind is Kind.FILE_CREATED]) == 1


def test_drive_has_what_is_acknowledged(rig: Rig) -> None:
    """But for what goes there with the next bytes, since Drive takes multiples only."""
    rig.run(**MEMORY)
    content = os.urandom(SIZE)
    tus, path, upload_id = begin(rig, SIZE)
    position = 0
    while position < SIZE:
        piece = content[position : position + 700_001]
        reply = tus.patch(path, position, piece)
        position += len(piece)
        assert (reply.status, reply.headers["upload-offset"]) == (204, str(position))
        held = max((event.position or 0) for event in rig.drive.events if event.kind is Kind.HELD)
        assert held >= min(position, SIZE - 1) // QUANTUM * QUANTUM
        if position < SIZE:
            assert tus.position(path) == position
    rig.assert_stored(content, rig.ended(upload_id))


def test_what_came_of_a_broken_request_is_kept(rig: Rig) -> None:
    """To the byte; and it goes on in the middle of what Drive takes at once."""
    rig.run(**MEMORY)
    content = os.urandom(SIZE)
    tus, path, upload_id = begin(rig, SIZE)
    tus.begin_patch(path, 0, SIZE, content[:300_001]).close()
    uploads = rig.product.server.context.uploads
    rig.product.wait_for(lambda: uploads.under_way(upload_id).position == 300_001)
    assert tus.position(path) == 300_001
    refusal(tus.patch(path, 0, content), 409, "offset-conflict")
    assert tus.patch(path, 300_001, content[300_001:]).status == 204
    rig.assert_stored(content, rig.ended(upload_id))
    rig.product.wait_for(lambda: everything_is_back(rig))


def test_a_body_without_declared_length(rig: Rig) -> None:
    """It ends anywhere, and the next one goes on there; with a checksum, too."""
    rig.run(**MEMORY)
    content = os.urandom(SIZE)
    tus, path, upload_id = begin(rig, SIZE)

    def patch(offset: int, end: int, **more: str) -> int:
        headers = {**BYTES, "Upload-Offset": str(offset), **more}
        tus.api.connection.request("PATCH", path, iter([content[offset:end]]), headers, encode_chunked=True)
        with tus.api.connection.getresponse() as response:
            response.read()
            return response.status

    assert patch(0, 300_001) == 204
    assert patch(300_001, 400_003, **checksum("sha1", content[300_001:400_003])) == 204
    assert tus.position(path) == 400_003
    assert patch(400_003, 400_003 + 2 * MIB, **checksum("sha1", content[400_003 : 400_003 + 2 * MIB])) == 413
    tus.api.close()
    assert tus.position(path) == 400_003
    assert patch(400_003, SIZE) == 204
    rig.assert_stored(content, rig.ended(upload_id))
    rig.product.wait_for(lambda: everything_is_back(rig))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 900_000), max_size=5), seed=st.integers(0, 1000))
def test_pieces_of_any_length_arrive(rig: Rig, cuts: list[int], seed: int) -> None:
    """Whole requests and broken ones, one after the other."""
    if not hasattr(rig, "product"):
        rig.run(**MEMORY)
    size, name = 2 * MIB + 77, f"{os.urandom(8).hex()}.bin"
    content = random.Random(seed).randbytes(size)
    tus, position, sent = Tus(rig.api), 0, 0
    path = tus.begin(size, name)
    for number, cut in enumerate(cuts):
        piece = content[position : position + cut]
        if number % 2:
            tus.begin_patch(path, position, size - position, piece).close()
        elif piece:
            assert tus.patch(path, position, piece).status in {204, 409}  # ended by one that was cut and is seen late
        told = tus.position(path)
        sent = max(sent, position + len(piece))  # a request that was cut may be seen after those that came later
        assert position <= told <= sent
        position = told
    while (reply := tus.patch(path, position, content[position:])).status == 409:
        position = tus.position(path)
    assert reply.status == 204
    rig.ended(path.rpartition("/")[2])
    (file,) = [file for file in rig.drive.files.values() if file.name == name]
    assert rig.drive.content(file.id) == content


@pytest.mark.usefixtures("looked_at_often")
def test_a_resume_takes_over_while_the_window_is_full(rig: Rig) -> None:
    """A request that waits for room, since Drive takes nothing, does not keep the next one waiting."""
    rig.drive.set_storage_quota(1)
    rig.run(**MEMORY)
    content = os.urandom(SIZE)
    tus, path, upload_id = begin(rig, SIZE)
    hanging = tus.begin_patch(path, 0, SIZE, content[: 3 * MIB])
    uploads = rig.product.server.context.uploads
    rig.product.wait_for(lambda: uploads.under_way(upload_id).queued.total() > 0)
    position = tus.position(path)
    assert 0 < position <= 2 * MIB
    hanging.close()
    assert tus.position(path) == position  # it is kept
    rig.drive.set_storage_quota(None)
    assert tus.patch(path, position, content[position:]).status == 204
    rig.assert_stored(content, rig.ended(upload_id))


def test_bytes_with_a_checksum(rig: Rig) -> None:
    """Nothing of them goes on before they are judged, so they fit into half of the window."""
    rig.run(**MEMORY)
    content = os.urandom(MIB + 5)
    tus, path, upload_id = begin(rig, len(content))
    refusal(tus.patch(path, 0, content, checksum("sha1", content)), 413, "body-too-large")
    first, second = content[: MIB // 2], content[MIB // 2 : MIB]
    refusal(tus.patch(path, 0, first, checksum("sha1", second)), 460, "checksum-mismatch")
    assert tus.position(path) == 0
    assert tus.patch(path, 0, first, checksum("sha1", first)).status == 204
    assert tus.patch(path, MIB // 2, second, checksum("sha256", second)).status == 204
    assert tus.patch(path, MIB, content[MIB:], checksum("md5", content[MIB:])).status == 204
    rig.assert_stored(content, rig.ended(upload_id))
    rig.product.wait_for(lambda: everything_is_back(rig))


def insist(rig: Rig, content: bytes, *, deferred: bool = False) -> dict[str, Any]:
    """Ask and send until the upload has ended, as clients of tus do; its last view. `deferred`: the last PATCH says the length."""
    tus, path, upload_id = begin(rig, None if deferred else len(content))
    uploads = rig.product.server.context.uploads
    for _ in range(50):
        head = tus.head(path)
        if head.status != 200:
            break
        position = int(head.headers["upload-offset"])
        if position < len(content):
            piece = content[position : position + 3 * MIB // 2]
            is_last = position + len(piece) == len(content)
            said = {"Upload-Length": str(len(content))} if deferred and is_last else {}
            tus.patch(path, position, piece, said)
            continue
        live = uploads.under_way(upload_id)
        rig.product.wait_for(lambda live=live: live is None or live.row.ended or live.position < len(content), 60)
        if live is None or live.row.ended:
            break
    return rig.ended(upload_id)


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize("deferred", [False, True], ids=["length known", "length deferred"])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_drive_answers_exactly_one_whole_file_is_there(rig: Rig, fault: str, *, deferred: bool) -> None:
    """FAULTS.md rows 22 to 25: sent again from memory while it is there, asked for again when it is not."""
    rig.drive.script(FAULTS[fault])
    rig.run(**MEMORY)
    content = os.urandom(SIZE)
    rig.assert_stored(content, insist(rig, content, deferred=deferred))
    rig.product.wait_for(lambda: everything_is_back(rig))


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_drive_answers_a_file_whose_length_is_said_later_is_there(rig: Rig, fault: str) -> None:
    """Sent again from the spool."""
    rig.drive.script(FAULTS[fault])
    rig.run()
    content = os.urandom(SIZE)
    rig.assert_stored(content, insist(rig, content, deferred=True))
    rig.product.wait_for(rig.product.quiescent)


@pytest.mark.slow
@pytest.mark.parametrize("deferred", [False, True], ids=["length known", "length deferred"])
def test_after_a_restart_it_begins_anew(
    rig: Rig, start_server: Callable[..., ServerProcess], *, deferred: bool
) -> None:
    """Nothing in memory survives, and Drive's session can't be gone on with: the offset says so."""
    server = start_server(
        PARALLEL_UPLOAD_STAGING="memory",
        PARALLEL_UPLOAD_MEMORY_STAGING_MB="8",
        PARALLEL_UPLOAD_MAX_CONCURRENT_USERS="4",
        FOREBAY_DESTINATION="gdrive:",
        FOREBAY_GOOGLE_DRIVE_API_ROOT=rig.drive.root,
        FOREBAY_GOOGLE_DRIVE_CREDENTIALS=str(rig.settings["google_drive_credentials"]),
        FOREBAY_AUTH="none",
    )
    content = os.urandom(SIZE)
    with ApiClient(("127.0.0.1", server.port)) as api:
        path = begin_deferred(api) if deferred else Tus(api).begin(SIZE)
        assert Tus(api).patch(path, 0, content[: 3 * MIB]).status == 204
    server.kill()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        assert tus.position(path) == 0
        assert tus.patch(path, 0, content, {"Upload-Length": str(SIZE)} if deferred else {}).status == 204
        assert (
            api.complete(path.rpartition("/")[2]).json["state"] == "completed"
        )  # the last piece goes there at the end
    server.stop()
    assert rig.drive.content(rig.only_file().id) == content


def test_it_says_what_it_offers(rig: Rig) -> None:
    """Parts could not be kept."""
    rig.run(**MEMORY)
    offered = rig.api.request("OPTIONS", ROOT).headers["tus-extension"].split(",")
    not_offered = {"concatenation", "concatenation-unfinished"}
    assert offered == [each for each in EXTENSIONS if each not in not_offered]
    concatenated = {**VERSION, "Upload-Concat": "partial", "Upload-Length": "1"}
    refusal(rig.api.request("POST", ROOT, headers=concatenated), 400, "invalid-request")
    created = rig.api.request("POST", ROOT, b"hello", {**BYTES, "Upload-Length": "5"})
    assert (created.status, created.headers["upload-offset"]) == (201, "5")


def test_terminating_gives_everything_back(rig: Rig) -> None:
    """Also while a request brings bytes."""
    rig.run(**MEMORY)
    tus, path, _ = begin(rig, SIZE)
    sock = tus.begin_patch(path, 0, SIZE, os.urandom(MIB))
    assert tus.delete(path).status == 204
    sock.close()
    assert tus.head(path).status == 404
    rig.product.wait_for(lambda: everything_is_back(rig))
