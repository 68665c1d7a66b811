"""One contract for a request's body, over every way it can come: plain TCP, TLS, chunked through `receive`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.body import BODY_EXTENSION
from app.core.errors import BodyTooLarge, ClientGone, ForebayError, PoolExhausted, RequestTimedOut, ShuttingDown
from app.testing.live_server import LiveServer, read_answer, reply

SLAB = 64 * 1024


@dataclass(frozen=True)
class Way:
    """How a body is sent, and to what kind of server."""

    name: str
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def chunked(self) -> bool:
        """Whether the length is not declared."""
        return self.name == "chunked"

    def head(self, length: int, extra: str = "") -> bytes:
        """Request line and header."""
        framing = "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {length}"
        return f"PUT / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n{extra}\r\n".encode()

    def part(self, data: bytes) -> bytes:
        """Some of the body."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked and data else data

    def end(self) -> bytes:
        """What says that the body is whole."""
        return b"0\r\n\r\n" if self.chunked else b""

    def whole(self, body: bytes, extra: str = "") -> bytes:
        """The whole request."""
        return self.head(len(body), extra) + self.part(body) + self.end()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A certificate for localhost, and a client that believes it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return {"certificate": (str(certificate), str(key)), "client_context": context}


@pytest.fixture(params=["plain", "tls", "chunked"])
def way(request: pytest.FixtureRequest) -> Way:
    """Each way once."""
    return Way(request.param, request.getfixturevalue("tls") if request.param == "tls" else {})


class Deliveries:
    """An application that delivers each body, and remembers what came and how it ended."""

    def __init__(self, limit: int = 1 << 30, most: int | None = None) -> None:
        self.most = most
        self.bodies: list[bytes] = []
        self.errors: list[BaseException] = []
        self.ended = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.limit = limit
        self.on_slab: Callable[[memoryview], None] = lambda view: None
        self.on_rest: Callable[[int], None] | None = None  # told how much has come

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Deliver, and answer with the SHA-256."""
        got = bytearray()

        def sink(view: memoryview) -> None:
            self.on_slab(view)
            got.extend(view)

        self.began.release()
        try:
            body, count = scope["extensions"][BODY_EXTENSION], 0
            on_rest = None if (told := self.on_rest) is None else lambda: told(len(got))
            while not body.ended:
                part = await body.deliver(sink, limit=self.limit, owner="ann", most=self.most, on_rest=on_rest)
                count += part
                assert count == len(got)
                assert part == self.most or body.ended
        except BaseException as exc:
            self.errors.append(exc)
            raise
        finally:
            self.bodies.append(bytes(got))
            self.ended.release()
        await reply(send, 200, hashlib.sha256(got).hexdigest().encode())

    def wait(self) -> None:
        """Until a delivery has ended."""
        assert self.ended.acquire(timeout=30)


def all_back(server: LiveServer) -> None:
    """Every slab returned, every request over."""
    server.wait_for(server.quiescent)


SIZES = [0, 1, 5, 16_383, 16_384, 16_385, SLAB - 1, SLAB, SLAB + 1, 2 * SLAB, 3 * SLAB + 17, 1_500_000]


@pytest.mark.parametrize("most", [None, 1 << 30, SLAB, 3 * SLAB + 16, 20_001], ids="in parts of {}".format)
def test_every_size_arrives_whole_on_one_kept_connection(way: Way, most: int | None) -> None:
    """Sizes around reads, slabs and bursts, in one go and part by part; the connection goes on after each."""
    app = Deliveries(most=most)
    with LiveServer(app, **way.server) as server, server.connect() as client:
        for size in SIZES:
            body = random.Random(size).randbytes(size)
            answer = client.send(way.whole(body)).answer()
            assert (answer.status, answer.body.decode()) == (200, hashlib.sha256(body).hexdigest()), size
        all_back(server)
        assert server.observer.bytes == sum(SIZES)
        assert server.observer.opened == 1


@pytest.fixture(params=[None, SLAB // 2 + 1], ids=["in one go", "in parts"])
def delivering(way: Way, request: pytest.FixtureRequest) -> Iterator[tuple[Way, LiveServer]]:
    """A server for many bodies."""
    with LiveServer(Deliveries(most=request.param), **way.server) as server:
        yield way, server
        all_back(server)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 3 * SLAB), max_size=8),
    size=st.integers(0, 3 * SLAB),
    together=st.booleans(),
)
def test_any_fragmentation_arrives_whole(
    delivering: tuple[Way, LiveServer], cuts: list[int], size: int, together: bool
) -> None:
    """However the body is cut into packets and chunks, with or without the header in the first."""
    way, server = delivering
    body = random.Random(size).randbytes(size)
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    parts = [way.part(body[a:b]) for a, b in pairwise(edges)]
    head = way.head(size)
    with server.connect() as client:
        if together:
            parts[0] = head + parts[0]
        else:
            client.send(head)
        for part in parts:
            client.send(part)
        answer = client.send(way.end()).answer()
        assert answer.body.decode() == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("most", [None, 999])
def test_a_pipelined_second_body_stays_out_of_the_first(way: Way, most: int | None) -> None:
    """Two PUTs in one packet, the second longer than a slab: each gets its own bytes."""
    app = Deliveries(most=most)
    first, second = b"1" * (SLAB + 100), b"2" * (2 * SLAB)
    with LiveServer(app, **way.server) as server, server.connect() as client:
        client.send(way.whole(first) + way.whole(second))
        assert client.answer().status == client.answer().status == 200
    assert app.bodies == [first, second]


def test_the_sink_runs_in_a_worker_thread_and_never_twice_at_once(way: Way) -> None:
    """The event loop's thread runs no sink."""
    app = Deliveries()
    threads: set[str] = set()
    inside = threading.Lock()

    def sink(view: memoryview) -> None:
        assert inside.acquire(blocking=False)
        threads.add(threading.current_thread().name)
        inside.release()

    app.on_slab = sink
    with LiveServer(app, **way.server) as server, server.connect() as client:
        assert client.send(way.whole(b"x" * (4 * SLAB))).answer().status == 200
    assert "live-server" not in threads
    assert threads


