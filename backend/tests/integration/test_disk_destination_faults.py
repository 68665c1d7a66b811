"""The directory on a real disk that loses power at every step, is full, read-only, failing, or another than the spool's."""

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from app.core.errors import DestinationUnavailable, InvalidName, OutOfSpace
from app.core.upload import KIB, MIB, NameConflictPolicy
from app.destinations.disk import DiskDestination
from app.destinations.port import Digests, TransferSession
from app.testing.destination_contract import BytesSource, digests_of, pieces_of, store, target
from app.testing.loop_filesystem import LoopFilesystem, unavailable

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

DATA = os.urandom(300 * KIB)
OLD = b"another's file"
NO_DIGESTS = Digests("", 0)
STEPS = ("mkdir", "chmod", "fchmod", "pwrite", "ftruncate", "fsync", "link", "rename", "unlink")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopFilesystem]:
    """An ext4 of 24 MiB."""
    with LoopFilesystem(tmp_path) as disk:
        yield disk


@asynccontextmanager
async def files_in(place: Path) -> AsyncIterator[DiskDestination]:
    """A directory there."""
    destination = DiskDestination(place / "files", threads=1)
    try:
        yield destination
    finally:
        await destination.aclose()


def visible(root: Path) -> dict[str, bytes]:
    """Content by path, without what is the destination's own."""
    files = (path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] != ".forebay")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def staged(place: Path) -> Path:
    """A finished file of the spool, durable."""
    path = place / "staged"
    path.write_bytes(DATA)
    sync(path)
    sync(place)
    return path


