"""The product with Google Drive's emulator as its destination."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.services.destination_gate import _LOOK_AGAIN_S
from app.testing.api_client import ApiClient
from app.testing.drive_emulator import DriveEmulator, DriveFile, Kind
from app.testing.product import Product

MIB = 1 << 20


@dataclass
class Rig:
    """Drive, the product, and a client."""

    drive: DriveEmulator
    start: Callable[..., Product]
    directory: Path
    settings: dict[str, Any]
    product: Product = field(init=False)
    api: ApiClient = field(init=False)

    def run(self, **settings: Any) -> Rig:
        """Start the product."""
        self.product = self.start(self.directory, **self.settings, **settings)
        self.api = self.product.client()
        return self

    def begin(self, content: bytes, name: str = "report.bin", **fields: object) -> dict[str, Any]:
        """Create an upload of it."""
        return self.api.create(name, len(content), **fields)

    def upload(self, content: bytes, name: str = "report.bin", **fields: object) -> dict[str, Any]:
        """Send all of it and wait for the end; the upload's last view."""
        view = self.begin(content, name, **fields)
        self.api.put_all(view, content)
        return self.ended(view["id"])

    def ended(self, upload_id: str) -> dict[str, Any]:
        """Wait for the end."""
        uploads = self.product.server.context.uploads
        self.product.wait_for(lambda: uploads.under_way(upload_id) is None, 60)
        self.api.close()  # the server may have ended a connection that was idle for so long
        return self.api.upload(upload_id)

    def problem(self, upload_id: str, code: str) -> None:
        """Wait until the transfer is held up by that."""

        def held_up() -> bool:
            live = self.product.server.context.uploads.under_way(upload_id)
            return live is not None and live.problem is not None and live.problem.code == code

        self.product.wait_for(held_up)

    def only_file(self) -> DriveFile:
        """The one file that is there, folders apart."""
        found = [file for file in self.drive.files.values() if file.sha256]
        assert len(found) == 1, found
        return found[0]

    def assert_stored(self, content: bytes, view: dict[str, Any], name: str = "report.bin") -> None:
        """Exactly one file, with these bytes, and the upload says so."""
        file = self.only_file()
        assert (file.name, self.drive.content(file.id)) == (name, content)
        assert view["state"] == "completed", view
        assert view["result"]["id"] == file.id
        assert not [event for event in self.drive.events if event.kind is Kind.VIOLATION]


@pytest.fixture
def drive() -> Iterator[DriveEmulator]:
    """Drive, in a thread of its own."""
    with DriveEmulator.in_thread() as drive:
        yield drive


@pytest.fixture
def rig(drive: DriveEmulator, start_product: Callable[..., Product], tmp_path: Path) -> Iterator[Rig]:
    """Not started yet."""
    credentials = tmp_path / "google-drive.json"
    credentials.write_text(json.dumps(drive.authorized_user()))
    settings = {
        "destination": "gdrive:",
        "google_drive_api_root": drive.root,
        "google_drive_credentials": credentials,
    }
    rig = Rig(drive, start_product, tmp_path, settings)
    yield rig
    if (api := getattr(rig, "api", None)) is not None:
        api.close()


@pytest.fixture
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that is left alone is tried again soon."""
    monkeypatch.setattr("app.services.destination_gate._LOOK_AGAIN_S", dict.fromkeys(_LOOK_AGAIN_S, 0.1))
    monkeypatch.setattr("app.services.limits.breaker._LONGEST_PAUSE_S", 0.2)


@pytest.fixture
def content() -> bytes:
    """Of no round length."""
    return os.urandom(3 * MIB + 12_345)
