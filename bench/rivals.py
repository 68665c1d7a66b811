"""What the receiver is compared with: servers that take a PUT and leave its body in a file on the same file system.

None of them computes a checksum. Each runs as a process of its own and is stopped by its own handle.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["BareLoop", "FastApiStream", "NginxDav", "Rival"]

_NGINX = """
worker_processes 2;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
events {{ worker_connections 1024; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    client_max_body_size 0;
    client_body_buffer_size {buffer};
    client_body_temp_path {directory}/temp;
    client_body_timeout 60s;
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        root {directory}/files;
        location / {{ dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


class Rival(ABC):
    """`with NginxDav(directory) as rival:` runs it; `files` is where bodies go."""

    name: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = directory / "files"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        self.files.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)

    @abstractmethod
    def command(self) -> list[str]:
        """What is run."""

    def clear(self) -> None:
        """Remove what it stored."""
        for path in self.files.iterdir():
            path.unlink()


class NginxDav(Rival):
    """nginx with two workers; bodies go to temporary files and are renamed, on one file system.

    What decides is `client_body_buffer_size`: 16k is nginx's default on 64-bit machines, 1m is where it is fastest here.
    """

    def __init__(self, directory: Path, buffer: str) -> None:
        super().__init__(directory)
        self.name = f"nginx DAV PUT, buffers of {buffer}"
        self._buffer = buffer

    def command(self) -> list[str]:
        """With a configuration of its own."""
        (self.directory / "temp").mkdir(exist_ok=True)
        for path in (self.directory, self.directory / "temp", self.files):
            path.chmod(0o777)  # the workers are nobody when we are root
        config = self.directory / "nginx.conf"
        config.write_text(_NGINX.format(directory=self.directory, port=self.port, buffer=self._buffer))
        return ["nginx", "-c", str(config), "-e", f"{self.directory}/error.log"]


class BareLoop(Rival):
    """A thread per connection: `recv_into`, `pwrite`, nothing else."""

    name = "bare recv_into + pwrite"

    def command(self) -> list[str]:
        """In a Python of its own."""
        return [sys.executable, str(Path(__file__).with_name("bare_loop.py")), str(self.port), str(self.files)]


class FastApiStream(Rival):
    """FastAPI on uvicorn with uvloop and httptools: `async for piece in request.stream()`, written in the loop."""

    name = "FastAPI request.stream()"

    def command(self) -> list[str]:
        """In a Python of its own."""
        return [sys.executable, str(Path(__file__).with_name("fastapi_stream.py")), str(self.port), str(self.files)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
