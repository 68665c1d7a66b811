"""Google Drive against the destination contract: on the emulator, in My Drive, in a folder and in a shared drive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.destinations.google_drive.destination import GoogleDriveDestination
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.port import ServesFiles, TakesOver
from app.testing.destination_contract import DestinationContract
from app.testing.drive_emulator import DriveEmulator, DriveFile


class _Tokens:
    def __init__(self, drive: DriveEmulator) -> None:
        self._token = drive.access_token()

    async def token(self, *, refused: str | None = None) -> str:
        return self._token


@pytest.fixture
def drive() -> Iterator[DriveEmulator]:
    """An emulator."""
    with DriveEmulator.in_thread() as drive:
        yield drive
        assert drive.events.violations == []


def _path(drive: DriveEmulator, file: DriveFile, top: str) -> str | None:
    names = [file.name]
    while file.parents[0] != top:
        above = drive.files.get(file.parents[0])
        if above is None:
            return None
        file = above
        names.append(file.name)
    return "/".join(reversed(names))


class TestInMyDrive(DestinationContract):
    """Files lie in the root, where no folder is named."""

    part = 262_144

    def folder(self, drive: DriveEmulator) -> str:
        """The destination's folder."""
        return ""

    @pytest.fixture
    async def destination(self, drive: DriveEmulator, tmp_path: Path) -> AsyncIterator[GoogleDriveDestination]:
        """An empty one."""
        self.drive, self.top = drive, self.folder(drive)
        options = GoogleDriveOptions(drive.root, tmp_path / "login.json", tmp_path / "key")
        destination = GoogleDriveDestination(self.top, options=options, tokens=_Tokens(drive))
        yield destination
        await destination.aclose()

    async def visible(self, destination: GoogleDriveDestination) -> dict[str, bytes]:
        """What is not in the trash."""
        files = [file for file in self.drive.files.values() if not file.is_folder and not file.trashed]
        paths = {file.id: _path(self.drive, file, self.top or self.drive.root_folder) for file in files}
        return {path: self.drive.content(file_id) for file_id, path in paths.items() if path is not None}

    async def test_it_offers_what_drive_can(self, destination: GoogleDriveDestination) -> None:
        """Files are served, and none is taken over."""
        assert isinstance(destination, ServesFiles)
        assert not isinstance(destination, TakesOver)


class TestInAFolder(TestInMyDrive):
    """Below a folder of My Drive."""

    def folder(self, drive: DriveEmulator) -> str:
        """One that somebody has made."""
        return drive.add_folder("Uploads")


class TestInASharedDrive(TestInMyDrive):
    """Below a folder of a shared drive."""

    def folder(self, drive: DriveEmulator) -> str:
        """One that somebody has made."""
        return drive.add_folder("Uploads", parent=drive.shared_drive)
