"""What can happen to a database, made to happen: locks, full and read-only disks, kills, power cuts, restarts."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from app.core.errors import DatabaseUnavailable
from app.core.upload import Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.persistence.repository import Repository
from app.testing.postgresql import PostgreSQLCluster, PostgreSQLMissing, private_cluster

BACKEND = Path(__file__).parents[2]
EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING_THE_JOURNAL = struct.pack("I", 2)


def an_upload(upload_id: str, **changes: object) -> Upload:
    """An upload just created."""
    plain = Upload(
        id=upload_id,
        owner="ann",
        filename="film.mkv",
        folder="",
        media_type="video/x-matroska",
        size=100,
        chunk_size=10,
        state=UploadState.CREATED,
        completion=Completion.AUTO,
        on_conflict=NameConflictPolicy.RENAME,
        destination="default",
        created_at=1.0,
        active_at_s=0.5,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


async def ids(repository: Repository) -> set[str]:
    """All uploads there are."""
    return {upload.id for upload in await repository.uploads(limit=1_000_000)}


class SmallDisk:
    """An ext4 file system of its own in a file."""

    def __init__(self, directory: Path, megabytes: int) -> None:
        """Make it; `mount` before use."""
        self.image = directory / "disk.img"
        self.path = directory / "disk"
        self.path.mkdir()
        with self.image.open("wb") as image:
            image.truncate(megabytes * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)

    def mount(self, options: str = "loop") -> None:
        """Attach it."""
        subprocess.run(["mount", "-o", options, self.image, self.path], check=True)

    def unmount(self) -> None:
        """Detach it, if it is attached."""
        if self.path.is_mount():
            subprocess.run(["umount", self.path], check=True)

    def cut_the_power(self) -> None:
        """Nothing reaches the disk from here on; what was not synced is gone at the next mount."""
        descriptor = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, WITHOUT_FLUSHING_THE_JOURNAL)
        os.close(descriptor)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A mounted disk of 24 MiB."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4 (apt-get install e2fsprogs) to make a file system in a file")
    small = SmallDisk(tmp_path, 24)
    try:
        small.mount()
    except subprocess.CalledProcessError:
        pytest.skip("this container may not mount file systems")
    yield small
    subprocess.run(["umount", "--lazy", small.path], check=True)  # whatever a failed test has left open


class TestSQLite:
    """The embedded database."""

    @pytest.fixture
    async def repository(self, tmp_path: Path) -> AsyncIterator[Repository]:
        """Open, and impatient."""
        repository = Repository(f"sqlite:///{tmp_path}/forebay.sqlite3", busy_timeout_s=0.2)
        await repository.open()
        yield repository
        await repository.close()

    async def test_files_are_for_the_server_alone(self, repository: Repository, tmp_path: Path) -> None:
        """The database, its log and its index have mode 0600, whatever the umask."""
        await repository.add_upload(an_upload("u1"))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("forebay.sqlite3*")}
        assert modes == dict.fromkeys(("forebay.sqlite3", "forebay.sqlite3-wal", "forebay.sqlite3-shm"), 0o600)

    async def test_a_lock_held_by_another_process_is_waited_for_then_answered_503(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        """Nothing hangs, reads go on, and the next write after the lock is gone works."""
        hold = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
        )
        await repository.add_upload(an_upload("before"))
        holder = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            hold,
            tmp_path / "forebay.sqlite3",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        write = asyncio.ensure_future(repository.add_upload(an_upload("during"), durable=True))
        assert await ids(repository) == {"before"}
        with pytest.raises(DatabaseUnavailable) as refusal:
            await write
        assert refusal.value.status == 503
        assert refusal.value.retry_after_s is not None
        with pytest.raises(DatabaseUnavailable):
            await repository.check()
        await holder.communicate(b"")
        await repository.add_upload(an_upload("after"))
        assert await ids(repository) == {"before", "after"}

    async def test_a_write_waits_for_a_lock_that_is_given_back_in_time(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        """A short transaction of another process (the command line's) costs nobody an error."""
        patient = Repository(f"sqlite:///{tmp_path}/forebay.sqlite3", busy_timeout_s=60.0)
        await patient.open()
        other = sqlite3.connect(tmp_path / "forebay.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.ensure_future(patient.add_upload(an_upload("u1")))
        await ids(patient)
        assert not write.done()
        other.execute("COMMIT")
        other.close()
        await write
        await patient.close()
        assert await ids(repository) == {"u1"}

    async def test_a_full_disk_is_503_until_there_is_room(self, disk: SmallDisk) -> None:
        """What was acknowledged stays, what was not is not there, and nothing has to be restarted."""
        repository = Repository(f"sqlite:///{disk.path}/forebay.sqlite3")
        await repository.open()
        filler = disk.path / "filler"
        _fill(filler)
        acknowledged = set()
        with pytest.raises(DatabaseUnavailable):  # noqa: PT012 - until it happens
            for number in range(100_000):
                await repository.add_upload(an_upload(f"u{number}", error_detail="x" * 10_000), durable=True)
                acknowledged.add(f"u{number}")
        assert await ids(repository) == acknowledged
        filler.unlink()
        await repository.add_upload(an_upload("after", error_detail="x" * 100_000), durable=True)
        assert await ids(repository) == acknowledged | {"after"}
        await repository.close()
        assert _integrity(disk.path / "forebay.sqlite3") == "ok"

    async def test_a_read_only_disk_is_503_until_it_is_not(self, disk: SmallDisk) -> None:
        """The server recovers by itself."""
        repository = Repository(f"sqlite:///{disk.path}/forebay.sqlite3")
        await repository.open()
        await repository.add_upload(an_upload("before"))
        await repository.close()
        disk.unmount()
        disk.mount("loop,ro")
        with pytest.raises(DatabaseUnavailable, match=r"forebay\.sqlite3 can't be used"):
            await repository.open()
        disk.unmount()
        disk.mount()
        await repository.open()
        await repository.add_upload(an_upload("after"))
        assert await ids(repository) == {"before", "after"}
        await repository.close()

    async def test_files_that_cannot_be_written_are_503_until_they_can(self, disk: SmallDisk) -> None:
        """Nothing has to be restarted; what could be read still can."""
        repository = Repository(f"sqlite:///{disk.path}/forebay.sqlite3")
        await repository.open()
        await repository.add_upload(an_upload("before"))
        # Not the -shm: it is mapped, and a page that can't be written is a SIGBUS, the same to us as kill -9.
        files = [disk.path / "forebay.sqlite3", disk.path / "forebay.sqlite3-wal"]
        subprocess.run(["chattr", "+i", *files], check=True)
        try:
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await repository.add_upload(an_upload("during"), durable=True)
            assert await ids(repository) == {"before"}
        finally:
            subprocess.run(["chattr", "-i", *files], check=True)
        await repository.add_upload(an_upload("after"), durable=True)
        assert await ids(repository) == {"before", "after"}
        await repository.close()

    @pytest.mark.parametrize("acknowledgements", [1, 50, 400])
    async def test_what_was_acknowledged_survives_kill_9(self, tmp_path: Path, acknowledgements: int) -> None:
        """A process writes from many tasks and says what was confirmed; killed, all of that is in the database."""
        writer = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _WRITER,
            f"sqlite:///{tmp_path}/forebay.sqlite3",
            cwd=BACKEND,
            stdout=asyncio.subprocess.PIPE,
        )
        assert writer.stdout is not None
        said = [await writer.stdout.readline() for _ in range(acknowledgements)]
        writer.send_signal(signal.SIGKILL)
        rest, _ = await writer.communicate()
        said += [line for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
        confirmed = [line.decode().split() for line in said]
        repository = Repository(f"sqlite:///{tmp_path}/forebay.sqlite3")
        await repository.open()
        stored = await ids(repository)
        assert stored >= {upload_id for _, upload_id in confirmed}
        for upload_id in [upload_id for kind, upload_id in confirmed if kind == "extent"]:
            assert await repository.extents(upload_id) == [Extent(0, 10, 7)]
        await repository.close()
        assert _integrity(tmp_path / "forebay.sqlite3") == "ok"

    async def test_what_is_durable_survives_a_power_cut(self, disk: SmallDisk) -> None:
        """Also what was committed before it; what came after may be gone, and the database is whole either way."""
        for life in range(3):
            repository = Repository(f"sqlite:///{disk.path}/forebay.sqlite3")
            await repository.open()
            kept = await ids(repository)
            names = {f"{life}-{number}" for number in range(20)}
            await asyncio.gather(*(repository.add_upload(an_upload(name)) for name in names))
            await repository.record_extents(f"{life}-0", [Extent(0, 10, 1)], active_at_s=1.0)
            await repository.add_upload(an_upload(f"{life}-durable"), durable=True)
            kept |= names | {f"{life}-durable"}
            await repository.add_upload(an_upload(f"{life}-late"))
            disk.cut_the_power()
            await repository.close()
            disk.unmount()
            disk.mount()
            assert _integrity(disk.path / "forebay.sqlite3") == "ok"
            repository = Repository(f"sqlite:///{disk.path}/forebay.sqlite3")
            await repository.open()
            assert kept <= await ids(repository) <= kept | {f"{life}-late"}
            assert await repository.extents(f"{life}-0") == [Extent(0, 10, 1)]
            await repository.close()

    async def test_a_durable_batch_makes_its_neighbours_durable(self, disk: SmallDisk) -> None:
        """Whoever is in one transaction with a durable write is durable too."""
        repository = Repository(f"sqlite:///{disk.path}/forebay.sqlite3")
        await repository.open()
        await asyncio.gather(*(repository.add_upload(an_upload(f"u{n}"), durable=n == 30) for n in range(31)))
        disk.cut_the_power()
        await repository.close()
        disk.unmount()
        disk.mount()
        await repository.open()
        assert await ids(repository) == {f"u{n}" for n in range(31)}
        await repository.close()

    @pytest.mark.parametrize(
        ("make", "complaint"),
        [
            (lambda path: path.write_bytes(b"This is a letter to my aunt. " * 100), "file is not a database"),
            (lambda path: path.mkdir(), "unable to open database file"),
            (lambda path: path.parent.rmdir(), "No such file or directory"),
        ],
    )
    async def test_what_is_no_database_is_said_at_the_start(
        self, tmp_path: Path, make: Callable[[Path], object], complaint: str
    ) -> None:
        """One line with the file's name and the cause; what is there is not touched."""
        path = tmp_path / "data" / "forebay.sqlite3"
        path.parent.mkdir()
        make(path)
        before = path.read_bytes() if path.is_file() else None
        with pytest.raises(DatabaseUnavailable, match=complaint) as refusal:
            await Repository(f"sqlite:///{path}").open()
        assert str(path) in refusal.value.detail
        assert "\n" not in refusal.value.detail
        assert (path.read_bytes() if path.is_file() else None) == before

    async def test_a_database_that_was_removed_is_not_made_anew_under_a_running_server(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        """An empty database in its place would forget every upload; reconnecting fails instead."""
        other = sqlite3.connect(tmp_path / "forebay.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable):
            await repository.add_upload(an_upload("u1"))  # the connection is dropped with that
        other.execute("ROLLBACK")
        other.close()
        (tmp_path / "forebay.sqlite3").unlink()
        with pytest.raises(DatabaseUnavailable):
            await repository.add_upload(an_upload("u1"))
        assert not (tmp_path / "forebay.sqlite3").exists()


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQLCluster]:
    """A PostgreSQL server for this file, which stops and starts it."""
    try:
        with private_cluster() as running:
            yield running
    except PostgreSQLMissing as exc:
        pytest.skip(str(exc))


class TestPostgreSQL:
    """The database server."""

    @pytest.fixture
    async def repository(self, cluster: PostgreSQLCluster) -> AsyncIterator[Repository]:
        """Open on an empty schema, and impatient."""
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        repository = Repository(cluster.url, busy_timeout_s=0.2)
        await repository.open()
        yield repository
        await repository.close()

    async def test_the_first_operation_after_a_restart_works(
        self, repository: Repository, cluster: PostgreSQLCluster
    ) -> None:
        """Writes and reads alike, and many at once: connections found dead are replaced without anybody noticing."""
        await repository.add_upload(an_upload("before"))
        cluster.stop()
        cluster.start()
        await asyncio.gather(*(repository.add_upload(an_upload(f"u{n}")) for n in range(50)))
        cluster.stop()
        cluster.start()
        assert await ids(repository) == {"before"} | {f"u{n}" for n in range(50)}

    async def test_a_server_that_is_down_is_503_until_it_is_up(
        self, repository: Repository, cluster: PostgreSQLCluster
    ) -> None:
        """Nothing has to be restarted here."""
        cluster.stop()
        for call in (repository.add_upload(an_upload("u1")), repository.upload("u1"), repository.check()):
            with pytest.raises(DatabaseUnavailable):
                await call
        cluster.start()
        await repository.add_upload(an_upload("u2"))
        assert await ids(repository) == {"u2"}

    async def test_what_is_durable_survives_a_crash_of_the_database_server(
        self, repository: Repository, cluster: PostgreSQLCluster
    ) -> None:
        """A commit waits for the log when it is durable, and takes those before it along."""
        await repository.add_upload(an_upload("ordinary"))
        await repository.add_upload(an_upload("durable"), durable=True)
        cluster.stop(crash=True)
        cluster.start()
        assert await ids(repository) == {"ordinary", "durable"}

    async def test_durable_holds_where_the_cluster_says_otherwise(
        self, repository: Repository, cluster: PostgreSQLCluster
    ) -> None:
        """`synchronous_commit = off` in the server's configuration does not make our durable commits loose ones."""
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("ALTER ROLE postgres SET synchronous_commit = off")
        second = Repository(cluster.url)
        await second.open()
        try:
            for number in range(3):
                await second.add_upload(an_upload(f"u{number}"), durable=True)
                cluster.stop(crash=True)
                cluster.start()
                assert f"u{number}" in await ids(repository)
        finally:
            await second.close()
            with psycopg.connect(cluster.url, autocommit=True) as connection:
                connection.execute("ALTER ROLE postgres RESET synchronous_commit")

    async def test_a_lock_held_by_another_session_is_waited_for_then_answered_503(
        self, repository: Repository, cluster: PostgreSQLCluster
    ) -> None:
        """And the next write after the lock is gone works."""
        with psycopg.connect(cluster.url) as other:
            other.execute("LOCK TABLE uploads IN EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable):
                await repository.add_upload(an_upload("during"))
            assert await ids(repository) == set()
        await repository.add_upload(an_upload("after"))
        assert await ids(repository) == {"after"}

    async def test_a_password_is_never_shown(self, cluster: PostgreSQLCluster) -> None:
        """The message at the start names the database, not the secret."""
        url = f"postgresql://ann:sesame@/nowhere?host={cluster.directory}"
        with pytest.raises(DatabaseUnavailable, match="nowhere") as refusal:
            await Repository(url).open()
        assert "sesame" not in str(refusal.value)
        assert "sesame" not in str(refusal.value.__cause__)


_WRITER = """
import asyncio, os, sys
from app.core.upload import *
from app.persistence.repository import Repository

async def write(repository, task):
    for number in range(1_000_000):
        upload_id = f"{task}-{number}"
        await repository.add_upload(Upload(upload_id, "ann", "f", "", "a/b", 10, 10, UploadState.CREATED,
            Completion.AUTO, NameConflictPolicy.RENAME, "default", 1.0, 1.0), durable=task == 0)
        os.write(1, f"upload {upload_id}\\n".encode())
        await repository.record_extents(upload_id, [Extent(0, 10, 7)], active_at_s=1.0, state=UploadState.RECEIVING)
        os.write(1, f"extent {upload_id}\\n".encode())

async def main():
    repository = Repository(sys.argv[1])
    await repository.open()
    await asyncio.gather(*(write(repository, task) for task in range(16)))

asyncio.run(main())
"""


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        piece = 1024 * 1024
        while piece:
            try:
                file.write(bytes(piece))
            except OSError:
                piece //= 2


def _integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    finally:
        connection.close()
    return str(verdict)
