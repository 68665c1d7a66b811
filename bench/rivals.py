"""What the receiver is compared with: servers that take a body and leave it in a file on the same file system.

Those here take a PUT, compute no checksum and sync nothing; `peers` has more. Each runs as a process of its own and is
stopped by its own handle.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.certificate import Certificate
from bench.load import Request
from bench.processes import cpu_seconds, rss_mib

__all__ = ["BareLoop", "FastApiStream", "NginxDav", "Rival", "Sink", "free_port"]

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
        listen 127.0.0.1:{port}{listen_tls} reuseport backlog=4096;
        {tls}
        root {directory}/files;
        location / {{ dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


class Rival(ABC):
    """`with NginxDav(directory) as rival:` runs it; `files` is where bodies go."""

    name: str
    synced = False
    """Whether an answer means that the content outlives a power cut."""
    ends_with = signal.SIGTERM

    def __init__(self, directory: Path, *, certificate: Certificate | None = None) -> None:
        """Not started yet; with a certificate it speaks TLS."""
        self.directory = directory
        self.files = directory / "files"
        self.port = free_port()
        self.certificate = certificate
        self.authority = None if certificate is None else certificate.authority
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        self.files.mkdir(parents=True, exist_ok=True)
        command = self.command()
        with (self.directory / "said.log").open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, cwd=self.directory
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        self._end(signal.SIGKILL)
        said_last = (self.directory / "said.log").read_text(errors="replace").strip()[-200:]
        raise RuntimeError(f"{self.name} does not listen: {said_last or 'it said nothing'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._end(self.ends_with)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:  # what it holds open keeps it
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process that was started; it may have children."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    @abstractmethod
    def command(self) -> list[str]:
        """What is run."""

    def script(self, name: str, *args: str) -> list[str]:
        """One of this directory's, with the port and, for TLS, chain and key at the end."""
        tls = () if self.certificate is None else (str(self.certificate.chain), str(self.certificate.key))
        return [sys.executable, str(Path(__file__).with_name(name)), str(self.port), *args, *tls]

    def bodies(self, count: int, size: int) -> list[Request]:
        """Requests that bring `count` bodies of `size` bytes each; what must be there before is made here."""
        return [Request(f"/file-{number}", size) for number in range(count)]

    def clear(self) -> None:
        """Remove what it stored."""
        for path in self.files.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def cpu_seconds(self) -> float:
        """Processor time used so far, by it and its children."""
        return cpu_seconds(self.pid)

    def rss_mib(self) -> float:
        """Resident memory now, of it and its children."""
        return rss_mib(self.pid)


class NginxDav(Rival):
    """nginx with two workers; bodies go to temporary files and are renamed, on one file system.

    What decides is `client_body_buffer_size`: 16k is nginx's default on 64-bit machines, 1m is where it is fastest here.
    """

    def __init__(self, directory: Path, buffer: str, *, certificate: Certificate | None = None) -> None:
        super().__init__(directory, certificate=certificate)
        self.name = f"nginx DAV PUT, buffers of {buffer}"
        self._buffer = buffer

    def command(self) -> list[str]:
        """With a configuration of its own."""
        (self.directory / "temp").mkdir(exist_ok=True)
        for path in (self.directory, self.directory / "temp", self.files):
            path.chmod(0o777)  # the workers are nobody when we are root
        config = self.directory / "nginx.conf"
        tls = ""
        if self.certificate is not None:
            tls = f"ssl_certificate {self.certificate.chain}; ssl_certificate_key {self.certificate.key};"
        listen_tls = " ssl" if tls else ""
        text = _NGINX.format(
            directory=self.directory, port=self.port, buffer=self._buffer, listen_tls=listen_tls, tls=tls
        )
        config.write_text(text)
        return ["nginx", "-c", str(config), "-e", f"{self.directory}/error.log"]


class BareLoop(Rival):
    """A thread per connection: `recv_into`, `pwrite`, nothing else."""

    name = "bare recv_into + pwrite"

    def command(self) -> list[str]:
        """In a Python of its own."""
        return self.script("bare_loop.py", str(self.files))


class FastApiStream(Rival):
    """FastAPI on uvicorn with uvloop and httptools: `async for piece in request.stream()`, written in the loop."""

    name = "FastAPI request.stream()"

    def command(self) -> list[str]:
        """In a Python of its own."""
        return self.script("fastapi_stream.py", str(self.files))


class Sink(Rival):
    """Keeps nothing: the generator's own limit."""

    name = "nobody (bodies thrown away)"

    def command(self) -> list[str]:
        """In a Python of its own."""
        return self.script("sink.py")


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
