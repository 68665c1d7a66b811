"""Where bytes go on their way to staging."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import crc32c
import pytest

from app.core.upload import KIB, MIB, Chunk, Extent
from app.protocols.digest import NOTHING_DECLARED
from app.services.chunk_sink import CheckpointedSink, StagingSink
from app.staging.port import Durability
from app.staging.spool import SpoolStaging

CHUNK = 16 * MIB


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SpoolStaging]:
    """With an upload `u`."""
    spool = SpoolStaging(tmp_path, min_free_bytes=0)
    await spool.open()
    await spool.reserve("u", "ann", 2 * CHUNK)
    yield spool
    await spool.aclose()


def test_a_sync_at_a_cut_is_time_of_the_disk(spool: SpoolStaging, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one at the end is."""
    sink = StagingSink(
        Chunk(0, 0, CHUNK),
        NOTHING_DECLARED,
        staging=spool,
        upload_id="u",
        attempts=1,
        durability=Durability.ALL,
        on_retry=lambda _attempt, _error: None,
    )
    seen: list[bool] = []
    monkeypatch.setattr(os, "fdatasync", lambda _fd: seen.append(sink.storing.seconds(time.monotonic() + 100) > 50))
    sink(bytes(MIB))
    sink.cut(0)
    sink.close()
    assert seen == [True]


class Course:
    """A chunk that comes in so many bytes a second."""

    def __init__(self, spool: SpoolStaging, chunk: Chunk) -> None:
        self.now_s = 0.0
        self.pieces: list[Extent] = []
        self.sink = StagingSink(
            chunk,
            NOTHING_DECLARED,
            staging=spool,
            upload_id="u",
            attempts=1,
            durability=Durability.BEGUN,
            on_retry=lambda _attempt, _error: None,
        )
        self.way = CheckpointedSink(self.sink, CHUNK, self.pieces.append, clock=lambda: self.now_s)

    def come(self, content: bytes, *, step: int, rate: float) -> None:
        """In pieces of `step` bytes."""
        for start in range(0, len(content), step):
            piece = content[start : start + step]
            self.now_s += len(piece) / rate
            self.way(memoryview(piece))
        self.sink.close()


def test_what_comes_within_a_second_is_one_piece(spool: SpoolStaging) -> None:
    """A fast client's chunk is recorded once."""
    course = Course(spool, Chunk(0, 0, CHUNK))
    course.come(bytes(CHUNK), step=MIB, rate=100 * MIB)
    assert course.pieces == []
    assert course.sink.extent() == Extent(0, CHUNK, crc32c.crc32c(bytes(CHUNK)))


def test_a_slow_chunk_is_cut_every_second(spool: SpoolStaging) -> None:
    """Each piece has its own checksum, and together they are what came, in the file too."""
    content = os.urandom(4 * MIB)
    course = Course(spool, Chunk(1, CHUNK, CHUNK))
    course.come(content, step=256 * KIB, rate=MIB)
    pieces = [*course.pieces, *([course.sink.extent()] if course.sink.received else [])]
    assert [piece.length for piece in course.pieces] == [MIB] * 4
    position = CHUNK
    for piece in pieces:
        assert piece.offset == position
        start = position - CHUNK
        assert piece.crc32c == crc32c.crc32c(content[start : start + piece.length])
        position = piece.end
    assert course.sink.position == position == CHUNK + len(content)
    read = bytearray(len(content))
    assert spool.read_into("u", CHUNK, memoryview(read)) == len(read)
    assert read == content


def test_a_trickle_makes_few_pieces(spool: SpoolStaging) -> None:
    """Each is a row of the database: none of less than 256 KiB."""
    course = Course(spool, Chunk(0, 0, CHUNK))
    course.come(bytes(MIB), step=KIB, rate=10 * KIB)
    assert [piece.length for piece in course.pieces] == [256 * KIB] * 4


def test_the_pieces_of_a_large_file_are_large(spool: SpoolStaging) -> None:
    """So its rows don't become more and more."""
    begin = 10 * 1024 * MIB
    course = Course(spool, Chunk(640, begin, CHUNK))
    course.come(bytes(6 * MIB), step=512 * KIB, rate=100 * KIB)
    assert [piece.length for piece in course.pieces] == [3 * MIB] * 2


def test_what_comes_fast_is_one_piece_over_the_borders_of_chunks(spool: SpoolStaging) -> None:
    """Each piece is a transaction, and what a second brings is little to send again."""
    begin = CHUNK // 2
    content = os.urandom(CHUNK)
    course = Course(spool, Chunk(0, begin, 2 * CHUNK))
    course.come(content, step=MIB - 1, rate=1000 * MIB)
    assert course.pieces == []
    assert course.sink.extent() == Extent(begin, CHUNK, crc32c.crc32c(content))


@pytest.mark.parametrize("begin", [0, 10 * 1024 * MIB])
def test_what_came_of_a_client_that_rests_is_a_piece(spool: SpoolStaging, begin: int) -> None:
    """It may send no more before it is told that this is recorded. But not twice, and not a few bytes each time."""
    content = os.urandom(256 * KIB if begin else 4 * KIB)
    course = Course(spool, Chunk(begin // CHUNK, begin, CHUNK))
    course.way.rest()
    course.way(memoryview(content[:-1]))
    course.way.rest()
    assert course.pieces == []
    course.way(memoryview(content[-1:]))
    course.way.rest()
    course.way.rest()
    course.sink.close()
    assert course.pieces == [Extent(begin, len(content), crc32c.crc32c(content))]


def test_what_is_whole_is_not_cut_when_its_client_rests(spool: SpoolStaging) -> None:
    """It is left to whoever sees the end: a form rests between a file's last byte and what says that it was the last."""
    course = Course(spool, Chunk(0, 0, 1000))
    course.way(memoryview(bytes(1000)))
    course.way.rest()
    course.sink.close()
    assert course.pieces == []
    assert course.sink.extent() == Extent(0, 1000, crc32c.crc32c(bytes(1000)))


def test_the_last_piece_is_left_to_whoever_sees_the_end(spool: SpoolStaging) -> None:
    """A chunk that is whole is not cut, however late it is."""
    course = Course(spool, Chunk(0, 0, MIB))
    course.come(bytes(MIB), step=MIB, rate=KIB)
    assert course.pieces == []
    assert course.sink.whole
