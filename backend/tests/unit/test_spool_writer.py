"""Writing one extent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.staging.port import Durability
from app.staging.spool.places import Place
from app.staging.spool.writer import SpoolWriter


def test_a_sync_that_began_before_a_write_does_not_cover_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place stays unsynced, so that its descriptor is not closed with an error of write-back unseen."""
    place = Place()
    place.fd = os.open(tmp_path / "spool", os.O_RDWR | os.O_CREAT)
    pwrite = os.pwrite

    def synced_before(fd: int, data: memoryview, offset: int) -> int:
        place.sync_data()
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", synced_before)
    writer = SpoolWriter(place, 0, sync=place.sync_data, write_back=lambda _start, _length: None, close=lambda: None)
    writer.write(memoryview(b"bytes"))
    assert place.unsynced
    writer.finish(Durability.ALL)
    assert not place.unsynced
    os.close(place.fd)
