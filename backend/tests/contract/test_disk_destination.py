"""The directory against the destination contract, and what only a directory does."""

import errno
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.core.errors import DestinationUnavailable, InvalidName, NameTaken, NotFound
from app.core.upload import NameConflictPolicy
from app.destinations.disk import DiskDestination
from app.destinations.port import Digests, ServesFiles, TakesOver
from app.testing.destination_contract import (
    BytesSource,
    DestinationContract,
    digests_of,
    pieces_of,
    read_back,
    store,
    target,
)

NO_DIGESTS = Digests("", 0)


def visible_below(root: Path) -> dict[str, bytes]:
    """Content by path, without what is the destination's own."""
    files = (path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] != ".forebay")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


class TestDiskContract(DestinationContract):
    """The contract."""

    @pytest.fixture
    async def destination(self, tmp_path: Path) -> AsyncIterator[DiskDestination]:
        """An empty directory that does not exist yet."""
        disk = DiskDestination(tmp_path / "deep" / "files")
        yield disk
        await disk.aclose()

    async def visible(self, destination: DiskDestination) -> dict[str, bytes]:
        """The files below the root."""
        return visible_below(destination.root)


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[DiskDestination]:
    """An empty directory."""
    disk = DiskDestination(tmp_path / "files")
    await disk.check()
    yield disk
    await disk.aclose()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A finished file of the spool."""
    path = tmp_path / "staged"
    path.write_bytes(b"staged bytes")
    path.chmod(0o600)
    return path


async def test_it_offers_what_a_directory_can(disk: DiskDestination) -> None:
    """The optional abilities are found by their protocols."""
    assert isinstance(disk, TakesOver)
    assert isinstance(disk, ServesFiles)


async def test_a_mount_that_refuses_links_gets_copies(
    disk: DiskDestination, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As between two subvolumes of btrfs: known before the upload would fail of it."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    assert not disk.can_take_over(source)


async def test_a_probe_for_links_leaves_nothing(disk: DiskDestination, source: Path) -> None:
    """The staged file has one name again."""
    assert disk.can_take_over(source)
    assert source.stat().st_nlink == 1
    assert list((disk.root / ".forebay").iterdir()) == []


async def test_a_staged_file_is_taken_over_without_a_copy(disk: DiskDestination, source: Path) -> None:
    """The same inode under the final name, readable as other files are."""
    umask = os.umask(0o022)
    os.umask(umask)
    assert disk.can_take_over(source)
    stored = await disk.take_over(target("u1", 12, folder="a/b"), source, NO_DIGESTS)
    final = disk.root / "a/b/report.pdf"
    assert (stored.id, stored.name, stored.size) == ("a/b/report.pdf", "report.pdf", 12)
    assert final.samefile(source)
    assert final.stat().st_mode & 0o777 == 0o666 & ~umask


async def test_every_folder_on_the_way_is_durable_before_the_name(
    disk: DiskDestination, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made here or found for the first time, a folder's entry in its parent is synced; then the name in the folder."""
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), fsync(fd)))
    (disk.root / "found").mkdir()
    await disk.take_over(target("u1", 12, folder="found/made"), source, NO_DIGESTS)
    expected = [path.stat().st_ino for path in (disk.root, disk.root / "found", disk.root / "found/made")]
    assert synced == expected
    source.unlink()
    source.write_bytes(b"staged again")
    await disk.take_over(target("u2", 12, folder="found/made"), source, NO_DIGESTS)
    assert synced == [*expected, expected[-1]]


async def test_taking_over_twice_is_one_file(disk: DiskDestination, source: Path) -> None:
    """A crash between the link and our note of it finds its own name, also a numbered one, also when the first is free now."""
    (disk.root / "report.pdf").write_bytes(b"another's")
    stored = await disk.take_over(target("u1", 12), source, NO_DIGESTS)
    assert stored.name == "report (1).pdf"
    assert await disk.take_over(target("u1", 12), source, NO_DIGESTS) == stored
    (disk.root / "report.pdf").unlink()
    assert await disk.take_over(target("u1", 12), source, NO_DIGESTS) == stored
    assert visible_below(disk.root) == {"report (1).pdf": b"staged bytes"}


async def test_policies_hold_for_taking_over(disk: DiskDestination, source: Path) -> None:
    """`fail` refuses, `replace` leaves the new file alone, twice."""
    (disk.root / "report.pdf").write_bytes(b"old")
    with pytest.raises(NameTaken):
        await disk.take_over(target("u1", 12, on_conflict=NameConflictPolicy.FAIL), source, NO_DIGESTS)
    assert visible_below(disk.root) == {"report.pdf": b"old"}
    for _ in range(2):
        await disk.take_over(target("u1", 12, on_conflict=NameConflictPolicy.REPLACE), source, NO_DIGESTS)
    assert visible_below(disk.root) == {"report.pdf": b"staged bytes"}
    assert list((disk.root / ".forebay").iterdir()) == []


