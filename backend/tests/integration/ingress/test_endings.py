"""How connections end: deadlines, early refusals, limits, leaving clients, the server's stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from app.core.body import BODY_EXTENSION
from app.core.errors import ClientGone
from app.ingress.low_water import LEAST_BYTES
from app.testing.live_server import LiveServer, read_answer, reply

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
MIB = 1024 * 1024


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer without reading."""
    await reply(send, 200, b"hello")


async def unauthorised(scope: Any, receive: Any, send: Any) -> None:
    """Refuse without reading."""
    await reply(send, 401, b"no")


# -- deadlines -------------------------------------------------------------------------------------------------------


def test_a_slow_header_gets_408() -> None:
    """Bytes that keep coming don't move the deadline."""
    with LiveServer(hello, header_timeout_s=0.3) as server, server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n")
        tick = threading.Event()
        client.sock.settimeout(0.03)
        while True:
            try:
                first = client.sock.recv(65536)
                break
            except TimeoutError:
                client.send(b"X: y\r\n")
                tick.wait(0.001)
        assert first.startswith(b"HTTP/1.1 408 ")
        assert server.observer.refused == ["request-timeout"]


def test_a_silent_connection_is_closed_without_a_word() -> None:
    """No byte within the header time."""
    with LiveServer(hello, header_timeout_s=0.2) as server, server.connect() as client:
        assert client.ended()


def test_an_idle_kept_connection_is_closed_without_a_word() -> None:
    """After the keep-alive time; a half header then has the header's deadline."""
    with LiveServer(hello, keep_alive_s=0.2, header_timeout_s=0.3) as server:
        with server.connect() as client:
            assert client.send(GET).answer().status == 200
            assert client.ended()
        with server.connect() as client:
            assert client.send(GET).answer().status == 200
            assert client.send(b"GET / HT").answer().status == 408


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """A large download to nobody ends after the idle time, and the application with it."""
    ended = threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while await asyncio.wait_for(receive_disconnect(receive), 0.001) is None:
                await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
        finally:
            ended.set()

    async def receive_disconnect(receive: Any) -> Any:
        try:
            async with asyncio.timeout(0):
                event = await receive()
                return event if event["type"] == "http.disconnect" else None
        except TimeoutError:
            return None

    with LiveServer(endless, body_idle_s=0.3) as server, server.connect() as client:
        client.send(GET)
        assert ended.wait(30)
        server.wait_for(lambda: server.server.connections == 0)


def test_a_slow_reader_that_goes_on_is_served() -> None:
    """The idle time is about progress, not about the whole."""

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, 200, b"x" * (8 * MIB))

    with LiveServer(large, body_idle_s=1) as server, server.connect() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.send(GET)
        got, tick = 0, threading.Event()
        while got < 8 * MIB:
            got += len(client.sock.recv(MIB))
            tick.wait(0.02)
    assert got >= 8 * MIB


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_reader_that_takes_a_little_now_and_then_is_cut_off(certificate: dict[str, Any], *, tls: bool) -> None:
    """Progress alone is not enough, also when the application has long said all; the kernel keeps nothing for it either."""

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, 200, b"x" * (16 * MIB))

    limits = {"body_idle_s": 0.4, "min_rate_bytes": MIB}
    with LiveServer(large, **limits, **(certificate if tls else {})) as server, server.connect() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.send(GET)
        tick = threading.Event()
        got = 0
        while server.observer.closed == 0:
            got += len(client.sock.recv(32 * 1024))
            tick.wait(0.1)  # so that the window opens within the idle time
        with contextlib.suppress(ConnectionResetError):
            while piece := client.sock.recv(MIB):
                got += len(piece)
        assert got < 2 * MIB, "what arrived in the meantime"


