"""An emulator on the test's event loop, and settings that lead to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from app.destinations.google_drive.options import GoogleDriveOptions
from app.testing.drive_emulator import DriveEmulator


@pytest.fixture
async def drive() -> AsyncIterator[DriveEmulator]:
    """The emulator."""
    async with DriveEmulator() as running:
        yield running


@pytest.fixture
def options_for(tmp_path: Path) -> Callable[..., GoogleDriveOptions]:
    """What the settings say, for an API root."""

    def make(root: str, **more: Any) -> GoogleDriveOptions:
        return GoogleDriveOptions(root, tmp_path / "google-drive.json", tmp_path / "key", **more)

    return make


@pytest.fixture
def options(drive: DriveEmulator, options_for: Callable[..., GoogleDriveOptions]) -> GoogleDriveOptions:
    """Those of the emulator."""
    return options_for(drive.root)


@pytest.fixture
def google(options_for: Callable[..., GoogleDriveOptions]) -> GoogleDriveOptions:
    """Those of the real one, to which no test speaks."""
    return options_for("https://www.googleapis.com")


@pytest.fixture
def save(tmp_path: Path) -> Callable[[object], None]:
    """Put this into the credential file."""

    def write(info: object) -> None:
        path = tmp_path / "google-drive.json"
        step = tmp_path / "step"
        step.write_text(info if isinstance(info, str) else json.dumps(info), encoding="utf-8")
        step.chmod(0o600)
        step.rename(path)

    return write


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    """`quiet(secret, …)`: none of these was logged, at any level."""
    caplog.set_level("DEBUG")

    def check(*secrets: object) -> None:
        text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
        assert not [secret for secret in secrets if str(secret) in text]

    return check
