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


def test_what_is_written_is_on_its_way_to_the_disk_long_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte once, in ranges of some length."""
    monkeypatch.setattr("app.staging.spool.writer._WRITE_BACK_BYTES", 100)
    place = Place()
    place.fd = os.open(tmp_path / "spool", os.O_RDWR | os.O_CREAT)
    begun: list[tuple[int, int]] = []
    writer = SpoolWriter(
        place,
        1000,
        sync=place.sync_data,
        write_back=lambda start, length: begun.append((start, length)),
        close=lambda: None,
    )
    for size in (60, 60, 250, 30):
        writer.write(memoryview(bytes(size)))
    assert begun == [(1000, 120), (1120, 250)]
    writer.finish(Durability.BEGUN)
    assert begun[2:] == [(1370, 30)]
    os.close(place.fd)
