"""Shared syncs."""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from app.posix.sync_rounds import DirectorySync, SyncRounds


class Disk:
    """A sync that waits to be let go, counts itself and fails when told."""

    def __init__(self) -> None:
        """Start with no sync under way."""
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.syncs = 0
        self.failing = False

    def sync(self) -> None:
        """Be slow."""
        self.begun.release()
        assert self.go.acquire(timeout=30)
        self.syncs += 1
        if self.failing:
            raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for callers."""
    with ThreadPoolExecutor(16) as executor:
        yield executor


class Watched(threading.Condition):
    """Tells when somebody waits."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        super().__init__()
        self.waiting = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Tell, and wait."""
        self.waiting.release()
        return super().wait(timeout)


def ten_asking_during_a_sync(pool: ThreadPoolExecutor, rounds: SyncRounds, disk: Disk) -> list[Future[None]]:
    """One sync has run while ten others asked for one; the next has begun."""
    rounds._changed = watched = Watched()
    first = pool.submit(rounds.share, disk.sync)
    assert disk.begun.acquire(timeout=30)
    others = [pool.submit(rounds.share, disk.sync) for _ in range(10)]
    for _ in others:
        assert watched.waiting.acquire(timeout=30)
    disk.go.release()
    first.result(10)
    assert disk.begun.acquire(timeout=30)
    assert not any(other.done() for other in others)
    return others


def test_those_who_ask_during_a_sync_share_the_next(pool: ThreadPoolExecutor) -> None:
    """One more sync serves all ten, and none of them is served by the one that ran when they asked."""
    rounds, disk = SyncRounds(), Disk()
    others = ten_asking_during_a_sync(pool, rounds, disk)
    disk.go.release()
    for other in others:
        other.result(10)
    assert disk.syncs == 2


def test_a_failed_sync_fails_everybody_it_was_for(pool: ThreadPoolExecutor) -> None:
    """None of the ten repeats it and believes the second one; a caller who comes later has a new one."""
    rounds, disk = SyncRounds(), Disk()
    others = ten_asking_during_a_sync(pool, rounds, disk)
    disk.failing = True
    disk.go.release()
    for other in others:
        with pytest.raises(OSError, match="Input/output"):
            other.result(10)
    assert disk.syncs == 2
    disk.failing = False
    disk.go.release()
    rounds.share(disk.sync)
    assert disk.syncs == 3


def test_a_directory_is_really_synced_once_for_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    """Callers with descriptors of their own of one directory share; another directory has its own syncs."""
    disk, directories = Disk(), DirectorySync()
    synced: list[int] = []
    fsync = os.fsync

    def slow(fd: int) -> None:
        disk.sync()
        synced.append(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr("app.posix.sync_rounds.os.fsync", slow)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    fds = [os.open(tmp_path / name, os.O_RDONLY) for name in ("one", "one", "two")]
    try:
        disk.go.release(3)
        asked = [pool.submit(directories.sync, fd) for fd in fds]
        for one in asked:
            one.result(10)
    finally:
        for fd in fds:
            os.close(fd)
    assert set(synced) == {(tmp_path / name).stat().st_ino for name in ("one", "two")}