async def test_a_folder_in_the_way_is_a_taken_name(disk: DiskDestination, source: Path) -> None:
    """Neither replaced nor entered."""
    (disk.root / "report.pdf").mkdir()
    with pytest.raises(NameTaken):
        await disk.take_over(target("u1", 12, on_conflict=NameConflictPolicy.REPLACE), source, NO_DIGESTS)
    assert list((disk.root / ".forebay").iterdir()) == []
    (disk.root / "file").write_bytes(b"")
    with pytest.raises(NameTaken):
        await disk.take_over(target("u1", 12, folder="file"), source, NO_DIGESTS)


async def test_symbolic_links_lead_nowhere(disk: DiskDestination, source: Path, tmp_path: Path) -> None:
    """Neither a folder nor a name that is a link is followed, for writing, reading or deleting."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (disk.root / "door").symlink_to(outside)
    (disk.root / "window").symlink_to(outside / "secret")
    with pytest.raises(NameTaken):
        await disk.take_over(target("u1", 12, folder="door"), source, NO_DIGESTS)
    for stored_id in ("door/secret", "window"):
        with pytest.raises(NotFound):
            await read_back(disk, stored_id, 0, 6)
    await disk.delete("door/secret")
    stored = await disk.take_over(
        target("u1", 12, filename="window", on_conflict=NameConflictPolicy.REPLACE), source, NO_DIGESTS
    )
    assert visible_below(outside) == {"secret": b"secret"}
    assert await read_back(disk, stored.id, 0, 12) == b"staged bytes"


@pytest.mark.parametrize("stored_id", ["", "..", "../staged", "/etc/passwd", "a/../../staged", ".forebay/x", "a\0"])
async def test_an_id_that_is_no_path_of_ours_is_not_found(disk: DiskDestination, source: Path, stored_id: str) -> None:
    """What comes back from a database is validated again."""
    with pytest.raises(NotFound):
        await read_back(disk, stored_id, 0, 1)
    with pytest.raises(NotFound):
        await disk.delete(stored_id)
    assert source.exists()


async def test_what_is_no_plain_file_is_not_served(disk: DiskDestination) -> None:
    """A FIFO does not hold a thread, a folder is no content."""
    os.mkfifo(disk.root / "fifo")
    (disk.root / "folder").mkdir()
    for stored_id in ("fifo", "folder"):
        with pytest.raises(NotFound):
            await read_back(disk, stored_id, 0, 1)


async def test_a_file_cut_short_is_not_served_as_whole(disk: DiskDestination) -> None:
    """Whoever reads learns that bytes are missing."""
    (disk.root / "short").write_bytes(b"12345")
    with pytest.raises(DestinationUnavailable):
        await read_back(disk, "short", 0, 6)


async def test_a_root_that_vanishes_is_not_made_again(disk: DiskDestination, source: Path) -> None:
    """A volume that is not mounted any more must not be replaced by an empty folder under its mount point."""
    disk.root.rename(disk.root.with_name("unmounted"))
    with pytest.raises(DestinationUnavailable):
        await disk.take_over(target("u1", 12), source, NO_DIGESTS)
    with pytest.raises(DestinationUnavailable):
        await disk.check()
    assert not disk.root.exists()


async def test_a_file_where_the_root_should_be_is_reported(tmp_path: Path) -> None:
    """`check` fails with a sentence."""
    (tmp_path / "files").write_bytes(b"")
    disk = DiskDestination(tmp_path / "files")
    with pytest.raises(DestinationUnavailable):
        await disk.check()
    await disk.aclose()


async def test_a_name_too_long_for_the_file_system_is_an_invalid_name(disk: DiskDestination, source: Path) -> None:
    """The client is told, the transfer is not tried for ever."""
    with pytest.raises(InvalidName):
        await disk.take_over(target("u1", 12, filename="x" * 256), source, NO_DIGESTS)


@pytest.mark.parametrize(
    ("folder", "filename"), [("..", "x"), ("/tmp", "x"), ("", "../x"), (".forebay", "x"), ("", "..")]
)
async def test_no_target_is_outside(disk: DiskDestination, source: Path, folder: str, filename: str) -> None:
    """Names are validated here, too, whoever asks."""
    to = target("u1", 12, folder=folder, filename=filename)
    with pytest.raises(InvalidName):
        await disk.take_over(to, source, NO_DIGESTS)
    with pytest.raises(InvalidName):
        await disk.begin(to, None)


async def test_the_longest_names_can_be_numbered(disk: DiskDestination) -> None:
    """The number finds room within 255 bytes."""
    name = "ü" * 125 + ".jpeg"
    for number in range(3):
        await store(disk, target(f"u{number}", 1, filename=name), b"x")
    assert len(visible_below(disk.root)) == 3


async def test_a_copy_from_before_a_boot_starts_over(disk: DiskDestination) -> None:
    """Its length may be ahead of its data."""
    session = await disk.begin(target("u1", 6), None)
    await session.append(pieces_of(b"abc"), len(b"abc"))
    earlier = json.dumps(json.loads(session.state) | {"boot": "another"})
    assert (await disk.begin(target("u1", 6), earlier)).committed == 0


@pytest.mark.parametrize("saved", ["", "not json", "[]", "null", '{"boot": 1}', '{"boot": "x", "inode": "y"}'])
async def test_a_foreign_state_starts_over(disk: DiskDestination, saved: str) -> None:
    """As after a destination's name was given to another place."""
    assert (await disk.begin(target("u1", 6), saved)).committed == 0


