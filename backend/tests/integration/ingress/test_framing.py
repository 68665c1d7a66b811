"""What is and is not HTTP/1.1 here: raw bytes against a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from app.testing.live_server import LiveServer, RawClient, reply

HOST = b"Host: localhost\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Echo:
    """Answers with method and path, after reading the body by `receive`; remembers the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read all, then answer."""
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            event = await receive()
            assert event["type"] == "http.request"
            body += event["body"]
            more = event["more_body"]
        self.bodies.append(body)
        await reply(send, 200, f"{scope['method']} {scope['path']}".encode())


@pytest.fixture
def echo() -> Echo:
    """The application."""
    return Echo()


@pytest.fixture
def server(echo: Echo) -> Iterator[LiveServer]:
    """It runs."""
    with LiveServer(echo, linger_s=0.5) as running:
        yield running
        running.wait_for(running.quiescent)


@pytest.fixture
def client(server: LiveServer) -> Iterator[RawClient]:
    """A connection to it."""
    with server.connect() as connected:
        yield connected


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "CL and TE": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed-request"),
    "TE and CL": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "malformed-request"),
    "two CL that differ": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "malformed-request"),
    "two CL that agree": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "malformed-request"),
    "CL list": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\n", 400, "malformed-request"),
    "CL signed": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\n", 400, "malformed-request"),
    "CL negative": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400, "malformed-request"),
    "CL hexadecimal": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\n", 400, "malformed-request"),
    "CL with underscore": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n\r\n", 400, "malformed-request"),
    "CL empty": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400, "malformed-request"),
    "CL 2^63": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 9223372036854775808\r\n\r\n", 400, "malformed-request"),
    "CL Arabic digits": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: \xd9\xa5\r\n\r\n", 400, "malformed-request"),
    "TE gzip": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501, "transfer-coding"),
    "TE gzip, chunked": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "transfer-coding"),
    "TE identity": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n", 501, "transfer-coding"),
    "TE twice": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "transfer-coding"),
    "TE xchunked": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 501, "transfer-coding"),
    "TE with vertical tab": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400, "malformed-request"),
    "TE in HTTP/1.0": (b"PUT / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed-request"),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed-request"),
    "two Hosts": (b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n", 400, "malformed-request"),
    "same Host twice": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "malformed-request"),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "malformed-request"),
    "Host with path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "malformed-request"),
    "Host with user": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "malformed-request"),
    "Host with a bad address": (b"GET / HTTP/1.1\r\nHost: [1.2.3]\r\n\r\n", 400, "malformed-request"),
    "Host with colons": (b"GET / HTTP/1.1\r\nHost: [::::]:80\r\n\r\n", 400, "malformed-request"),
    "target with a bad address": (b"GET http://[1.2.3]/ HTTP/1.1\r\nHost: [1.2.3]\r\n\r\n", 400, "malformed-request"),
    "Host with space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed-request"),
    "Host with bad port": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "malformed-request"),
    "bare LF in request line": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400, "malformed-request"),
    "bare LF in fields": (b"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400, "malformed-request"),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\n", 400, "malformed-request"),
    "bare CR in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400, "malformed-request"),
    "obs-fold": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400, "malformed-request"),
    "folded first field": (b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400, "malformed-request"),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, "malformed-request"),
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400, "malformed-request"),
    "NUL in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"X\x00: a\r\n\r\n", 400, "malformed-request"),
    "empty name": (b"GET / HTTP/1.1\r\n" + HOST + b": a\r\n\r\n", 400, "malformed-request"),
    "no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n", 400, "malformed-request"),
    "method with a bracket": (b"GE(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "unknown method of llhttp": (b"FROBNICATE / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "no target": (b"GET HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "tab as separator": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "relative target": (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "target with fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "target with raw UTF-8": ("GET /ü HTTP/1.1\r\n".encode() + HOST + b"\r\n", 400, "malformed-request"),
    "target with control": (b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "star with GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "absolute target of another scheme": (b"GET ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "absolute target with user": (b"GET http://u@a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "HTTP/0.9": (b"GET /\r\n", 400, "malformed-request"),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "HTTP/2.0 in words": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "lower-case http": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed-request"),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed-request"),
    "a space first": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    "unknown expectation": (b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\nContent-Length: 1\r\n\r\nx", 417, "expectation-failed"),
    "101 fields": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 100 + b"\r\n", 431, "headers-too-large"),
    "a field of 40 KiB": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 40_000 + b"\r\n\r\n", 431, "headers-too-large"),
    "a target of 40 KiB": (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431, "headers-too-large"),
    "a header without end": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 40_000, 431, "headers-too-large"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_broken_heads_are_refused_and_nothing_after_them_is_parsed(
    case: str, client: RawClient, server: LiveServer, echo: Echo
) -> None:
    """A problem document with the right status, then the end; a request behind it is never run."""
    data, status, code = REFUSED[case]
    answer = client.send(data + SMUGGLED).answer()
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], problem["status"]) == (status, code, status)
    assert problem["type"] == f"urn:forebay:problem:{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert client.ended()
    assert echo.scopes == []
    assert server.observer.refused == [code]


BROKEN_CHUNKS = {
    "size not hexadecimal": b"zz\r\n",
    "size signed": b"-1\r\n",
    "size with 0x": b"0x5\r\nhello\r\n",
    "size empty": b"\r\n",
    "size of 2^64": b"FFFFFFFFFFFFFFFF1\r\n",
    "size with space first": b" 5\r\nhello\r\n",
    "size with space after": b"5 \r\nhello\r\n",
    "bare LF after the size": b"5\nhello\r\n",
    "bare LF after the content": b"5\r\nhello\n0\r\n\r\n",
    "content too long": b"5\r\nhello!\r\n",
    "content too short": b"5\r\nhell\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a=\x00\r\nhello\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n",
    "long extension": b"5;" + b"a" * 300 + b"\r\nhello\r\n",
    "flood of extensions": (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100,
    "bare LF in the trailer": b"0\r\nX: y\n\r\n",
    "trailer with obs-fold": b"0\r\nX: y\r\n z\r\n\r\n",
    "trailer without colon": b"0\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("case", BROKEN_CHUNKS)
def test_broken_chunked_framing_is_refused(case: str, client: RawClient, echo: Echo) -> None:
    """400 out of the application's own reading, then the end; nothing behind it is a request."""
    head = b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = client.send(head + BROKEN_CHUNKS[case] + SMUGGLED).answer()
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "malformed-request")
    assert client.ended()
    assert [scope["path"] for scope in echo.scopes] == ["/"]


