"""Trailer fields of a chunked body: what was announced reaches the application, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.core.body import BODY_EXTENSION
from app.testing.live_server import LiveServer, RawClient, read_answer, reply


class Reader:
    """An application that reads a body and remembers its trailer, before and after."""

    def __init__(self) -> None:
        self.trailers: list[list[tuple[str, str]]] = []
        self.headers: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Deliver, and answer."""
        body = scope["extensions"][BODY_EXTENSION]
        assert list(body.trailer) == []
        await body.deliver(lambda view: None, limit=1 << 20, owner="ann")
        self.trailers.append(list(body.trailer))
        self.headers.append(dict(scope["headers"]))
        await reply(send)


@pytest.fixture
def reader() -> Reader:
    """Of one server."""
    return Reader()


@pytest.fixture(params=["plain", "tls"])
def client(request: pytest.FixtureRequest, reader: Reader) -> Iterator[RawClient]:
    """A connection, in plain and over TLS."""
    settings = request.getfixturevalue("certificate") if request.param == "tls" else {}
    with LiveServer(reader, **settings) as server, server.connect() as connected:
        yield connected


Send = Callable[[str, str], int]


@pytest.fixture
def send(client: RawClient) -> Send:
    """`send(header lines, trailer lines)`; the status."""

    def put(header: str, trailer: str) -> int:
        head = f"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{header}\r\n"
        client.send(f"{head}5\r\nhello\r\n0\r\n{trailer}\r\n".encode("latin-1"))
        return read_answer(client).status

    return put


def test_an_announced_field_is_there_when_the_body_has_ended(send: Send, reader: Reader) -> None:
    """By any spelling, in any list of names; the connection goes on, and the next request has none of it."""
    assert send("Trailer: X, upload-checksum\r\n", "Upload-Checksum:  sha1 AAAA \r\n") == 200
    assert send("Trailer: X\r\nTrailer: Upload-Checksum\r\n", "upload-checksum: b\r\nUpload-Checksum: c\r\n") == 200
    assert send("Trailer: Upload-Checksum\r\n", "") == 200
    assert reader.trailers == [
        [("upload-checksum", "sha1 AAAA")],
        [("upload-checksum", "b"), ("upload-checksum", "c")],
        [],
    ]


def test_what_was_not_announced_is_dropped(send: Send, reader: Reader) -> None:
    """And nothing of a trailer ever is a header."""
    assert send("", "Upload-Checksum: sha1 AAAA\r\n") == 200
    assert send("Trailer: Upload-Checksum\r\n", "Host: evil\r\nX-Owner: root\r\nContent-Length: 3\r\n") == 200
    assert reader.trailers == [[], []]
    for headers in reader.headers:
        assert headers[b"host"] == b"localhost"
        assert not {b"upload-checksum", b"x-owner", b"content-length"} & set(headers)


@pytest.mark.parametrize(
    ("trailer", "status"),
    [
        ("Upload-Checksum : x\r\n", 400),
        ("Upload-Checksum: a\x00b\r\n", 400),
        ("Upload-Checksum: a\r\n b\r\n", 400),
        ("\x7f: a\r\n", 400),
        ("Upload-Checksum: a\r\n" * 101, 431),
        (f"Upload-Checksum: {'a' * 40_000}\r\n", 431),
    ],
    ids=["space before the colon", "NUL", "folded", "no token", "too many", "too long"],
)
def test_a_trailer_has_the_form_and_the_limits_of_a_header(
    send: Send, reader: Reader, trailer: str, status: int
) -> None:
    """Announced or not."""
    assert send("Trailer: Upload-Checksum\r\n", trailer) == status
    assert reader.trailers == []