async def test_a_crash_between_link_and_tidying_is_one_file(disk: DiskDestination) -> None:
    """The part that is still there, also after a boot, is known to be the published file."""
    data = b"abcdef"
    session = await disk.begin(target("u1", 6), None)
    await session.append(pieces_of(data), len(data))
    os.link(disk.root / ".forebay/u1.part", disk.root / "report.pdf")
    after_boot = json.dumps(json.loads(session.state) | {"boot": "another"})
    for state in (session.state, after_boot):
        again = await disk.begin(target("u1", 6), state)
        assert again.committed == 6
    stored = await again.finish(digests_of(data), BytesSource(data))
    assert stored.name == "report.pdf"
    assert visible_below(disk.root) == {"report.pdf": data}
    assert list((disk.root / ".forebay").iterdir()) == []


async def test_another_file_with_the_same_inode_number_is_not_ours(disk: DiskDestination) -> None:
    """Same number, same size, other bytes: ours is sent again and gets a name of its own."""
    session = await disk.begin(target("u1", 6), None)
    await session.append(pieces_of(b"abcdef"), len(b"abcdef"))
    (disk.root / ".forebay/u1.part").rename(disk.root / "other")
    (disk.root / "other").write_bytes(b"uvwxyz")
    session = await disk.begin(target("u1", 6), session.state)
    with pytest.raises(DestinationUnavailable):
        await session.finish(digests_of(b"abcdef"), BytesSource(b"abcdef"))
    assert session.committed == 0
    await session.append(pieces_of(b"abcdef"), len(b"abcdef"))
    await session.finish(digests_of(b"abcdef"), BytesSource(b"abcdef"))
    assert visible_below(disk.root) == {"other": b"uvwxyz", "report.pdf": b"abcdef"}


async def test_leftovers_of_a_power_cut_are_removed(tmp_path: Path) -> None:
    """At the first use: links to published files and copies nobody has touched for a month; not a copy under way."""
    disk = DiskDestination(tmp_path / "files")
    session = await disk.begin(target("live", 6), None)
    await session.append(pieces_of(b"abc"), len(b"abc"))
    await disk.begin(target("old", 6), None)
    await store(disk, target("done", 1), b"x")
    own = disk.root / ".forebay"
    os.link(disk.root / "report.pdf", own / "done.part")
    os.utime(own / "old.part", (0, 0))
    await disk.aclose()
    disk = DiskDestination(tmp_path / "files")
    await disk.check()
    assert [path.name for path in own.iterdir()] == ["live.part"]
    assert (await disk.begin(target("live", 6), session.state)).committed == 3
    await disk.aclose()


async def test_a_part_that_was_taken_away_is_noticed(disk: DiskDestination) -> None:
    """The session says so once, and the copy starts over."""
    session = await disk.begin(target("u1", 6), None)
    await session.append(pieces_of(b"abc"), len(b"abc"))
    (disk.root / ".forebay/u1.part").unlink()
    with pytest.raises(DestinationUnavailable):
        await session.append(pieces_of(b"def"), len(b"def"))
    assert session.committed == 0
    await session.append(pieces_of(b"abc", b"def"), len(b"abc") + len(b"def"))
    await session.finish(digests_of(b"abcdef"), BytesSource(b"abcdef"))
    assert visible_below(disk.root) == {"report.pdf": b"abcdef"}
