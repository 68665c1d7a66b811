"""The streamed body against receivers that are slow, stop, hang up or answer early: on both event loops, plain and TLS.

The receiver hashes what came; the pieces' memory is overwritten as soon as the next one is asked for, and when the request
is over, so that a byte read later than allowed is a wrong hash or a marker that came.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import trustme
import uvloop
from aiohttp.payload import AsyncIterablePayload

from app.destinations.google_drive.body import PieceBody

MIB = 1 << 20
MARKER = 0xEE
Runner = Callable[[Coroutine[Any, Any, Any]], Any]


class Receiver:
    """A server for one request, in a thread; what it does with the body is told by `behave`."""

    def __init__(self, tls: ssl.SSLContext | None, behave: Callable[[Receiver, int], bytes]) -> None:
        self.came = 0
        self.hash = hashlib.sha256()
        self.markers = 0
        self.stop = threading.Event()
        self._tls = tls
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'http' if self._tls is None else 'https'}://localhost:{self._listener.getsockname()[1]}/"

    def take(self, size: int, *, pause_s: float = 0.0) -> None:
        """Read so much of the body, in small steps."""
        while size:
            data = self._connection.recv(min(size, 32768))
            if not data:
                raise ConnectionError
            self.came += len(data)
            self.markers += data.count(MARKER)
            self.hash.update(data)
            size -= len(data)
            if pause_s:
                time.sleep(pause_s)

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            connection.settimeout(20)
            with (
                connection
                if self._tls is None
                else self._tls.wrap_socket(connection, server_side=True) as self._connection
            ):
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (byte := self._connection.recv(1)):
                        raise ConnectionError
                    head += byte
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                answer = self._behave(self, length)
                self._connection.sendall(answer)
                self.stop.wait(0.2)  # an answer must not be lost to a reset

    def close(self) -> None:
        """Wait for its end."""
        self.stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server, and for a client that believes it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> Any:
    """Contexts of server and client; None for plain."""
    return certificates if request.param == "tls" else None


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine on that event loop, and fails on what the loop would only log."""

    def runner(work: Coroutine[Any, Any, Any]) -> Any:
        async def main() -> Any:
            complaints: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            try:
                return await work
            finally:
                await asyncio.sleep(0.01)
                assert complaints == []

        return uvloop.run(main()) if request.param == "uvloop" else asyncio.run(main())

    return runner


@pytest.fixture
def receive(tls: Any) -> Iterator[Callable[..., Receiver]]:
    """`receive(behave)`: a receiver."""
    running: list[Receiver] = []

    def start(behave: Callable[[Receiver, int], bytes]) -> Receiver:
        running.append(Receiver(None if tls is None else tls[0], behave))
        return running[-1]

    yield start
    for receiver in running:
        receiver.close()


class Slab:
    """One buffer for all pieces; overwritten with a marker whenever nobody may read it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.memory = bytearray([MARKER]) * size
        self.handed_out = 0
        self.ended = False

    def content(self, number: int) -> bytes:
        """Of a piece: no byte of it is the marker."""
        return bytes([number % 200]) * self.size

    async def pieces(
        self, count: int, *, then: Exception | None = None, wait_s: float = 0.0
    ) -> AsyncIterator[memoryview]:
        """So many."""
        try:
            for number in range(count):
                self.memory[:] = self.content(number)
                self.handed_out += 1
                yield memoryview(self.memory)
                self.memory[:] = bytes([MARKER]) * self.size
            if wait_s:
                await asyncio.sleep(wait_s)
            if then is not None:
                raise then
        finally:
            self.ended = True

    def expected(self, count: int) -> str:
        """SHA-256 of so many pieces."""
        return hashlib.sha256(b"".join(map(self.content, range(count)))).hexdigest()

    def spoil(self) -> None:
        """What its owner does when it is back: use it for something else, of another size. Fails if anybody holds on to it."""
        self.memory[:] = bytes([MARKER]) * len(self.memory)
        self.memory.append(MARKER)


async def put(receiver: Receiver, body: Any, tls: Any) -> tuple[int, bytes]:
    """One request."""
    connector = aiohttp.TCPConnector(ssl=True if tls is None else tls[1])
    timeout = aiohttp.ClientTimeout(sock_read=10)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.put(receiver.url, data=body, allow_redirects=False) as response,
    ):
        return response.status, await response.read()


def body_of(slab: Slab, count: int, *, length: int | None = None, stall_s: float = 5.0, **more: Any) -> PieceBody:
    """A body of `count` pieces."""
    size = count * slab.size if length is None else length
    pieces = slab.pieces(count, **more)
    return PieceBody(pieces, size, media_type="application/x-test", stall_s=stall_s)


def slowly(receiver: Receiver, length: int) -> bytes:
    """Take all, pausing."""
    receiver.take(length, pause_s=0.001)
    return OK


@pytest.mark.parametrize("piece_bytes", [MIB, 3 * MIB + 17, 50_000])
def test_a_slow_receiver_gets_the_right_bytes(run: Runner, receive: Any, tls: Any, piece_bytes: int) -> None:
    """Although each piece's memory is overwritten when the next one is asked for."""
    slab, count = Slab(piece_bytes), 12 * MIB // piece_bytes
    receiver = receive(slowly)

    async def work() -> None:
        body = body_of(slab, count)
        assert await put(receiver, body, tls) == (200, b"ok")
        assert (body.complete, body.sent, body.error, body.ended_early) == (True, count * piece_bytes, None, False)
        await body.stop()
        assert slab.ended  # the last piece was given back as well
        slab.spoil()

    run(work())
    assert (receiver.came, receiver.markers) == (count * piece_bytes, 0)
    assert receiver.hash.hexdigest() == slab.expected(count)