def sync(path: Path) -> None:
    """Make a file or directory durable."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Killed(BaseException):
    """The process is gone: none of its calls happens any more."""


@contextmanager
def crash_before(step: int, disk: LoopFilesystem, *, power: bool) -> Iterator[Callable[[], bool]]:
    """Cut the power, or kill, before the n-th call that changes the disk, from 0, or at the end; tells which it was.

    What a dead disk makes of the calls that follow is expected.
    """
    calls = 0

    def crashing(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **kwargs: object) -> object:
            nonlocal calls
            if power and calls == step:
                disk.lose_power()
            calls += 1
            if calls > step and not power:
                raise Killed
            return call(*args, **kwargs)

        return wrapped

    with pytest.MonkeyPatch.context() as patch, suppress(DestinationUnavailable, Killed):
        for name in STEPS:
            patch.setattr(os, name, crashing(getattr(os, name)))
        yield lambda: calls > step
    if power:
        if calls <= step:
            disk.lose_power()
        disk.boot()


def places(disk: LoopFilesystem) -> Iterator[tuple[int, Path]]:
    """A durable, empty folder for every step there may be."""
    for step in itertools.count():
        place = disk.path / str(step)
        place.mkdir()
        sync(disk.path)
        yield step, place


crashes = pytest.mark.parametrize("power", [True, False], ids=["power cut", "kill"])


@crashes
@pytest.mark.parametrize("policy", [NameConflictPolicy.RENAME, NameConflictPolicy.REPLACE])
async def test_a_crash_at_any_step_of_taking_over_leaves_all_or_nothing(
    disk: LoopFilesystem, policy: NameConflictPolicy, *, power: bool
) -> None:
    """After each: the old file or the whole new one, the staged bytes still there, and a repeat ends with one file."""
    to = target("u1", len(DATA), folder="new/folder", on_conflict=policy)
    for step, place in places(disk):
        root, source = place / "files", staged(place)
        async with files_in(place) as files:
            await store(files, target("u0", len(OLD)), OLD)
        with crash_before(step, disk, power=power) as crashed:
            async with files_in(place) as files:
                await files.take_over(to, source, NO_DIGESTS)
        whole = {"report.pdf": OLD, "new/folder/report.pdf": DATA}
        assert visible(root) in ([{"report.pdf": OLD}, whole] if crashed() else [whole])
        assert source.read_bytes() == DATA
        async with files_in(place) as files:
            stored = await files.take_over(to, source, NO_DIGESTS)
        assert stored.id == "new/folder/report.pdf"
        assert visible(root) == whole
        if not crashed():
            assert step >= 6
            return


@crashes
async def test_a_crash_at_any_step_of_replacing_leaves_old_or_new(disk: LoopFilesystem, *, power: bool) -> None:
    """There is no moment without a file of that name, and no trace of the steps stays."""
    to = target("u1", len(DATA), on_conflict=NameConflictPolicy.REPLACE)
    for step, place in places(disk):
        root, source = place / "files", staged(place)
        async with files_in(place) as files:
            await store(files, target("u0", len(OLD)), OLD)
        with crash_before(step, disk, power=power) as crashed:
            async with files_in(place) as files:
                await files.take_over(to, source, NO_DIGESTS)
        assert visible(root) in ([{"report.pdf": OLD}, {"report.pdf": DATA}] if crashed() else [{"report.pdf": DATA}])
        async with files_in(place) as files:
            await files.take_over(to, source, NO_DIGESTS)
        assert visible(root) == {"report.pdf": DATA}
        assert list((root / ".forebay").iterdir()) == []
        if not crashed():
            assert step >= 4
            return


@crashes
async def test_a_crash_at_any_step_of_copying_leaves_all_or_nothing(
    disk: LoopFilesystem, monkeypatch: pytest.MonkeyPatch, *, power: bool
) -> None:
    """Whatever was saved of the session by then, going on afterwards ends with exactly one whole file."""
    to = target("u1", len(DATA), folder="new")
    for step, place in places(disk):
        root, saved = place / "files", None
        monkeypatch.setattr("app.destinations.disk.session._boot_id", lambda: "before")
        with crash_before(step, disk, power=power) as crashed:
            async with files_in(place) as files:
                session = await files.begin(to, None)
                await session.append(pieces_of(DATA[: 100 * KIB]), len(DATA[: 100 * KIB]))
                saved = session.state
                await session.append(pieces_of(DATA[100 * KIB :]), len(DATA[100 * KIB :]))
                await session.finish(digests_of(DATA), BytesSource(DATA))
        assert visible(root) in ([{}, {"new/report.pdf": DATA}] if crashed() else [{"new/report.pdf": DATA}])
        monkeypatch.setattr("app.destinations.disk.session._boot_id", lambda: "after" if power else "before")
        async with files_in(place) as files:
            assert await go_on(await files.begin(to, saved)) == "new/report.pdf"
        assert visible(root) == {"new/report.pdf": DATA}
        assert list((root / ".forebay").iterdir()) == []
        if not crashed():
            assert step >= 10
            return


async def go_on(session: TransferSession) -> str:
    """Send what is missing and publish."""
    await session.append(pieces_of(DATA[session.committed :]), len(DATA[session.committed :]))
    return (await session.finish(digests_of(DATA), BytesSource(DATA))).id


async def test_a_full_disk_is_out_of_space_until_there_is_room(disk: LoopFilesystem) -> None:
    """At the beginning and in the middle; what was copied stays, nothing is published, and it goes on when there is room."""
    data = os.urandom(2 * MIB)
    others = disk.path / "others"
    async with files_in(disk.path) as files:
        await files.check()
        fill(others, leave=MIB)
        with pytest.raises(OutOfSpace):
            await files.begin(target("u1", len(data)), None)
        session = await files.begin(target("u1", MIB // 2), None)  # room for what was announced only
        with pytest.raises(OutOfSpace):
            await session.append(pieces_of(data[:MIB], data[MIB:]), len(data[:MIB]) + len(data[MIB:]))
        assert 0 < session.committed < len(data)
        await session.abort()
        others.unlink()
        await store(files, target("u1", len(data)), data)
    assert visible(disk.path / "files") == {"report.pdf": data}


async def test_a_read_only_disk_is_unavailable_until_it_is_not(disk: LoopFilesystem) -> None:
    """Everything that writes is refused, readiness tells, stored files are served, and it recovers by itself."""
    source = staged(disk.path)
    async with files_in(disk.path) as files:
        stored = await store(files, target("u0", 3), b"old")
        disk.remount(read_only=True)
        for attempt in (
            files.check(),
            files.begin(target("u1", 3), None),
            files.take_over(target("u2", len(DATA)), source, NO_DIGESTS),
            files.delete(stored.id),
        ):
            with pytest.raises(DestinationUnavailable):
                await attempt
        async with files.open_range(stored.id, 0, 3, size=3) as pieces:
            assert [piece async for piece in pieces] == [b"old"]
        disk.remount(read_only=False)
        await files.check()
        await files.take_over(target("u2", len(DATA)), source, NO_DIGESTS)


async def test_a_failed_sync_throws_the_copy_away(disk: LoopFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not synced again and believed: the copy starts over."""
    async with files_in(disk.path) as files:
        session = await files.begin(target("u1", len(DATA)), None)
        await session.append(pieces_of(DATA), len(DATA))
        fsync = os.fsync
        failed: list[int] = []

        def failing(fd: int) -> None:
            if not failed:
                failed.append(fd)
                raise OSError(5, "Input/output error")
            fsync(fd)

        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(DestinationUnavailable):
            await session.finish(digests_of(DATA), BytesSource(DATA))
        assert session.committed == 0
        assert visible(disk.path / "files") == {}
        assert await go_on(session) == "report.pdf"
    assert visible(disk.path / "files") == {"report.pdf": DATA}