@pytest.mark.parametrize(
    "trailer",
    [b"X: y\r\n" * 101, b"X: " + b"y" * 40_000 + b"\r\n", b"X: " + b"y" * 40_000],
    ids=["count", "size", "endless"],
)
def test_a_trailer_flood_is_refused(trailer: bytes, client: RawClient) -> None:
    """A trailer section has the limits of a header."""
    head = b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert client.send(head + b"0\r\n" + trailer + b"\r\n").answer().status == 431


def test_chunk_extensions_and_trailers_are_dropped(client: RawClient, echo: Echo) -> None:
    """They reach neither the body nor the header, and the connection goes on."""
    head = b"PUT /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n\r\n"
    client.send(head + b'5;name="v"\r\nhello\r\n00\r\nX-Owner: root\r\nHost: evil\r\n\r\n')
    assert client.answer().status == 200
    assert client.send(SMUGGLED).answer().body == b"GET /smuggled"
    assert echo.bodies == [b"hello", b""]
    assert b"x-owner" not in dict(echo.scopes[0]["headers"])


def test_a_head_may_come_byte_by_byte(client: RawClient, echo: Echo) -> None:
    """Also with empty lines before it."""
    for byte in b"\r\n\r\nPUT /slow?q=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok":
        client.send(bytes([byte]))
    assert client.answer().body == b"PUT /slow"
    assert echo.bodies == [b"ok"]
    assert echo.scopes[0]["query_string"] == b"q=1"


def test_pipelined_requests_are_answered_in_order(client: RawClient) -> None:
    """Three requests in one packet, one with a body."""
    client.send(
        b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n"
        b"PUT /2 HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
        b"GET /3 HTTP/1.1\r\n" + HOST + b"\r\n"
    )
    assert [client.answer().body for _ in range(3)] == [b"GET /1", b"PUT /2", b"GET /3"]


def test_an_absolute_target_names_path_and_host(client: RawClient, echo: Echo) -> None:
    """RFC 9112 section 3.2.2: its authority replaces the Host field."""
    assert client.send(b"GET http://real:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n").answer().body == b"GET /p"
    assert client.send(b"GET http://real HTTP/1.1\r\nHost: other\r\n\r\n").answer().body == b"GET /"
    assert dict(echo.scopes[0]["headers"])[b"host"] == b"real:81"
    assert echo.scopes[0]["query_string"] == b"q"


