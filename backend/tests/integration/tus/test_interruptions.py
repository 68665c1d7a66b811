"""tus: connections that break, hang or compete, and a server that dies."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product
from app.testing.server_process import ServerProcess
from app.testing.tus_client import Tus

MIB = 1 << 20
Stored = Callable[[str], bytes]
Waits = Callable[[str], None]


def test_what_came_of_a_broken_request_is_kept(tus: Tus, stored: Stored, stands: Callable[[str, int], None]) -> None:
    """To the byte, and it is not sent again."""
    content = os.urandom(2 * MIB)
    path = tus.begin(len(content))
    tus.begin_patch(path, 0, len(content), content[:1_234_567]).close()
    stands(path, 1_234_567)
    assert tus.position(path) == 1_234_567
    assert tus.patch(path, 1_234_567, content[1_234_567:]).status == 204
    assert stored("report.bin") == content


def test_after_a_reset_it_stands_where_the_server_had_come(
    tus: Tus, stored: Stored, some_came: Waits, nobody_sends: Waits
) -> None:
    """What the kernel had not given out is lost with the connection, and not told of."""
    content = os.urandom(2 * MIB)
    path = tus.begin(len(content))
    sock = tus.begin_patch(path, 0, len(content), content[:1_234_567])
    some_came(path)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    nobody_sends(path)
    position = tus.position(path)
    assert 0 < position <= 1_234_567
    assert tus.patch(path, position, content[position:]).status == 204
    assert stored("report.bin") == content


def test_a_resume_takes_over_from_a_connection_that_hangs(tus: Tus, stored: Stored, some_came: Waits) -> None:
    """At once: HEAD ends it, counts what it has brought, and the file goes on over the new one."""
    content = os.urandom(MIB)
    path = tus.begin(len(content))
    hanging = tus.begin_patch(path, 0, len(content), content[:400_000])
    some_came(path)
    position = tus.position(path)
    assert 0 < position <= 400_000
    assert hanging.recv(65536).startswith(b"HTTP/1.1 409")  # it has ended before HEAD was answered
    hanging.close()
    assert tus.patch(path, position, content[position:]).status == 204
    assert stored("report.bin") == content


def test_two_patches_at_once_one_ends_the_other(tus: Tus, stored: Stored, some_came: Waits) -> None:
    """The newer one is told where the upload stands when it begins elsewhere."""
    content = os.urandom(MIB)
    path = tus.begin(len(content))
    older = tus.begin_patch(path, 0, len(content), content[:600_000])
    some_came(path)
    position = refusal(tus.patch(path, 0, content), 409, "offset-conflict").json["position"]
    assert 0 < position <= 600_000
    assert tus.patch(path, position, content[position:]).status == 204
    older.close()
    assert stored("report.bin") == content


def test_what_comes_slowly_is_recorded_while_it_comes(tus: Tus, stored: Stored) -> None:
    """A server that died now would lose little of it, though the first chunk of 16 MiB is far from whole."""
    content = os.urandom(16 * MIB)
    path = tus.begin(len(content))
    sock = tus.begin_patch(path, 0, len(content), b"")
    sent = 0
    while not (recorded := tus.api.upload(path.rpartition("/")[2])["bytes_received"]) and sent < 12 * MIB:
        sock.sendall(content[sent : sent + MIB // 16])
        sent += MIB // 16
        time.sleep(0.01)  # at the client's pace
    assert 0 < recorded <= sent
    sock.sendall(content[sent:])
    assert sock.recv(65536).startswith(b"HTTP/1.1 204")
    sock.close()
    assert stored("report.bin") == content


def test_bytes_that_the_disk_lost_end_the_upload(
    start_product: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each piece is synced before it counts: the client is told, nothing hangs, and nothing of it is kept."""
    product = start_product(durability="power", chunk_size_mb=1)

    def fails(_fd: int) -> None:
        raise OSError(errno.EIO, "lost")

    with product.client() as api:
        tus = Tus(api)
        path = tus.begin(3 * MIB)
        monkeypatch.setattr(os, "fdatasync", fails)
        refusal(tus.patch(path, 0, os.urandom(2 * MIB)), 503, "sync-failed")
        monkeypatch.undo()
        assert tus.head(path).status == 404
        product.wait_for(product.quiescent)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 300_000), max_size=6), seed=st.integers(0, 1000))
def test_offsets_never_go_back(tus: Tus, product: Product, cuts: list[int], seed: int) -> None:
    """Whatever is cut where: each answer is at least the one before, at most what was sent, and in the end it is the file.

    A request that was cut may be seen after those that came later; they are told where the upload stands now.
    """
    content = random.Random(seed).randbytes(400_000)
    name = f"{os.urandom(8).hex()}.bin"
    path, position, sent = tus.begin(len(content), name), 0, 0
    for cut in cuts:
        if position == len(content):
            break
        piece = content[position : position + cut]
        tus.begin_patch(path, position, len(content) - position, piece).close()
        sent = max(sent, position + len(piece))
        told = tus.position(path)
        assert position <= told <= sent
        position = told
    while tus.patch(path, position, content[position:]).status == 409:
        told = tus.position(path)
        assert position <= told
        position = told
    file = product.data_dir / "files" / name
    product.wait_for(file.exists)
    assert file.read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("mode", [{}, {"ENABLE_PARALLEL_UPLOADS": "False"}, {"PARALLEL_UPLOAD_DURABILITY": "power"}])
def test_it_goes_on_after_the_server_was_killed(
    start_server: Callable[..., ServerProcess], mode: dict[str, str]
) -> None:
    """With what it had told of; what was not recorded yet is sent again."""
    content = os.urandom(40 * MIB)
    server = start_server(FOREBAY_AUTH="none", **mode)
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        path = tus.begin(len(content))
        sock, sent = tus.begin_patch(path, 0, len(content), b""), 0
        upload_id = path.rpartition("/")[2]
        while (recorded := api.upload(upload_id)["bytes_received"]) < 4 * MIB and sent < 36 * MIB:
            sock.sendall(content[sent : sent + MIB])
            sent += MIB
            time.sleep(0.05)  # at the client's pace
        server.kill()
        sock.close()
    server.start()
    with ApiClient(("127.0.0.1", server.port)) as api:
        tus = Tus(api)
        position = tus.position(path)
        assert 4 * MIB <= recorded <= position <= sent
        assert tus.patch(path, position, content[position:]).status == 204
        deadline = time.monotonic() + 30
        while api.upload(upload_id)["state"] != "completed" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (server.files / "report.bin").read_bytes() == content