def test_without_it_they_are_wrong(receive: Any, tls: Any) -> None:
    """What aiohttp itself does with such pieces: the trap is there, or this law is not needed any more."""
    if tls is not None:
        pytest.skip("the TLS layers copy at once, mostly")
    slab = Slab(50_000)
    receiver = receive(slowly)
    body = AsyncIterablePayload(slab.pieces(200))
    body._size = 200 * 50_000
    assert uvloop.run(put(receiver, body, tls)) == (200, b"ok")
    assert receiver.came == 200 * 50_000
    assert receiver.hash.hexdigest() != slab.expected(200)


def test_pieces_that_end_early_break_the_connection(run: Runner, receive: Any, tls: Any) -> None:
    """The receiver never takes it for a whole body, and nothing is asked of the pieces any more."""
    slab = Slab(MIB)
    receiver = receive(slowly)

    async def work() -> None:
        body = body_of(slab, 3, length=5 * MIB)
        with pytest.raises(aiohttp.ClientError):
            await put(receiver, body, tls)
        await body.stop()
        assert (body.ended_early, body.complete, body.sent) == (True, False, 3 * MIB)
        slab.spoil()

    run(work())
    receiver.close()
    assert receiver.came <= 3 * MIB
    assert receiver.markers == 0


def test_what_the_pieces_raise_is_kept(run: Runner, receive: Any, tls: Any) -> None:
    """As it was raised; the connection is broken."""
    slab = Slab(MIB)
    receiver = receive(slowly)
    error = ConnectionError("the disk is gone")

    async def work() -> None:
        body = body_of(slab, 2, length=5 * MIB, then=error)
        with pytest.raises(aiohttp.ClientError):
            await put(receiver, body, tls)
        await body.stop()
        assert body.error is error
        assert not body.stalled
        slab.spoil()

    run(work())


def test_what_is_raised_behind_the_last_byte_is_kept_as_well(run: Runner, receive: Any, tls: Any) -> None:
    """All was sent and answered, and the pieces turn out to be wrong at their very end."""
    slab = Slab(MIB)
    receiver = receive(slowly)

    async def work() -> None:
        body = body_of(slab, 2, then=ValueError("checksum"), wait_s=0.3)
        assert await put(receiver, body, tls) == (200, b"ok")
        await body.stop()
        assert body.complete
        assert isinstance(body.error, ValueError)

    run(work())


@pytest.mark.parametrize("when_s", [0.0, 0.02, 0.1, 0.3])
def test_a_cancelled_request_lets_go_of_the_memory(run: Runner, receive: Any, tls: Any, when_s: float) -> None:
    """When `stop` has returned nothing of the slab is referenced, and nothing of what it holds next gets out."""
    slab = Slab(3 * MIB)
    receiver = receive(slowly)

    async def work() -> None:
        body = body_of(slab, 6)
        task = asyncio.create_task(put(receiver, body, tls))
        await asyncio.sleep(when_s)
        task.cancel()
        try:
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            await body.stop(hurry=True)
        slab.spoil()
        await asyncio.sleep(0.2)

    run(work())
    receiver.close()
    assert receiver.markers == 0


def test_a_request_cancelled_while_the_pieces_keep_it_waiting(run: Runner, receive: Any, tls: Any) -> None:
    """They are stopped as well, and can be closed."""
    slab = Slab(MIB)
    receiver = receive(slowly)

    async def work() -> None:
        pieces = slab.pieces(2, wait_s=30)
        body = PieceBody(pieces, 9 * MIB, media_type="a/b", stall_s=5)
        task = asyncio.create_task(put(receiver, body, tls))
        while body.sent < 2 * MIB:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await body.stop(hurry=True)
        assert slab.ended
        await pieces.aclose()  # type: ignore[attr-defined]

    run(work())


