"""A plain client of tus for tests: each verb as it is asked for, and requests that break off."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from app.testing.api_client import ApiClient, Reply

__all__ = ["BYTES", "ROOT", "VERSION", "Tus", "checksum", "metadata"]

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
        if (reply.status, reply.headers.get("tus-resumable")) != (201, VERSION["Tus-Resumable"]):
            raise AssertionError(f"creation: {reply}")
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
        if (reply.status, reply.headers["cache-control"]) != (200, "no-store"):
            raise AssertionError(f"HEAD: {reply}")
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
