"""A client of tus that says what it does: each verb, and what a server must survive."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import pytest

from app.testing.api_client import ApiClient, Reply
from app.testing.product import Product

ROOT = "/api/v1/tus"
VERSION = {"Tus-Resumable": "1.0.0"}
BYTES = {**VERSION, "Content-Type": "application/offset+octet-stream"}


def metadata(**values: str | bytes | None) -> str:
    """`Upload-Metadata`; None: a key alone."""
    pairs = []
    for key, value in values.items():
        if value is None:
            pairs.append(key)
            continue
        data = value.encode() if isinstance(value, str) else value
        pairs.append(f"{key} {base64.b64encode(data).decode()}")
    return ",".join(pairs)


def checksum(algorithm: str, data: bytes) -> dict[str, str]:
    """`Upload-Checksum`."""
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"}


class Tus:
    """Over one connection."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api

    def create(self, size: int, body: bytes | None = None, **fields: str) -> Reply:
        """POST; answers what it is answered."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        headers = {**(BYTES if body is not None else VERSION), "Upload-Length": str(size), **named}
        return self.api.request("POST", ROOT, body, headers)

    def begin(self, size: int, name: str = "report.bin", **values: str) -> str:
        """Create an upload; its path."""
        reply = self.create(size, Upload_Metadata=metadata(filename=name, **values))
        assert (reply.status, reply.headers.get("tus-resumable")) == (201, "1.0.0"), reply.body
        return urlsplit(reply.headers["location"]).path

    def patch(self, path: str, offset: int, data: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Add bytes."""
        return self.api.request("PATCH", path, data, {**BYTES, "Upload-Offset": str(offset), **(headers or {})})

    def head(self, path: str) -> Reply:
        """Ask."""
        return self.api.request("HEAD", path, headers=VERSION)

    def position(self, path: str) -> int:
        """Where it stands."""
        reply = self.head(path)
        assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
        return int(reply.headers["upload-offset"])

    def delete(self, path: str) -> Reply:
        """Terminate."""
        return self.api.request("DELETE", path, headers=VERSION)

    def begin_patch(self, path: str, offset: int, length: int, first: bytes, **fields: str) -> socket.socket:
        """A PATCH on a connection of its own, of which only the first bytes are sent."""
        connection = self.api.connection
        sock = socket.create_connection((connection.host, connection.port), timeout=30)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        headers = {**BYTES, "Upload-Offset": str(offset), "Content-Length": str(length), **named}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(
            f"PATCH {path} HTTP/1.1\r\nHost: {connection.host}:{connection.port}\r\n{lines}\r\n".encode() + first
        )
        return sock


@pytest.fixture
def tus(api: ApiClient) -> Tus:
    """Of the product with its defaults."""
    return Tus(api)


@pytest.fixture
def stored(product: Product) -> Callable[[str], bytes]:
    """`stored(name)`: what is at the destination under that name, once it is there."""

    def read(name: str) -> bytes:
        file = product.data_dir / "files" / name
        product.wait_for(file.exists)
        return file.read_bytes()

    return read


@pytest.fixture
def some_came(product: Product) -> Callable[[str], None]:
    """`some_came(path)`: wait until a request under way has brought something; the kernel may hold the rest of it."""

    def wait(path: str) -> None:
        upload_id = path.rpartition("/")[2]

        def has_come() -> bool:
            live = product.server.context.uploads.under_way(upload_id)
            if live is None:
                return False
            return live.recorded.prefix > 0 or any(each.received() for each in live.receivers.values())

        product.wait_for(has_come)

    return wait


@pytest.fixture
def nobody_sends(product: Product) -> Callable[[str], None]:
    """`nobody_sends(path)`: wait until no request brings anything to the upload."""

    def wait(path: str) -> None:
        upload_id = path.rpartition("/")[2]

        def quiet() -> bool:
            live = product.server.context.uploads.under_way(upload_id)
            return live is None or not live.receivers

        product.wait_for(quiet)

    return wait


@pytest.fixture
def stands(product: Product) -> Callable[[str, int], None]:
    """`stands(path, count)`: wait until so many bytes of it are recorded."""

    def wait(path: str, count: int) -> None:
        upload_id = path.rpartition("/")[2]

        def recorded() -> bool:
            live = product.server.context.uploads.under_way(upload_id)
            return live is not None and live.recorded.prefix == count

        product.wait_for(recorded)

    return wait


@pytest.fixture
def completed(product: Product) -> Callable[[str], None]:
    """`completed(path)`: wait until its file is at the destination, and the server knows."""

    def wait(path: str) -> None:
        upload_id = path.rpartition("/")[2]
        product.wait_for(lambda: product.server.context.uploads.under_way(upload_id) is None)

    return wait
