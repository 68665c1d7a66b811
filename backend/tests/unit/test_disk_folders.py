"""Folders below the destination's root."""

from __future__ import annotations

from pathlib import Path

from app.destinations.disk.folders import Folders
from app.posix.sync_rounds import DirectorySync


class CountingSync(DirectorySync):
    """Counts what is made durable."""

    count = 0

    def sync(self, directory: int) -> None:
        """Sync, and count."""
        super().sync(directory)
        self.count += 1


def test_a_folder_made_again_is_made_durable_again(tmp_path: Path) -> None:
    """Though file systems like to give it the inode number of the one that was removed; a known one is not synced twice."""
    entries = CountingSync()
    folders = Folders(tmp_path, entries)
    for made in 1, 2, 3:
        for _ in range(2):
            with folders.opened("reports", make=True):
                assert entries.count == made
        (tmp_path / "reports").rmdir()