async def test_another_file_system_is_known_as_such(disk: LoopFilesystem, tmp_path: Path) -> None:
    """Nothing can be linked from there, so that the engine copies; a bind mount of the same one counts as another."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(DATA)
    bound = tmp_path / "bound"
    bound.mkdir()
    source = staged(disk.path)
    subprocess.run(["mount", "--bind", disk.path, bound], check=True)
    try:
        async with files_in(disk.path) as files:
            assert files.can_take_over(source)
            assert not files.can_take_over(elsewhere)
            assert not files.can_take_over(bound / "staged")
    finally:
        subprocess.run(["umount", bound], check=True)


async def test_a_folder_on_another_file_system_is_refused(disk: LoopFilesystem, tmp_path: Path) -> None:
    """Nothing can appear there at once: the client is told, the transfer is not tried for ever."""
    source = tmp_path / "staged"
    source.write_bytes(DATA)
    root = tmp_path / "files"
    root.mkdir()
    (root / "mounted").mkdir()
    subprocess.run(["mount", "--bind", disk.path, root / "mounted"], check=True)
    files = DiskDestination(root)
    try:
        with pytest.raises(InvalidName):
            await files.take_over(target("u1", len(DATA), folder="mounted"), source, NO_DIGESTS)
    finally:
        await files.aclose()
        subprocess.run(["umount", root / "mounted"], check=True)


async def test_many_at_once_get_names_of_their_own(disk: LoopFilesystem) -> None:
    """Forty uploads of one name, taken over at the same time, are forty files."""
    destination = DiskDestination(disk.path / "files", threads=16)
    sources = [disk.path / f"staged{number}" for number in range(40)]
    for number, source in enumerate(sources):
        source.write_bytes(b"%d" % number)
    stored = await asyncio.gather(
        *(
            destination.take_over(target(f"u{number}", 2, folder="a/b"), source, NO_DIGESTS)
            for number, source in enumerate(sources)
        )
    )
    await destination.aclose()
    assert len({one.id for one in stored}) == 40
    assert sorted(visible(disk.path / "files").values()) == sorted(b"%d" % number for number in range(40))


def fill(path: Path, *, leave: int) -> None:
    """Take all room of the volume, but for about `leave` bytes."""
    with path.open("wb") as others:
        volume = os.statvfs(path.parent)
        os.posix_fallocate(others.fileno(), 0, volume.f_bavail * volume.f_frsize - leave)
