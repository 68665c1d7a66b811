"""A client of the IETF's resumable uploads that says what it does, and shows every response, interim ones too."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from app.testing.api_client import ApiClient, Reply
from app.testing.live_server import Answer, RawClient
from app.testing.product import Product

ROOT = "/api/v1/resumable"
PARTIAL = {"Content-Type": "application/partial-upload"}
IANA = "https://iana.org/assignments/http-problem-types#"


def spoken(version: int | None) -> dict[str, str]:
    """As clients of that iteration say it; None: of none."""
    return {} if version is None else {"Upload-Draft-Interop-Version": str(version)}


class Resumable:
    """Over one connection."""

    def __init__(self, api: ApiClient, version: int | None = 8) -> None:
        self.api = api
        self.version = version
        self.interim: list[Answer] = []

    def speaking(self, version: int | None) -> Resumable:
        """The same client, of another iteration."""
        return Resumable(self.api, version)

    def create(self, body: bytes | None = None, *, complete: str | None = "?0", **fields: str) -> Reply:
        """POST; answers what it is answered at the end."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        said = {} if complete is None else {"Upload-Complete": complete}
        return self.request("POST", ROOT, body, {**said, **named})

    def begin(self, length: int | None = None, name: str = "report.bin") -> str:
        """Create an upload without content; its path."""
        fields = {"Content_Disposition": f'inline; filename="{name}"'}
        if length is not None:
            fields["Upload_Length"] = str(length)
        reply = self.create(**fields)
        assert (reply.status, reply.headers["upload-complete"], reply.headers["upload-offset"]) == (201, "?0", "0")
        return urlsplit(reply.headers["location"]).path

    def append(self, path: str, offset: int, data: bytes = b"", complete: str | None = "?0", **fields: str) -> Reply:
        """PATCH."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        said = {} if complete is None else {"Upload-Complete": complete}
        return self.request("PATCH", path, data, {**PARTIAL, "Upload-Offset": str(offset), **said, **named})

    def head(self, path: str) -> Reply:
        """Ask."""
        return self.request("HEAD", path)

    def standing(self, path: str) -> tuple[int, str]:
        """Where it stands, and whether it is complete."""
        reply = self.head(path)
        assert (reply.status, reply.headers["cache-control"]) == (204, "no-store")
        return int(reply.headers["upload-offset"]), reply.headers["upload-complete"]

    def delete(self, path: str) -> Reply:
        """Cancel."""
        return self.request("DELETE", path)

    def request(
        self, method: str, path: str, body: bytes | None = None, fields: Mapping[str, str] | None = None
    ) -> Reply:
        """The final response; the interim ones before it are in `interim`."""
        with self.raw() as raw:
            length = {} if body is None else {"Content-Length": str(len(body))}
            self.send_head(raw, method, path, {**length, **(fields or {})})
            with suppress(BrokenPipeError, ConnectionResetError):  # an early answer may be there all the same
                raw.send(body or b"")
            self.interim = []
            while (answer := raw.answer(method)).status < 200:
                self.interim.append(answer)
        return Reply(answer.status, answer.headers, answer.body)

    @contextmanager
    def raw(self) -> Iterator[RawClient]:
        """A connection of its own, byte by byte."""
        connection = self.api.connection
        with socket.create_connection((connection.host, connection.port), timeout=30) as sock:
            yield RawClient(sock)

    def send_head(self, client: RawClient, method: str, path: str, fields: Mapping[str, str]) -> None:
        """The header of a request, on such a connection."""
        headers = {"Host": "127.0.0.1", **spoken(self.version), **fields}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())


def registered(reply: Reply, status: int, name: str) -> Reply:
    """The reply, when it is a refusal of that type in IANA's registry.

    Raises:
        AssertionError: it is not.
    """
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json
    assert (problem["type"], problem["code"]) == (IANA + name, name)
    assert reply.headers["upload-complete"] == "?0"
    return reply


@pytest.fixture
def resumable(api: ApiClient) -> Resumable:
    """Of the product with its defaults; it speaks the newest iteration."""
    return Resumable(api)


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
            return live is not None and any(each.received() for each in live.receivers.values())

        product.wait_for(has_come)

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
