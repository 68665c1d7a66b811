"""FAULTS 16: a thousand clients that are slow on purpose, as slowhttptest -H, -B and -X are; others are served meanwhile."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess

EACH = 334
LARGE = 16 << 20


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_slow_clients_are_closed_and_the_honest_are_served(
    start_server: Callable[..., ServerProcess],
) -> None:
    """Each moves some bytes now and then, for ever; between any two of their bytes somebody uploads a file and reads it."""
    server = start_server(
        FOREBAY_AUTH="none",
        PARALLEL_UPLOAD_HEADER_TIMEOUT_S="5",
        PARALLEL_UPLOAD_BODY_IDLE_S="5",
        PARALLEL_UPLOAD_MIN_RATE_BYTES="10000000",
        PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS=str(2 * EACH),
    )
    address = ("127.0.0.1", server.port)
    content = random.Random(16).randbytes(20_000)
    with (
        ApiClient(address, source="127.0.0.2") as api,
        ApiClient(address, source="127.0.0.3") as honest,
        ExitStack() as crowd,
    ):
        large = api.request("PUT", "/api/v1/files/large.bin", bytes(LARGE)).json["id"]
        uploads = [api.create(f"{number}.bin", 60_000)["id"] for number in range(EACH)]
        writers: list[socket.socket] = []
        readers: list[socket.socket] = []
        for upload_id in uploads:
            body = crowd.enter_context(ApiClient(address, source="127.0.0.2"))
            header, reader = (crowd.enter_context(_connect(address)) for _ in range(2))
            writers += [body.begin_chunk(upload_id, 0, 60_000), header]
            header.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            reader.sendall(b"GET /api/v1/files/%b/content HTTP/1.1\r\nHost: localhost\r\n\r\n" % large.encode())
            readers.append(reader)
        while _open_connections(api) > 2:  # this client's and the honest one's
            for sock in writers:
                with suppress(OSError):  # it has been closed
                    sock.send(b"x")
            for sock in readers:
                with suppress(OSError):
                    sock.recv(8192, socket.MSG_DONTWAIT)
            stored = honest.request("PUT", "/api/v1/files/honest.bin?on_conflict=replace", content)
            assert stored.status == 201
            read = honest.request("GET", f"/api/v1/files/{stored.json['id']}/content")
            assert (read.status, read.body) == (200, content)
        status = api.status()
        assert status["buffer_pool"]["slabs_leased"] == 0
        assert status["chunk_processor"]["chunks_in_flight"] == 0
    assert server.stop() == 0


def _connect(address: tuple[str, int]) -> socket.socket:
    """With a window that opens when it has read a little (on loopback, 64 KiB)."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
    sock.bind(("127.0.0.2", 0))
    sock.connect(address)
    return sock


def _open_connections(api: ApiClient) -> int:
    """As the server counts them: a client with a full window may not hear of a reset."""
    told = re.search(rb"^forebay_connections (\d+)", api.request("GET", "/metrics").body, re.MULTILINE)
    assert told is not None
    return int(told[1])