# -- early refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [200_000, 3 * MIB], ids=["200 KB", "3 MiB"])
def test_an_early_refusal_is_read_by_a_client_that_sends_all_first(size: int) -> None:
    """No reset on the way: the unread body is dropped, within bounds, and is no request."""
    with LiveServer(unauthorised) as server:
        for _ in range(5):
            with server.connect() as client:
                body = (GET * (size // len(GET) + 1))[:size]
                answer = client.put(body).answer()
                assert (answer.status, answer.body, answer.headers["connection"]) == (401, b"no", "close")
                assert client.ended()
        server.wait_for(server.quiescent)
        assert server.server.server_state.total_requests == 5


def test_draining_after_a_refusal_is_bounded() -> None:
    """A client that sends for ever is not listened to for ever."""
    with LiveServer(unauthorised, linger_bytes=MIB, linger_s=0.3) as server, server.connect() as client:
        client.put(b"", length=1 << 40)
        sent = 0
        with pytest.raises(OSError):  # noqa: PT012 - reset, or timed out
            client.sock.settimeout(2)
            while sent < 1 << 30:
                sent += client.sock.send(b"x" * 65536)
        assert sent < 64 * MIB
        server.wait_for(lambda: server.server.connections == 0)


def test_a_small_unread_body_is_dropped_and_the_connection_kept() -> None:
    """The rest is not a request, the next request is."""
    with LiveServer(unauthorised) as server, server.connect() as client:
        for _ in range(3):
            body = (GET * 2000)[:60_000]
            answer = client.put(body).answer()
            assert (answer.status, "connection" in answer.headers) == (401, False)
        assert server.server.server_state.total_requests == 3


def test_an_unread_chunked_body_ends_the_connection() -> None:
    """Its length is unknown, so nothing behind it is believed."""
    with LiveServer(unauthorised) as server, server.connect() as client:
        client.send(
            b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + GET
        )
        assert client.answer().headers["connection"] == "close"
        assert client.ended()


# -- limits ----------------------------------------------------------------------------------------------------------


def test_connections_over_the_limit_are_told_so() -> None:
    """503 with Retry-After; when one has left, the next is served."""
    with LiveServer(hello, max_connections=2) as server:
        with server.connect() as first, server.connect() as second:
            assert first.send(GET).answer().status == second.send(GET).answer().status == 200
            with server.connect() as third:
                answer = third.answer()
                assert (answer.status, json.loads(answer.body)["code"]) == (503, "unavailable")
                assert "retry-after" in answer.headers
                assert third.ended()
        server.wait_for(lambda: server.server.connections == 0)
        with server.connect() as fourth:
            assert fourth.send(GET).answer().status == 200


SERVER_SCRIPT = """
import sys
from app.core.body import BODY_EXTENSION
from app.ingress import IngressConfig, SilentObserver, make_server
from app.services.chunk_buffer_pool import ChunkBufferPool

pool = ChunkBufferPool(65536, 4, timeout_s=5)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        pool.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan ended", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await scope["extensions"][BODY_EXTENSION].deliver(lambda view: None, limit=1 << 30, owner="ann")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

class Telling(SilentObserver):
    def accept_paused(self):
        print("paused", flush=True)

async def draining():
    print("draining", flush=True)

make_server(
    app,
    ingress=IngressConfig(pool=pool, shutdown_grace_s=float(sys.argv[1]), linger_s=0.2, observer=Telling()),
    port=0,
    before_drain=[draining],
    on_listening=lambda addresses: print(addresses[0][1], flush=True),
).run()
print("done", flush=True)
"""


@contextlib.contextmanager
def server_process(grace_s: float, **kwargs: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server process and its port; it must have ended with status 0 soon after the block."""
    command = [sys.executable, "-c", SERVER_SCRIPT, str(grace_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **kwargs) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_descriptors_out_pauses_accepting_and_recovers() -> None:
    """With more clients than descriptors the server lives, and serves the rest when some have left."""
    request = b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20000

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with server_process(1, preexec_fn=few) as (process, port):
        clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(80)]
        assert process.stdout is not None
        assert process.stdout.readline() == "paused\n"
        clients[0].sendall(request)
        assert clients[0].recv(100).split()[1] == b"503"  # no descriptor for the duplicate
        for client in clients[:79]:
            client.close()
        clients[79].sendall(request)
        assert clients[79].recv(100).startswith(b"HTTP/1.1 200 ")
        clients[79].close()
        process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_end_and_exits_with_0(number: signal.Signals) -> None:
    """The application is told, the body in flight arrives, the lifespan ends, status 0."""
    with (
        server_process(10) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
    ):
        assert process.stdout is not None
        client.sendall(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"half")
        process.send_signal(number)
        assert process.stdout.readline() == "draining\n"
        client.sendall(b"more")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert process.stdout.read() == "lifespan ended\ndone\n"


def test_a_second_signal_skips_the_grace_time() -> None:
    """And still exits in order."""
    with (
        server_process(600) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
    ):
        assert process.stdout is not None
        client.sendall(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "draining\n"
        process.send_signal(signal.SIGTERM)
        assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert process.stdout.read() == "lifespan ended\ndone\n"


def test_a_stop_is_told_to_the_application_first_and_idle_connections_end() -> None:
    """`before_drain` runs while requests are served; a kept connection is closed at once."""
    release = threading.Event()
    hooked = threading.Event()

    async def events(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await reply(send, 200, b"hello")
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"event", "more_body": True})
        while not release.is_set():
            await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b"end"})

    async def before_drain() -> None:
        hooked.set()
        release.set()

    with LiveServer(events, before_drain=before_drain) as server, server.connect() as idle, server.connect() as busy:
        assert idle.send(GET).answer().status == 200
        busy.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.wait_for(lambda: len(server.server.server_state.tasks) == 1)
        server.stop()
        assert busy.answer().body == b"eventend"
        assert idle.ended()
        server.join(10)
    assert hooked.is_set()


# -- the application -------------------------------------------------------------------------------------------------


def test_an_application_that_fails_is_a_500_without_a_trace() -> None:
    """A problem document; the cause is in the log alone."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("secret")

    with LiveServer(broken) as server, server.connect() as client:
        answer = client.send(GET).answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "internal-error")
        assert b"secret" not in answer.body
        assert client.ended()


def test_an_answer_that_breaks_off_is_not_taken_for_whole() -> None:
    """The connection is cut in the middle of a declared length."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("broken")

    with LiveServer(broken) as server, server.connect() as client, pytest.raises((EOFError, ConnectionError)):
        client.send(GET).answer()


@pytest.mark.parametrize(("trusted", "seen"), [((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")])
def test_forwarded_addresses_are_believed_only_from_trusted_proxies(trusted: tuple[str, ...], seen: str) -> None:
    """X-Forwarded-For and -Proto."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await reply(send)

    with LiveServer(app, trusted_proxies=trusted) as server, server.connect() as client:
        forwarded = b"X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + forwarded + b"\r\n").answer()
    assert scopes[0]["client"][0] == seen
    assert scopes[0]["scheme"] == ("https" if trusted else "http")


# -- bodies on plain TCP ---------------------------------------------------------------------------------------------


def test_the_low_water_mark_is_1_again_after_a_body() -> None:
    """Otherwise the next request's header, shorter than the mark, would never be read."""
    marks: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["extensions"][BODY_EXTENSION]
        marks.append(body._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        await body.deliver(
            lambda view: marks.append(body._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)),
            limit=1 << 30,
            owner="ann",
        )
        marks.append(body._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        await reply(send)

    with LiveServer(app) as server, server.connect() as client:
        client.put(b"", length=200_000)
        server.wait_for(lambda: len(server.server.server_state.tasks) == 1)
        assert client.send(b"x" * 200_000).answer().status == 200
        assert client.send(GET).answer().status == 200
    assert marks[0] == 1
    assert max(marks) > 1000
    assert marks[-1] == 1


def test_of_a_fast_client_more_is_read_at_once() -> None:
    """What comes in a moment may gather: each read costs a wake-up."""
    marks: set[int] = set()
    came = 0

    def on_slab(sock: socket.socket, view: memoryview) -> None:
        nonlocal came
        marks.add(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        came += len(view)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["extensions"][BODY_EXTENSION]
        await body.deliver(partial(on_slab, body._sock), limit=1 << 30, owner="ann")
        await reply(send)

    with LiveServer(app) as server, server.connect() as client:
        client.put(b"", length=12 * MIB)
        for sent in range(1, 13):
            client.send(bytes(MIB))
            server.wait_for(lambda sent=sent: came >= (sent - 1) * MIB)  # so that it waits for the next one
        assert client.answer().status == 200
    assert max(marks) > LEAST_BYTES


def test_hundreds_of_slow_connections_hold_no_slab_and_no_thread() -> None:
    """While 300 bodies wait for their next byte, three slabs and two threads serve somebody else, and all arrive."""
    count = 300
    done: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        done.append(await scope["extensions"][BODY_EXTENSION].deliver(lambda view: None, limit=1 << 30, owner="ann"))
        await reply(send)

    with LiveServer(app, slabs=3, worker_threads=2) as server:
        clients = [socket.create_connection(server.address, timeout=20) for _ in range(count)]
        head = b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        for client in clients:
            client.sendall(head + b"x" * 50_000)
        server.wait_for(lambda: server.observer.bytes >= count * 16_000 and server.pool.stats.slabs_leased == 0)
        assert server.pool.stats.waiting == 0
        with server.connect() as quick:
            assert quick.put(b"q" * 1_000_000).answer().status == 200
        for client in clients:
            client.sendall(b"x" * 50_000)
        for client in clients:
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
            client.close()
    assert sorted(done) == [100_000] * count + [1_000_000]


def test_cancelled_deliveries_never_write_into_another_upload(tmp_path: Any) -> None:
    """The reproduced trap: descriptors of cancelled bursts are not given to others while a thread still reads them."""
    stop = threading.Event()
    kept: list[tuple[int, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        mark = int(scope["path"][1:])
        target = os.open(tmp_path / f"{mark}", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        position = 0

        def sink(view: memoryview) -> None:
            nonlocal position
            position += os.pwrite(target, view, position)

        body = scope["extensions"][BODY_EXTENSION]
        try:
            if mark % 2:
                await asyncio.wait_for(body.deliver(sink, limit=1 << 30, owner="ann"), 0.0005 * (mark % 13))
            else:
                await body.deliver(sink, limit=1 << 30, owner="ann")
        except TimeoutError:
            pass
        finally:
            kept.append((mark, os.pread(target, 1 << 30, 0)))
            os.close(target)
        await reply(send, 200, close=mark % 4 == 1)

    def upload(server: LiveServer, first: int) -> None:
        for mark in range(first, 256, 6):
            body = bytes([mark]) * (700_000 + mark)
            try:
                with server.connect() as client:
                    client.put(body, path=f"/{mark}").answer()
            except (OSError, EOFError):
                assert mark % 2, "only the cancelled ones may break"

    with LiveServer(app, worker_threads=3, slabs=5) as server:
        threads = [threading.Thread(target=upload, args=(server, first)) for first in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        server.wait_for(server.quiescent)
    for mark, content in kept:
        assert not content.strip(bytes([mark])), f"foreign bytes in {mark}"
        assert mark % 2 or len(content) == 700_000 + mark
    assert len(kept) == 256


def test_a_reset_during_the_wait_for_a_slot_is_noticed() -> None:
    """The transport is paused, nothing is read: EPOLLERR on the watch tells it."""
    errors: list[type[BaseException]] = []
    waiting = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["extensions"][BODY_EXTENSION]
        waiting.set()
        await body.wait_gone()
        try:
            await body.deliver(lambda view: None, limit=1 << 30, owner="ann")
        except ClientGone as exc:
            errors.append(type(exc))

    with LiveServer(app) as server:
        with server.connect() as client:
            client.put(b"x" * 100_000, length=10**9)
            assert waiting.wait(30)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.wait_for(lambda: server.server.connections == 0)
    assert errors == [ClientGone]


def test_a_half_closed_client_that_sent_all_is_served() -> None:
    """FIN behind a whole body is no leaving as long as the body can be had."""

    async def app(before_s: float, in_sink_s: float, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(before_s)
        deliver = scope["extensions"][BODY_EXTENSION].deliver
        count = await deliver(lambda view: time.sleep(in_sink_s), limit=1 << 30, owner="ann")
        await reply(send, 200, str(count).encode())

    for framing in (
        b"Content-Length: 30000\r\n\r\n" + b"x" * 30000,
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n30d40\r\n" + b"x" * 200_000 + b"\r\n0\r\n\r\n",
    ):
        for delays in (0.25, 0), (0, 0.12):  # FIN is seen before the body is asked for; while it is being stored
            with LiveServer(partial(app, *delays)) as server, server.connect() as client:
                client.send(b"PUT / HTTP/1.1\r\nHost: localhost\r\n" + framing)
                client.sock.shutdown(socket.SHUT_WR)
                assert read_answer(client).status == 200


def test_an_unfinished_trailer_counts_once_for_the_pace() -> None:
    """A line of 20 KB and then a byte now and then is no 20 KB each time."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await reply(send)

    with LiveServer(app, body_idle_s=0.4, min_rate_bytes=10_000) as server, server.connect() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 20_000)
        tick = threading.Event()
        with contextlib.suppress(OSError):  # reset, at some point
            for _ in range(60):
                client.send(b"x")
                tick.wait(0.05)
        assert client.answer().status == 408