def test_a_body_over_the_limit_is_refused_and_the_client_reads_why(way: Way) -> None:
    """413 arrives although megabytes are unread, and the connection ends."""
    app = Deliveries(limit=SLAB)
    with LiveServer(app, **way.server) as server, server.connect() as client:
        body = b"x" * (2 * 1024 * 1024)
        answer = client.send(way.whole(body)).answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert client.ended()
        all_back(server)
    assert isinstance(app.errors[0], BodyTooLarge)


def test_an_idle_body_times_out(way: Way) -> None:
    """Nothing for the idle time: RequestTimedOut, 408, everything back."""
    app = Deliveries()
    with LiveServer(app, body_idle_s=0.3, min_rate_bytes=0, **way.server) as server, server.connect() as client:
        client.send(way.head(1000) + way.part(b"some"))
        assert client.answer().status == 408
        all_back(server)
    assert isinstance(app.errors[0], RequestTimedOut)


def test_a_trickling_body_times_out(way: Way) -> None:
    """Bytes come often enough, but too few of them."""
    app = Deliveries()
    with LiveServer(app, body_idle_s=0.4, min_rate_bytes=10_000, **way.server) as server, server.connect() as client:
        client.send(way.head(100_000))
        tick = threading.Event()
        with contextlib.suppress(OSError):  # reset, at some point
            for _ in range(100):
                client.send(way.part(b"x"))
                tick.wait(0.01)
        app.wait()
        assert isinstance(app.errors[0], RequestTimedOut)
        all_back(server)


def test_a_slow_but_steady_body_is_taken(way: Way) -> None:
    """Far below the low-water mark and a slab, but above the rate: it takes its time and arrives."""
    app = Deliveries()
    body = random.Random(1).randbytes(3000)
    with LiveServer(app, body_idle_s=1, min_rate_bytes=100, **way.server) as server, server.connect() as client:
        client.send(way.head(len(body)))
        tick = threading.Event()
        for start in range(0, len(body), 300):
            client.send(way.part(body[start : start + 300]))
            tick.wait(0.12)  # ten times, which is longer than the idle time
        assert client.send(way.end()).answer().status == 200
    assert app.bodies == [body]