def test_options_star_is_a_request(client: RawClient) -> None:
    """RFC 9110 section 9.3.7."""
    assert client.send(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n").answer().body == b"OPTIONS *"


def test_an_upgrade_is_ignored_and_its_body_read(client: RawClient, echo: Echo) -> None:
    """`Upgrade: h2c` with a body: an ordinary request, and the next one is one too."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    client.send(b"PUT /u HTTP/1.1\r\n" + HOST + upgrade + b"Content-Length: 4\r\n\r\nbody" + SMUGGLED)
    assert client.answer().body == b"PUT /u"
    assert client.answer().body == b"GET /smuggled"
    websocket = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
    )
    assert client.send(b"GET /ws HTTP/1.1\r\n" + HOST + websocket).answer().body == b"GET /ws"
    assert echo.bodies == [b"body", b"", b""]


def test_http_1_0_is_answered_and_closed(client: RawClient, echo: Echo) -> None:
    """No Host needed, no keep-alive, no interim answers."""
    answer = client.send(b"PUT /old HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi").answer()
    assert (answer.body, answer.headers["connection"]) == (b"PUT /old", "close")
    assert client.ended()
    assert echo.scopes[0]["http_version"] == "1.0"
    assert "forebay.send_informational" not in echo.scopes[0]["extensions"]


def test_connection_close_is_honoured(client: RawClient) -> None:
    """The answer comes, then the end; a request behind it is not run."""
    client.send(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: keep-alive, CLOSE\r\n\r\n" + SMUGGLED)
    assert client.answer().headers["connection"] == "close"
    assert client.ended()


def test_odd_but_allowed_octets_pass(client: RawClient, echo: Echo) -> None:
    """obs-text in a value, an empty value, an IPv6 Host, percent escapes that are no UTF-8."""
    client.send(b"GET /%ff%2F%zz HTTP/1.1\r\nHost: [::1]:80\r\nX: \xff\r\nY:\r\nZ:  a\tb \t\r\n\r\n")
    assert client.answer().status == 200
    assert echo.scopes[0]["raw_path"] == b"/%ff%2F%zz"
    assert dict(echo.scopes[0]["headers"]) == {b"host": b"[::1]:80", b"x": b"\xff", b"y": b"", b"z": b"a\tb"}


@pytest.mark.parametrize(
    ("given", "taken"), [("abcdef-123456", True), ("short", False), ("a b c d e f g h", False), ("x" * 129, False)]
)
def test_a_sane_request_id_is_taken_over(given: str, taken: bool, client: RawClient, echo: Echo) -> None:
    """Anything else is replaced; scope and answer have the same."""
    answer = client.send(f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {given}\r\n\r\n".encode()).answer()
    assert (answer.headers["x-request-id"] == given) is taken
    assert echo.scopes[0]["extensions"]["forebay.request_id"] == answer.headers["x-request-id"]


def test_white_space_is_no_way_to_hold_the_event_loop(server: LiveServer) -> None:
    """A value of 30 KB of spaces and a bad octet (a backtracking pattern takes seconds) is refused at once."""
    with server.connect(timeout_s=1) as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"X:" + b" " * 30_000 + b"\x00\r\n\r\n")
        assert client.answer().status == 400


def test_a_flood_of_tiny_chunks_arrives(client: RawClient, echo: Echo) -> None:
    """More elements than the decoder reads in one call."""
    head = b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    client.send(head + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
    assert client.answer().status == 200
    assert echo.bodies == [b"x" * 50_000]


def test_an_endless_header_costs_no_memory_and_is_cut(server: LiveServer) -> None:
    """The server reads a little more than the limit, answers, and stops reading for good."""
    with server.connect() as client:
        sent = 0
        stuck = threading.Event()
        client.send(b"GET / HTTP/1.1\r\n" + HOST)
        try:
            client.sock.settimeout(1)
            while sent < 300_000_000 and not stuck.is_set():
                sent += client.sock.send(b"X: " + b"y" * 65_000)
        except OSError:
            stuck.set()
        assert stuck.is_set()
        assert sent < 64_000_000
    assert server.observer.refused == ["headers-too-large"]
