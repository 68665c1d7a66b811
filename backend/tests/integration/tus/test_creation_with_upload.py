"""tus, creation-with-upload: the first bytes, or all, come with the POST."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from app.testing.api_client import refusal
from app.testing.product import Product
from app.testing.tus_client import BYTES, ROOT, VERSION, Tus, metadata

Stored = Callable[[str], bytes]


def test_bytes_may_come_with_the_creation(tus: Tus, stored: Stored) -> None:
    """All of them, or the first ones."""
    whole = tus.create(5, b"hello", Upload_Metadata=metadata(filename="whole.bin"))
    assert (whole.status, whole.headers["upload-offset"]) == (201, "5")
    assert stored("whole.bin") == b"hello"
    first = tus.create(5, b"he", Upload_Metadata=metadata(filename="first.bin"))
    assert (first.status, first.headers["upload-offset"]) == (201, "2")
    tus.patch(urlsplit(first.headers["location"]).path, 2, b"llo")
    assert stored("first.bin") == b"hello"
    refusal(tus.create(2, b"hello"), 413, "body-too-large")


def test_bytes_are_said_to_be_bytes(tus: Tus) -> None:
    """Another type of content may be anything."""
    headers = {**VERSION, "Upload-Length": "5", "Content-Type": "text/plain"}
    refusal(tus.api.request("POST", ROOT, b"hello", headers), 415, "unsupported-media-type")
    assert tus.api.get("/api/v1/uploads")["uploads"] == []


def test_who_waits_for_100_is_told_early(tus: Tus, stored: Stored) -> None:
    """Expect: 100-continue: refused without the bytes, or asked for them."""
    connection = tus.api.connection
    for length, first in ((6 << 40, b"HTTP/1.1 413"), (5, b"HTTP/1.1 100")):
        lines = {"Host": f"{connection.host}:{connection.port}", **BYTES, "Expect": "100-continue"}
        lines |= {"Upload-Length": str(length), "Content-Length": "5", "Upload-Metadata": metadata(filename="a.bin")}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with socket.create_connection((connection.host, connection.port), timeout=30) as sock:
            sock.sendall(f"POST {ROOT} HTTP/1.1\r\n{head}\r\n".encode())
            assert sock.recv(12) == first
            if length == 5:
                sock.sendall(b"hello")
                assert stored("a.bin") == b"hello"
                assert b"HTTP/1.1 201" in sock.recv(4096)


def test_what_came_of_a_broken_creation_is_kept(tus: Tus, product: Product) -> None:
    """Though its client may not know where; the upload is in the list, and expires."""
    connection = tus.api.connection
    lines = {"Host": f"{connection.host}:{connection.port}", **BYTES, "Upload-Length": "9", "Content-Length": "9"}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    uploads = product.server.context.uploads
    with socket.create_connection((connection.host, connection.port), timeout=30) as sock:
        sock.sendall(f"POST {ROOT} HTTP/1.1\r\n{head}\r\nhello".encode())
        product.wait_for(lambda: any(each.received() for live in uploads.live for each in live.receivers.values()))
    product.wait_for(lambda: [live.recorded.prefix for live in uploads.live] == [5])
    (view,) = tus.api.get("/api/v1/uploads")["uploads"]
    assert tus.patch(f"{ROOT}/{view['id']}", 5, b"!!!!").status == 204
