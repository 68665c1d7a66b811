"""What is particular to TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Any

from app.core.body import BODY_EXTENSION
from app.testing.live_server import LiveServer, RawClient, reply

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the scheme."""
    await reply(send, 200, scope["scheme"].encode())


def test_the_scheme_is_https(certificate: dict[str, Any]) -> None:
    """From the connection, not from a header."""
    with LiveServer(hello, **certificate) as server, server.connect() as client:
        assert client.send(GET).answer().body == b"https"


def test_a_handshake_that_never_comes_is_cut_off(certificate: dict[str, Any]) -> None:
    """The header's deadline holds for it, and its place is free again."""
    with LiveServer(hello, header_timeout_s=0.2, **certificate) as server:
        with socket.create_connection(server.address, timeout=10) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(server.address, timeout=10) as plain:
            plain.sendall(GET)
            assert RawClient(plain).ended()
        server.wait_for(lambda: server.server.connections == 0)
        assert server.observer.refused == ["tls-handshake"] * 2
        assert server.observer.opened == server.observer.closed == 2


def test_tls_connections_have_a_limit_of_their_own(certificate: dict[str, Any]) -> None:
    """One more is closed before any handshake."""
    with LiveServer(hello, max_tls_connections=1, **certificate) as server, server.connect() as first:
        assert first.send(GET).answer().status == 200
        with socket.create_connection(server.address, timeout=10) as second:
            assert second.recv(1) == b""


def test_a_close_notify_in_the_body_is_a_client_gone(certificate: dict[str, Any]) -> None:
    """An orderly end of TLS in the middle is no end of the body."""
    failed = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await scope["extensions"][BODY_EXTENSION].deliver(lambda view: None, limit=1 << 30, owner="ann")
        finally:
            failed.set()

    with LiveServer(app, **certificate) as server, server.connect() as client:
        client.put(b"x" * 100_000, length=200_000)
        assert isinstance(client.sock, ssl.SSLSocket)
        client.sock.settimeout(0.3)
        with contextlib.suppress(OSError, TimeoutError):
            client.sock.unwrap()
        assert failed.wait(10)
        server.wait_for(server.quiescent)


def test_an_early_refusal_is_read_over_tls(certificate: dict[str, Any]) -> None:
    """With megabytes unread."""

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, 401, b"no")

    with LiveServer(refuse, **certificate) as server, server.connect() as client:
        assert client.put(b"x" * 3_000_000).answer().status == 401


def test_a_stop_cuts_handshakes_short(certificate: dict[str, Any]) -> None:
    """A connection that has not even shaken hands doesn't hold up the end."""
    with LiveServer(hello, header_timeout_s=60, **certificate) as server, socket.create_connection(server.address):
        server.wait_for(lambda: server.server.connections == 1)
        server.stop()
        server.join(5)


def test_a_slow_reader_gets_the_whole_of_a_last_answer(certificate: dict[str, Any]) -> None:
    """`Connection: close` and a reader slower than the lingering time: nothing is cut off."""
    size = 12_000_000

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, 200, b"x" * size, close=True)

    with LiveServer(large, linger_s=0.1, **certificate) as server, server.connect() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.send(GET)
        got, tick = 0, threading.Event()
        while data := client.sock.recv(200_000):
            got += len(data)
            tick.wait(0.001)
    assert got > size