def test_stop_itself_can_be_cancelled(run: Runner, receive: Any, tls: Any) -> None:
    """It goes on until the memory is free, and passes the cancellation on."""
    slab = Slab(3 * MIB)
    receiver = receive(slowly)

    async def work() -> None:
        body = body_of(slab, 6)
        task = asyncio.create_task(put(receiver, body, tls))
        await asyncio.sleep(0.05)
        task.cancel()
        stopping = asyncio.create_task(body.stop(hurry=True))
        await asyncio.sleep(0)
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping
        slab.spoil()
        with suppress(asyncio.CancelledError):
            await task

    run(work())


def early(receiver: Receiver, length: int) -> bytes:
    """Answer in the middle, and do not read on."""
    receiver.take(length // 3)
    return b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy"


def test_an_early_answer_is_honoured_at_once(run: Runner, receive: Any, tls: Any) -> None:
    """Sending ends, although the pieces would go on."""
    slab = Slab(MIB)
    receiver = receive(early)

    async def work() -> None:
        body = body_of(slab, 60)
        began = time.monotonic()
        assert await put(receiver, body, tls) == (503, b"busy")
        await body.stop()
        assert time.monotonic() - began < 2
        assert not body.complete
        assert slab.handed_out < 60
        slab.spoil()

    run(work())


def test_an_early_answer_while_the_pieces_keep_it_waiting(run: Runner, receive: Any, tls: Any) -> None:
    """The same when nothing is being sent at that moment."""
    slab = Slab(MIB)

    def answer(receiver: Receiver, length: int) -> bytes:
        receiver.take(MIB)
        return b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

    receiver = receive(answer)

    async def work() -> None:
        body = body_of(slab, 1, length=9 * MIB, wait_s=30)
        assert (await put(receiver, body, tls))[0] == 503
        await body.stop()
        assert slab.ended

    run(work())


def test_a_receiver_that_takes_nothing_any_more_is_given_up(run: Runner, receive: Any, tls: Any) -> None:
    """After `stall_s` without a byte, not earlier for being slow."""
    slab = Slab(MIB)

    def stall(receiver: Receiver, length: int) -> bytes:
        receiver.take(MIB)
        receiver.stop.wait(10)
        return b""

    receiver = receive(stall)

    async def work() -> None:
        body = body_of(slab, 60, stall_s=0.3)
        began = time.monotonic()
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            await put(receiver, body, tls)
        await body.stop()
        assert 0.25 < time.monotonic() - began < 3
        assert body.stalled
        slab.spoil()

    run(work())


def test_a_receiver_that_hangs_up_is_noticed(run: Runner, receive: Any, tls: Any) -> None:
    """In the middle; the memory is free at once."""
    slab = Slab(3 * MIB)

    def hang_up(receiver: Receiver, length: int) -> bytes:
        receiver.take(MIB)
        receiver._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        receiver._connection.close()
        return b""

    receiver = receive(hang_up)

    async def work() -> None:
        body = body_of(slab, 60)
        with pytest.raises((aiohttp.ClientError, OSError)):
            await put(receiver, body, tls)
        await body.stop()
        assert not body.complete
        slab.spoil()

    run(work())


def test_a_body_may_be_forbidden_to_go_on(run: Runner, receive: Any, tls: Any) -> None:
    """Then it breaks off, and says so."""
    slab = Slab(MIB)
    receiver = receive(slowly)
    allowed = 3 * MIB

    def may_send(size: int) -> bool:
        nonlocal allowed
        allowed -= size
        return allowed >= 0

    async def work() -> None:
        body = PieceBody(slab.pieces(9), 9 * MIB, media_type="a/b", stall_s=5, may_send=may_send)
        with pytest.raises(aiohttp.ClientError):
            await put(receiver, body, tls)
        await body.stop()
        assert (body.forbidden, body.sent) == (True, 3 * MIB)
        slab.spoil()

    run(work())


def test_a_body_stopped_before_it_begins_never_asks_for_a_piece(run: Runner, receive: Any, tls: Any) -> None:
    """As when connecting fails, and the request is tried after all."""
    slab = Slab(MIB)
    receiver = receive(slowly)

    async def work() -> None:
        body = body_of(slab, 2)
        await body.stop()
        with pytest.raises(aiohttp.ClientError):
            await put(receiver, body, tls)
        assert slab.handed_out == 0

    run(work())
