"""The spool on a real disk that is full, out of inodes, read-only, failing, short of power or writing less than asked."""

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from app.core.errors import OutOfSpace, StagingUnavailable
from app.core.upload import KIB, MIB, Extent
from app.staging.port import Durability
from app.staging.spool import SpoolStaging
from app.testing.loop_filesystem import LoopFilesystem, unavailable
from app.testing.staging_contract import read, write

needs_mount = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopFilesystem]:
    """An ext4 of 24 MiB."""
    with LoopFilesystem(tmp_path) as disk:
        yield disk


def spool_on(disk: LoopFilesystem, **settings: int) -> AbstractAsyncContextManager[SpoolStaging]:
    """An open spool there."""
    return spool_in(disk.path, **settings)


@asynccontextmanager
async def spool_in(directory: Path, **settings: int) -> AsyncIterator[SpoolStaging]:
    """An open spool in a directory's directory."""
    spool = SpoolStaging(directory / "spool", **{"min_free_bytes": 0, **settings})
    await spool.open()
    try:
        yield spool
    finally:
        await spool.aclose()


async def outcome(reserving: object) -> str:
    """What became of a creation."""
    try:
        await reserving
    except OutOfSpace:
        return "507"
    return "201"


@needs_mount
@pytest.mark.parametrize("preallocates", [True, False])
async def test_of_twenty_creations_with_room_for_ten_ten_succeed(
    disk: LoopFilesystem, monkeypatch: pytest.MonkeyPatch, *, preallocates: bool
) -> None:
    """Never nine, never eleven, ten times in a row, with fallocate and with the ledger alone."""
    if not preallocates:
        monkeypatch.setattr("app.staging.spool.spool.preallocate", lambda *_: False)
    async with spool_on(disk, threads=16) as probe:
        free = (await probe.space()).free_bytes
    async with spool_on(disk, min_free_bytes=free - 10 * MIB - 64 * KIB, threads=16) as spool:
        for _ in range(10):
            names = [f"up{number}" for number in range(20)]
            outcomes = await asyncio.gather(*(outcome(spool.reserve(name, name, MIB)) for name in names))
            assert sorted(outcomes) == ["201"] * 10 + ["507"] * 10
            assert len(await spool.ids()) == 10
            for name in names:
                await spool.discard(name)


@needs_mount
async def test_a_reservation_is_kept_when_the_disk_fills_up(disk: LoopFilesystem) -> None:
    """Others fill the volume; what was reserved can still be written, nothing new can be reserved until there is room."""
    data = os.urandom(4 * MIB)
    async with spool_on(disk) as spool:
        await spool.reserve("up", "ann", len(data))
        fill(disk.path / "others")
        with pytest.raises(OutOfSpace):
            await spool.reserve("late", "ann", MIB)
        write(spool, "up", 0, data)
        await spool.sync("up")
        assert await spool.ids() == ["up"]
        (disk.path / "others").unlink()
        await spool.reserve("late", "ann", MIB)
        assert read(spool, "up", 0, len(data)) == data


@needs_mount
async def test_a_write_without_room_changes_nothing_and_works_later(disk: LoopFilesystem) -> None:
    """Room given back is taken by others: the write fails in part, its position stays, and the same call succeeds later."""
    data = os.urandom(2 * MIB)
    async with spool_on(disk) as spool:
        await spool.reserve("up", "ann", 2 * len(data))
        write(spool, "up", 0, data)
        await spool.release_room("up")
        fill(disk.path / "others", leave=MIB)
        with pytest.raises(OutOfSpace):
            await spool.regain_room("up")
        writer = spool.open_writer("up", len(data))
        with pytest.raises(OutOfSpace):
            writer.write(memoryview(data))
        assert writer.position == len(data)
        (disk.path / "others").unlink()
        writer.write(memoryview(data))
        writer.finish(Durability.ALL)
        writer.close()
        assert read(spool, "up", 0, 2 * len(data)) == data + data


@needs_mount
async def test_no_inode_is_no_room(tmp_path: Path) -> None:
    """Creations are refused with 507 once the inodes are used up, and go on when one is free."""
    with LoopFilesystem(tmp_path, mkfs_options=("-N", "32")) as disk:
        async with spool_on(disk) as spool:
            made = 0
            while await outcome(spool.reserve(f"up{made}", "ann", 4096)) == "201":
                made += 1
            assert 0 < made < 32
            assert len(await spool.ids()) == made
            assert (await spool.space()).reserved_bytes == made * 4096
            await spool.discard("up0")
            await spool.reserve("again", "ann", 4096)


