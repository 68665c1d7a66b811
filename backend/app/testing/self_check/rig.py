"""What the checks work with: a server of their own, the real client, and plain HTTP."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.testing.server_process import ServerProcess
from forebay import Client, UploadResult

__all__ = ["Answer", "Rig"]


@dataclass(frozen=True, slots=True)
class Answer:
    """To a plain HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Rig:
    """Everything a check may touch; a test breaks one method and sees the check fail."""

    def __init__(self, directory: Path, backend: Path) -> None:
        """Work in `directory`, check the installation in `backend`."""
        self.directory = directory
        self.backend = backend
        self._server: ServerProcess | None = None
        os.environ["FOREBAY_STATE_DIR"] = str(directory / "client-state")

    # -- the installation --------------------------------------------------------------------------------------------

    @property
    def services(self) -> Path:
        """The guide's folder of services."""
        return self.backend / "app" / "services"

    @property
    def template(self) -> Path:
        """The template of the settings."""
        return self.backend / "env.parallel_upload.template"

    @property
    def env_file(self) -> Path:
        """The operator's settings."""
        return self.backend / ".env"

    # -- the server --------------------------------------------------------------------------------------------------

    @property
    def server(self) -> ServerProcess:
        """The server of this phase."""
        if self._server is None:
            raise RuntimeError("no server was started")
        return self._server

    def start(self, settings: Mapping[str, str]) -> None:
        """Start a server on new data."""
        self._server = ServerProcess(self.directory / f"server-{random.randrange(10**9)}", settings).__enter__()  # noqa: S311

    def stop(self) -> None:
        """Stop it."""
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None

    def crash(self) -> None:
        """Kill it and start it again."""
        self.server.kill()
        self.server.start()

    def log_events(self) -> list[dict[str, object]]:
        """What it logged."""
        return self.server.log_events()

    def rss_bytes(self) -> int:
        """Its resident memory."""
        return int(psutil.Process(self.server.pid).memory_info().rss)

    # -- traffic -----------------------------------------------------------------------------------------------------

    def make_file(self, name: str, size: int) -> Path:
        """A file of random bytes."""
        path = self.directory / name
        with path.open("wb") as file:
            for start in range(0, size, 1 << 20):
                file.write(random.randbytes(min(1 << 20, size - start)))  # noqa: S311 - content, no secret
        return path

    def upload(self, path: Path) -> UploadResult:
        """Bring a file to the server as users do, with the client."""
        with Client(self.server.url) as client:
            return client.upload(path)

    def stored_sha256(self, name: str) -> str:
        """SHA-256 of what the destination holds under that name."""
        with (self.server.files / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            raw = response.read()
            is_json = raw and "json" in (response.getheader("content-type") or "")
            return Answer(response.status, dict(response.getheaders()), json.loads(raw) if is_json else raw)
        finally:
            connection.close()

    def create(self, name: str, size: int, **more: object) -> dict[str, Any]:
        """Begin an upload by hand."""
        wanted = json.dumps({"filename": name, "size": size, **more}).encode()
        answer = self.call("POST", "/api/v1/uploads", wanted, {"content-type": "application/json"})
        if answer.status != http.client.CREATED:
            raise RuntimeError(f"creation answered {answer.status}: {answer.body}")
        created: dict[str, Any] = answer.body
        return created

    def half_sent(self, path: str, size: int) -> http.client.HTTPConnection:
        """A chunk whose second half does not come until the connection is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        connection.putrequest("PUT", path)
        connection.putheader("content-length", str(size))
        connection.endheaders()
        connection.send(bytes(size // 2))
        return connection

    def status(self) -> dict[str, Any]:
        """The guide's status endpoint."""
        body: dict[str, Any] = self.call("GET", "/api/v1/system/upload-status").body
        return body

    def progress(self, upload_id: str) -> dict[str, Any]:
        """The guide's progress endpoint."""
        body: dict[str, Any] = self.call("GET", f"/api/v1/system/upload-progress/{upload_id}").body
        return body

    def until(self, condition: Callable[[], bool], seconds: float = 15.0) -> bool:
        """Whether a condition on the server's state comes true in time (it is asked, since it tells nobody)."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