def test_who_wants_to_know_is_told_when_a_client_rests(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all that came has been handed over, and once; in a worker thread, not while the sink runs."""
    for module in ("body", "socket_body", "fallback"):
        monkeypatch.setattr(f"app.ingress.{module}.REST_S", 0.05)
    app = Deliveries()
    rests: list[int] = []
    rested, threads = threading.Semaphore(0), set[str]()

    def on_rest(came: int) -> None:
        rests.append(came)
        threads.add(threading.current_thread().name)
        rested.release()

    app.on_rest = on_rest
    body = random.Random(1).randbytes(3 * SLAB)
    with LiveServer(app, **way.server) as server, server.connect() as client:
        client.send(way.head(len(body)))
        for start, end in pairwise((0, 100, SLAB, 2 * SLAB + 1)):
            client.send(way.part(body[start:end]))
            assert rested.acquire(timeout=30)
        client.send(way.part(body[2 * SLAB + 1 :]))
        assert client.send(way.end()).answer().status == 200
    assert app.bodies == [body]
    assert rests == [100, SLAB, 2 * SLAB + 1]
    assert all(name.startswith("ingress") for name in threads)


@pytest.mark.parametrize("most", [None, SLAB], ids=["in one go", "in parts"])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_a_client_that_leaves_at_any_point_gives_everything_back(way: Way, reset: bool, most: int | None) -> None:
    """FIN or RST after a random part of the body ends the delivery with ClientGone."""
    app = Deliveries(most=most)
    rng = random.Random(7)
    with LiveServer(app, **way.server) as server:
        for _ in range(6):
            size = rng.randrange(1, 4 * SLAB)
            with server.connect() as client:
                client.send(way.head(size + 1) + way.part(b"x" * rng.randrange(size)))
                assert app.began.acquire(timeout=30)
                if reset:
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            app.wait()
        all_back(server)
        server.wait_for(lambda: server.server.connections == 0)
    assert [type(error) for error in app.errors] == [ClientGone] * 6


def test_a_sink_that_raises_ends_the_delivery_with_its_error(way: Way) -> None:
    """What the sink raises comes out of `deliver`, and the slab goes back."""
    app = Deliveries()

    class Odd(ForebayError):
        """Odd bytes."""

        code, status = "odd", 422

    def sink(view: memoryview) -> None:
        raise Odd

    app.on_slab = sink
    with LiveServer(app, **way.server) as server, server.connect() as client:
        assert client.send(way.whole(b"x" * 300_000)).answer().status == 422
        all_back(server)
    assert isinstance(app.errors[0], Odd)


def test_cancelling_waits_for_the_running_sink(way: Way) -> None:
    """While a thread is in the sink the delivery does not end; afterwards it does, and the slab is back."""
    entered, leave = threading.Event(), threading.Event()
    seen: list[str] = []

    def sink(view: memoryview) -> None:
        entered.set()
        assert leave.wait(30)
        seen.append("sink left")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = scope["extensions"][BODY_EXTENSION]
        task = asyncio.create_task(body.deliver(sink, limit=1 << 30, owner="ann"))
        while not entered.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=0.1)
        assert not done
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen.append("delivery over")
        await reply(send, 409)

    with LiveServer(app, **way.server) as server, server.connect() as client:
        assert client.send(way.whole(b"x" * (8 * SLAB))).answer().status == 409
        all_back(server)
    assert seen == ["sink left", "delivery over"]


def test_a_cancelled_wait_for_bytes_gives_everything_back(way: Way) -> None:
    """Cancelled between bursts: at once, and the application can still answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await scope["extensions"][BODY_EXTENSION].deliver(lambda view: None, limit=1 << 30, owner="ann")
        await reply(send, 409)

    with LiveServer(app, **way.server) as server, server.connect() as client:
        assert client.send(way.head(5000) + way.part(b"x" * 10)).answer().status == 409
        all_back(server)


def test_a_waiting_body_holds_no_slab(way: Way) -> None:
    """Between two parts of twenty bodies at once, also when a record or slab was cut in the middle."""
    app = Deliveries()
    with LiveServer(app, **way.server) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in clients:
            client.send(way.head(3 * SLAB) + way.part(b"x" * (SLAB + 100)))
        server.wait_for(lambda: server.observer.bytes == 20 * (SLAB + 100) and server.pool.stats.slabs_leased == 0)
        assert server.pool.stats.waiting == 0
        for client in clients:
            client.send(way.part(b"x" * (2 * SLAB - 100)) + way.end())
        assert [client.answer().status for client in clients] == [200] * 20


def test_a_client_that_leaves_while_the_pool_is_empty_is_noticed(way: Way) -> None:
    """Waiting for a slab ends with ClientGone as soon as the client is gone, not when a slab comes."""
    app = Deliveries()
    with LiveServer(app, slabs=2, **way.server) as server:

        async def take() -> Any:
            return await server.pool.acquire("somebody")

        lease = server.call(take())
        with server.connect() as client:
            client.send(way.head(10 * SLAB) + way.part(b"x" * 2000))
            server.wait_for(lambda: server.pool.stats.waiting == 1)
        app.wait()
        assert isinstance(app.errors[0], ClientGone)
        assert server.pool.stats.waiting == 0

        async def give() -> None:
            lease.release()

        server.call(give())
        all_back(server)


def test_an_empty_pool_is_an_error_after_its_time(way: Way) -> None:
    """PoolExhausted comes out, 503 with Retry-After goes to the client."""
    app = Deliveries()
    with LiveServer(app, slabs=2, pool_timeout_s=0.2, **way.server) as server, server.connect() as client:

        async def take() -> Any:
            return await server.pool.acquire("somebody")

        lease = server.call(take())
        answer = client.send(way.whole(b"x" * 1000)).answer()
        assert answer.status == 503
        assert "retry-after" in answer.headers
        assert isinstance(app.errors[0], PoolExhausted)

        async def give() -> None:
            lease.release()

        server.call(give())


def test_leaving_is_told_while_nothing_is_read(way: Way) -> None:
    """An application that keeps the client waiting with its body unread learns that it left."""
    left, waiting = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        waiting.set()
        await scope["extensions"][BODY_EXTENSION].wait_gone()
        left.set()

    with LiveServer(app, **way.server) as server:
        with server.connect() as client:
            client.send(way.head(100_000) + way.part(b"x" * 100))
            assert waiting.wait(30)
        assert left.wait(30)
        all_back(server)


def test_asking_for_a_disconnect_meanwhile_loses_no_byte(way: Way) -> None:
    """`receive` during a delivery only waits for the client to leave."""
    body = random.Random(3).randbytes(10 * SLAB)
    got = bytearray()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        delivery = asyncio.create_task(
            scope["extensions"][BODY_EXTENSION].deliver(got.extend, limit=1 << 30, owner="ann")
        )
        await asyncio.sleep(0)
        asking = asyncio.create_task(receive())
        await delivery
        assert not asking.done()
        asking.cancel()
        await reply(send)

    with LiveServer(app, **way.server) as server, server.connect() as client:
        assert client.send(way.whole(body)).answer().status == 200
    assert got == body


def test_100_continue_is_sent_when_the_body_is_wanted(way: Way) -> None:
    """Not with the headers; and only once."""
    go = threading.Event()
    delivered = Deliveries()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not go.is_set():
            await asyncio.sleep(0.001)
        await delivered(scope, receive, send)

    with LiveServer(app, **way.server) as server, server.connect() as client:
        client.send(way.head(4, "Expect: 100-continue\r\n"))
        client.sock.settimeout(0.15)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(10)
        go.set()
        assert client.answer().status == 100
        assert client.send(way.part(b"body") + way.end()).answer().status == 200
    assert delivered.bodies == [b"body"]


def test_a_refusal_instead_of_100_ends_the_connection(way: Way) -> None:
    """The final answer comes without a 100, and what the client sends then is no request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, 401)

    with LiveServer(app, **way.server) as server, server.connect() as client:
        answer = client.send(way.head(100, "Expect: 100-continue\r\n")).answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.ended()


def test_shutdown_ends_a_delivery_after_the_grace_time(way: Way) -> None:
    """ShuttingDown comes out of `deliver`, and the client reads a 503."""
    app = Deliveries()
    with LiveServer(app, shutdown_grace_s=0.2, **way.server) as server, server.connect() as client:
        client.send(way.head(10 * SLAB) + way.part(b"x" * 10))
        assert app.began.acquire(timeout=30)
        server.stop()
        answer = read_answer(client)
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        server.join()
        assert server.ended_lifespan
        assert server.pool.stats.slabs_leased == 0
    assert isinstance(app.errors[0], ShuttingDown)


def test_a_body_in_flight_may_end_within_the_grace_time(way: Way) -> None:
    """A stop does not break what comes in time."""
    app = Deliveries()
    with LiveServer(app, shutdown_grace_s=10, **way.server) as server, server.connect() as client:
        client.send(way.head(8) + way.part(b"half"))
        assert app.began.acquire(timeout=30)
        server.stop()
        server.wait_for(lambda: server.server.addresses == [])
        answer = client.send(way.part(b"more") + way.end()).answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert app.bodies == [b"halfmore"]


def test_many_at_once_with_few_slabs_all_arrive(way: Way) -> None:
    """Sixteen bodies through three slabs and two threads: each gets its own bytes."""
    app = Deliveries()
    results: list[bool] = []

    def upload(server: LiveServer, number: int) -> None:
        body = random.Random(number).randbytes(5 * SLAB + number)
        with server.connect() as client:
            answer = client.send(way.whole(body)).answer()
            results.append(answer.body.decode() == hashlib.sha256(body).hexdigest())

    with LiveServer(app, slabs=4, worker_threads=2, **way.server) as server:
        threads = [threading.Thread(target=upload, args=(server, number)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        all_back(server)
    assert results == [True] * 16