@needs_mount
async def test_a_read_only_spool_recovers_without_a_restart(disk: LoopFilesystem) -> None:
    """Creations and writes are refused, what is there is read, and everything goes on after the remount."""
    async with spool_on(disk, max_open_files=0) as spool:
        await spool.reserve("up", "ann", MIB)
        write(spool, "up", 0, b"before")
        await spool.reserve("other", "ann", MIB)
        read(spool, "other", 0, 1)  # needs a descriptor: "up" is synced and closed, as nothing open for writing
        await spool.discard("other")  # lets the system remount
        disk.remount(read_only=True)
        with pytest.raises(StagingUnavailable):
            await spool.reserve("new", "ann", 10)
        with pytest.raises(StagingUnavailable):
            spool.open_writer("up", 6)
        disk.remount(read_only=False)
        await spool.reserve("new", "ann", 10)
        write(spool, "up", 6, b" after")
        assert read(spool, "up", 0, 12) == b"before after"


@needs_mount
async def test_a_spool_that_cannot_be_written_does_not_open(disk: LoopFilesystem) -> None:
    """The start is refused with a sentence that names the directory; a full disk is no reason to refuse."""
    disk.remount(read_only=True)
    with pytest.raises(StagingUnavailable, match=str(disk.path)):
        async with spool_on(disk):
            pass
    disk.remount(read_only=False)
    fill(disk.path / "others")
    (disk.path / "spool").mkdir(exist_ok=True)
    async with spool_on(disk):
        pass


@needs_mount
@pytest.mark.parametrize("synced", ["sync", "durable writer"])
async def test_what_was_synced_survives_the_power(disk: LoopFilesystem, synced: str) -> None:
    """Bytes and names after `sync` or a durable `finish` are there after a power cut; others may be gone, never wrong."""
    data = os.urandom(3 * MIB)
    async with spool_on(disk) as spool:
        for name in ("kept", "lost"):
            await spool.reserve(name, "ann", len(data))
        write(spool, "kept", 0, data[: 2 * MIB])
        if synced == "sync":
            write(spool, "kept", 2 * MIB, data[2 * MIB :])
            await spool.sync("kept")
        else:
            writer = spool.open_writer("kept", 2 * MIB)
            writer.write(memoryview(data)[2 * MIB :])
            writer.finish(Durability.ALL)
            writer.close()
        write(spool, "lost", 0, data)
        disk.lose_power()
    disk.boot()
    async with spool_on(disk) as spool:
        assert await spool.adopt("kept", "ann", len(data), [Extent(0, len(data), 0)])
        assert read(spool, "kept", 0, len(data)) == data
        assert not await spool.adopt("lost", "ann", len(data), [Extent(0, len(data), 0)])


@needs_mount
async def test_without_power_everything_is_unavailable(disk: LoopFilesystem) -> None:
    """A disk that answers EIO: each call is refused, and the failed sync stays failed."""
    async with spool_on(disk) as spool:
        await spool.reserve("up", "ann", MIB)
        writer = spool.open_writer("up", 0)
        writer.write(memoryview(b"x" * MIB))
        disk.lose_power()
        with pytest.raises(StagingUnavailable):
            writer.write(memoryview(b"y"))
        assert writer.position == MIB
        for _ in range(2):
            with pytest.raises(StagingUnavailable):
                writer.finish(Durability.ALL)
        writer.close()
        with pytest.raises(StagingUnavailable):
            await spool.sync("up")
        with pytest.raises(StagingUnavailable):
            await spool.reserve("new", "ann", 1)


def test_a_failed_sync_is_never_repeated_and_believed(tmp_path: Path) -> None:
    """One fdatasync fails with EIO, the kernel would let the next succeed: the upload's sync and writers fail for good."""
    strace = required_tool("strace")
    log = tmp_path / "strace.log"
    inject = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"]
    answer = run_in_child(
        [strace, "-f", "-qq", "-o", str(log), *inject],
        tmp_path,
        """
        await spool.reserve("up", "ann", 100)
        await spool.reserve("well", "ann", 100)
        write(spool, "up", 0, b"x" * 100)
        write(spool, "well", 0, b"x" * 100)
        answers = []
        for upload in ("up", "up", "well"):
            try:
                await spool.sync(upload)
                answers.append("synced")
            except SyncFailed as exc:
                answers.append(exc.code)
        try:
            spool.open_writer("up", 0)
        except SyncFailed as exc:
            answers.append(exc.code)
        print(json.dumps(answers))
        """,
    )
    assert answer == ["sync-failed", "sync-failed", "synced", "sync-failed"]
    assert log.read_text().count("fdatasync(") == 2


def test_short_writes_and_reads_are_continued(tmp_path: Path) -> None:
    """The system takes and gives less than asked, most of the time: the bytes are exact."""
    answer = run_in_child(
        [
            required_tool("fiu-run"),
            *("-x", "-c", "enable_random name=posix/io/rw/pwrite/reduce,probability=0.8"),
            *("-c", "enable_random name=posix/io/rw/preadv/reduce,probability=0.8"),
        ],
        tmp_path,
        """
        data = os.urandom(1 << 20)
        await spool.reserve("up", "ann", len(data))
        short = []
        pwrite = os.pwrite
        def counted(fd, view, at):
            written = pwrite(fd, view, at)
            if written < len(view):
                short.append(written)
            return written
        os.pwrite = counted
        for start in range(0, len(data), 1 << 16):
            write(spool, "up", start, data[start : start + (1 << 16)])
        print(json.dumps([len(short) > 5, spool.path("up").read_bytes() == data, read(spool, "up", 0, len(data)) == data]))
        """,
    )
    assert answer == [True, True, True]


async def test_a_write_cut_by_a_limit_can_be_repeated(tmp_path: Path) -> None:
    """Half of a view is taken, then the system refuses: the position stays, and the same view fits when the limit is gone."""
    data = os.urandom(MIB)
    async with spool_in(tmp_path) as spool:
        await spool.reserve("up", "ann", MIB)
        writer = spool.open_writer("up", 0)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB // 2, hard))
        try:
            with pytest.raises(StagingUnavailable):
                writer.write(memoryview(data))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (writer.position, spool.path("up").stat().st_size) == (0, MIB // 2)
        writer.write(memoryview(data))
        writer.close()
        assert read(spool, "up", 0, MIB) == data


async def test_it_lives_with_few_descriptors(tmp_path: Path) -> None:
    """With all descriptors of the process used up, the spool closes files that nobody uses to open another."""
    async with spool_in(tmp_path) as spool:
        for name in ("used", "wanted"):
            await spool.reserve(name, "ann", 10)
        write(spool, "used", 0, b"x")
        with no_descriptors_left():
            write(spool, "wanted", 0, b"y")
        assert (read(spool, "used", 0, 1), read(spool, "wanted", 0, 1)) == (b"x", b"y")


async def test_without_descriptors_it_is_unavailable_and_recovers(tmp_path: Path) -> None:
    """Where there is nothing to close, creations and writers are refused for as long as it lasts."""
    async with spool_in(tmp_path) as spool:
        await spool.reserve("up", "ann", 10)
        spool._places.close()  # as after others have used theirs
        with no_descriptors_left():
            with pytest.raises(StagingUnavailable):
                spool.open_writer("up", 0)
            with pytest.raises(StagingUnavailable):
                await spool.reserve("new", "ann", 10)
        await spool.reserve("new", "ann", 10)
        write(spool, "up", 0, b"x")
        assert (await spool.space()).reserved_bytes == 20


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Use up what this process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    hoard: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with suppress(OSError):
            while True:
                hoard.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in hoard:
            os.close(fd)


def fill(path: Path, *, leave: int = 0) -> None:
    """Take all room of the volume, but for `leave` bytes."""
    with path.open("wb", buffering=0) as others:
        volume = os.statvfs(path.parent)
        os.posix_fallocate(others.fileno(), 0, volume.f_bavail * volume.f_frsize - leave - 64 * KIB)
        if not leave:
            try:
                while others.write(b"x" * 4096):
                    pass
            except OSError:
                return


def required_tool(name: str) -> str:
    """Where it is; the test is skipped on a machine that lacks it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run_in_child(prefix: list[str], directory: Path, steps: str) -> object:
    """Run steps on an open spool in a process of its own, under a tool; returns the JSON they print."""
    script = directory / "child.py"
    script.write_text(
        "import asyncio, json, os, pathlib\n"
        "from app.core.errors import SyncFailed\n"
        "from app.staging.spool import SpoolStaging\n"
        "from app.testing.staging_contract import read, write\n"
        "async def main():\n"
        "    spool = SpoolStaging(pathlib.Path('spool'), min_free_bytes=0, threads=1)\n"  # strace counts calls per thread
        "    await spool.open()\n"
        + textwrap.indent(textwrap.dedent(steps), "    ")
        + "    await spool.aclose()\nasyncio.run(main())\n"
    )
    backend = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(backend), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*prefix, sys.executable, str(script)],
        check=False,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
