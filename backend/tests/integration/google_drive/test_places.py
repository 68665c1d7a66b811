"""Folders and names: made once, found again, kept apart, replaced."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from app.core.errors import DestinationRefused, DestinationUnavailable, InvalidName, NameTaken
from app.core.names import numbered
from app.core.upload import NameConflictPolicy
from app.testing.drive_emulator import CutAfter, ErrorIn200, LoseAnswer, Rule, Status, WrongDigest
from app.testing.drive_emulator.metadata import Metadata
from app.testing.drive_emulator.model import Caller

FAIL, REPLACE = NameConflictPolicy.FAIL, NameConflictPolicy.REPLACE
ODD_NAMES = [
    "it's.txt",
    "'",
    "''",
    "a' or name = 'b",
    'quote"s.txt',
    "счёт № 5.pdf",
    "报告-最终版.docx",
    "ملف.txt",
    "naïve café.txt",
    "e\u0301.txt",
    "🗂️.zip",
    "100% + a&b=c?d#e.txt",
    "a{b}c[d]",
    "ü" * 127,
]


def folders(rig: Any, name: str) -> list[Any]:
    """Folders of that name, not in the trash."""
    return [file for file in rig.drive.files.values() if file.is_folder and file.name == name and not file.trashed]


async def test_twenty_uploads_at_once_make_each_folder_once(start_rig: Any) -> None:
    """Of a path that none of them finds."""
    rig = start_rig(latency_s=0.02)
    await asyncio.gather(*(rig.store(b"%d" % n, f"u{n}", filename=f"{n}.txt", folder="a/b/c") for n in range(20)))
    assert [len(folders(rig, name)) for name in "abc"] == [1, 1, 1]
    assert len(rig.files) == 20
    assert {file.parents[0] for file in rig.files} == {folders(rig, "c")[0].id}


@pytest.mark.parametrize(
    "fault", [LoseAnswer(), CutAfter(0), Status(503), Status(500, when="after"), ErrorIn200(when="after")]
)
async def test_a_folder_whose_making_went_wrong_is_made_once(rig: Any, fault: Any) -> None:
    """Tried again, under the same id."""
    rig.script(Rule("files.create", fault, times=2))
    for _ in range(3):
        try:
            await rig.store(b"x", folder="a/b")
            break
        except DestinationUnavailable:
            continue
    assert [len(folders(rig, name)) for name in "ab"] == [1, 1]
    rig.assert_one(b"x")


async def test_those_who_wait_for_a_folder_survive_one_who_leaves(start_rig: Any) -> None:
    """He was the first, and is cancelled."""
    rig = start_rig(latency_s=0.05)
    first = asyncio.create_task(rig.store(b"1", "u1", filename="1", folder="a/b"))
    others = [asyncio.create_task(rig.store(b"2", f"v{n}", filename=f"v{n}", folder="a/b")) for n in range(3)]
    await asyncio.sleep(0.08)
    first.cancel()
    await asyncio.gather(*others)
    assert [len(folders(rig, name)) for name in "ab"] == [1, 1]
    assert rig.names == ["v0", "v1", "v2"]


async def test_folders_are_found_again_in_another_life(start_rig: Any, rig: Any) -> None:
    """By name; of two of a name, the older."""
    older = rig.drive.add_folder("a")
    await asyncio.sleep(0.005)
    rig.drive.add_folder("a")
    await rig.store(b"1", "u1", filename="1", folder="a")
    await start_rig(rig.drive).store(b"2", "u2", filename="2", folder="a")
    assert {file.parents[0] for file in rig.files} == {older}


async def test_known_folders_are_not_asked_for_again(rig: Any) -> None:
    """Not for every file."""
    for number in range(5):
        await rig.store(b"x", f"u{number}", filename=f"{number}", folder="a/b")
    assert rig.drive.requests["files.create"] == 2
    assert rig.drive.requests["files.list"] == 2 + 5  # a look for each folder, and for each file's name


async def test_ids_that_drive_does_not_take_any_more(rig: Any, data: bytes) -> None:
    """They were fetched long ago: new ones are, for a file at once, for a folder with the next try."""
    await rig.destination._ids.take()
    rig.destination._ids._ids.extendleft(["old-1", "old-2"])
    await rig.store(data, "u1", filename="1")
    rig.destination._ids._ids.extendleft(["old-3", "old-4"])
    with pytest.raises(DestinationUnavailable, match="made no folder"):
        await rig.begin(data, "u2", filename="2", folder="a")
    await rig.store(data, "u2", filename="2", folder="a")
    assert rig.names == ["1", "2"]


async def test_very_many_folders_are_not_all_remembered(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And found again."""
    monkeypatch.setattr("app.destinations.google_drive.folders._REMEMBERED", 8)
    for number in range(30):
        await rig.store(b"x", f"u{number}", folder=f"f{number % 15}", filename=str(number))
    assert len(rig.destination._folders._tasks) <= 8
    assert all(len(folders(rig, f"f{number}")) == 1 for number in range(15))


async def test_a_folder_that_was_removed_is_made_again(rig: Any) -> None:
    """Somebody tidies up while the server runs."""
    await rig.store(b"1", "u1", folder="a/b")
    rig.drive.call(lambda: rig.drive.world.tree.delete(folders(rig, "a")[0]))
    assert rig.files == []
    await rig.store(b"2", "u2", folder="a/b")
    assert [len(folders(rig, name)) for name in "ab"] == [1, 1]
    rig.assert_one(b"2")


async def test_a_folder_removed_while_a_file_is_on_its_way(start_rig: Any, rig: Any, data: bytes) -> None:
    """Its session can't be found again either: it begins anew in a new folder."""
    session = await rig.begin(data, folder="a")
    await rig.append(session, data, until=262_144)
    rig.drive.expire_sessions()
    rig.drive.call(lambda: rig.drive.world.tree.delete(folders(rig, "a")[0]))
    again = await start_rig(rig.drive).begin(data, saved=session.state, folder="a")
    await rig.persist(again, data)
    assert rig.assert_one(data).parents == [folders(rig, "a")[0].id]


async def test_a_destination_folder_that_is_not_there(start_rig: Any, rig: Any) -> None:
    """Removed, in the trash, of another scope, or no folder: told to the operator, and taken up when it is cured."""
    folder = rig.drive.add_folder("Uploads")
    inside = start_rig(rig.drive, folder_id=folder)
    await inside.store(b"1", "u1")
    trashed = rig.drive.files[folder]
    trashed.trashed = True
    for gone in ("no-such-folder", folder):
        broken = start_rig(rig.drive, folder_id=gone)
        for call in (broken.destination.check(), broken.store(b"x", "u2")):
            with pytest.raises(DestinationRefused, match=r"not there for this login.*drive\.file"):
                await call
    trashed.trashed = False
    await broken.store(b"2", "u2", filename="2")
    file = next(file for file in rig.files if file.name == "2")
    with pytest.raises(DestinationRefused, match="no folder"):
        await start_rig(rig.drive, folder_id=file.id).destination.check()


async def test_the_scope_drive_file_sees_its_own_folders_only(start_rig: Any, rig: Any) -> None:
    """Said in the error; without a folder it works."""
    scope = ("https://www.googleapis.com/auth/drive.file",)
    foreign = rig.drive.add_folder("Foreign", foreign=True)
    with pytest.raises(DestinationRefused, match=r"drive\.file the server sees no folder that it has not made"):
        await start_rig(rig.drive, folder_id=foreign, scopes=scope).destination.check()
    own = start_rig(rig.drive, scopes=scope)
    await own.destination.check()
    await own.store(b"x", folder="a")
    rig.assert_one(b"x")


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_kept_and_found(clean: Any, name: str) -> None:
    """As file and as folder, exactly as they are, and not mistaken for others."""
    await clean.store(b"1", "u1", filename=name, folder=name)
    await clean.store(b"2", "u2", filename=name, folder=name)
    assert len(folders(clean, name)) == 1
    assert len(clean.files) == 2
    assert name in clean.names
    with pytest.raises(NameTaken):
        await clean.store(b"3", "u3", filename=name, folder=name, on_conflict=FAIL)


@pytest.mark.parametrize(("folder", "filename"), [("..", "x"), ("", "../x"), ("", "a\\b"), ("/a", "x"), ("", "a\0")])
async def test_no_target_is_elsewhere(rig: Any, folder: str, filename: str) -> None:
    """Names are validated here, too."""
    with pytest.raises(InvalidName):
        await rig.begin(b"x", folder=folder, filename=filename)
    assert rig.drive.requests == {}


async def test_many_of_a_name(rig: Any) -> None:
    """Each next number is found without asking for each."""
    for number in range(60):
        await rig.store(b"x", f"u{number}")
    expected = {"report.pdf", *(numbered("report.pdf", number) for number in range(1, 60))}
    assert set(rig.names) == expected
    before = rig.drive.requests["files.list"]
    await rig.store(b"x", "last")
    assert "report (60).pdf" in rig.names
    assert rig.drive.requests["files.list"] - before <= 5


async def test_names_that_differ_in_case_are_different(rig: Any) -> None:
    """Whatever Drive's search thinks."""
    await rig.store(b"1", "u1", filename="Report.pdf")
    await rig.store(b"2", "u2", filename="report.pdf")
    assert rig.names == ["Report.pdf", "report.pdf"]


async def test_uploads_of_one_name_at_once_get_different_ones(start_rig: Any) -> None:
    """Nothing is lost, nothing replaced."""
    rig = start_rig(latency_s=0.01)
    await asyncio.gather(*(rig.store(b"%d" % n, f"u{n}") for n in range(12)))
    assert len(set(rig.names)) == 12


async def test_a_name_taken_meanwhile_by_somebody_else(start_rig: Any, rig: Any, data: bytes) -> None:
    """Policy `rename` gives ours another one; also after a crash behind the last byte."""
    session = await rig.begin(data)
    await start_rig(rig.drive).store(b"x", "other")
    assert (await rig.finish(session, data)).name == "report (1).pdf"
    assert rig.names == ["report (1).pdf", "report.pdf"]
    session = await rig.begin(data, "u3", filename="b")
    before = session.state
    await start_rig(rig.drive).store(b"x", "another", filename="b")
    rig.script(("files.list", Status(503)))
    with pytest.raises(DestinationUnavailable):
        await rig.finish(session, data)
    later = start_rig(rig.drive)
    again = await later.begin(data, "u3", saved=before, filename="b")
    assert (await later.finish(again, data)).name == "b (1)"


async def test_a_session_let_go_of_lets_its_name_go(rig: Any, data: bytes) -> None:
    """However that happens."""
    session = await rig.begin(data)
    await session.abort()
    second = await rig.begin(data, "u2")
    assert json.loads(second.state)["name"] == "report.pdf"
    del second
    await rig.store(data, "u3")
    rig.assert_one(data)


async def test_fail_is_refused_before_anything_is_sent(rig: Any, data: bytes) -> None:
    """The client learns it at the beginning."""
    await rig.store(b"x")
    with pytest.raises(NameTaken):
        await rig.begin(data, "u2", on_conflict=FAIL)
    assert len(rig.drive.sessions) == 1


async def test_fail_is_looked_at_again_before_the_last_byte(start_rig: Any, rig: Any, data: bytes) -> None:
    """Somebody else was quicker; nothing of ours becomes a file."""
    session = await rig.begin(data, on_conflict=FAIL)
    await rig.append(session, data)
    await start_rig(rig.drive).store(b"x", "other")
    with pytest.raises(NameTaken):
        await rig.finish(session, data)
    await session.abort()
    rig.assert_one(b"x")


async def test_of_two_that_must_not_meet_one_fails(start_rig: Any) -> None:
    """Both began before either was there."""
    rig = start_rig(latency_s=0.02)
    sessions = [await rig.begin(b"%d" % n, f"u{n}", on_conflict=FAIL) for n in range(4)]
    results = await asyncio.gather(
        *(rig.finish(session, b"%d" % n) for n, session in enumerate(sessions)), return_exceptions=True
    )
    assert sum(isinstance(result, NameTaken) for result in results) == 3
    assert len(rig.files) == 1


async def test_replace_trashes_what_was_there(rig: Any, data: bytes) -> None:
    """All of that name, into the trash, and nothing else."""
    await rig.store(b"1", "u1")
    await rig.store(b"2", "u2", folder="elsewhere")
    await rig.store(b"3", "u3", filename="report (1).pdf")
    for _ in range(2):
        rig.drive.call(lambda: _copy(rig))
    await rig.store(data, "u4", on_conflict=REPLACE)
    assert sorted(rig.drive.content(file.id) for file in rig.files) == sorted([b"2", b"3", data])
    assert sum(file.trashed for file in rig.drive.files.values()) == 3


def _copy(rig: Any) -> None:
    rig.drive.world.tree.create(Metadata(name="report.pdf"), Caller("u", frozenset()), None, "text/plain")


async def test_replace_leaves_folders_alone(rig: Any, data: bytes) -> None:
    """One of the name, with all that is in it."""
    folder = rig.drive.add_folder("report.pdf")
    await rig.store(b"inside", "u1", folder="report.pdf", filename="inside")
    await rig.store(b"old", "u2", on_conflict=REPLACE)
    await rig.store(data, "u3", on_conflict=REPLACE)
    assert not rig.drive.files[folder].trashed
    assert rig.names == ["inside", "report.pdf"]


async def test_replace_keeps_the_old_one_until_the_new_is_verified(rig: Any, data: bytes) -> None:
    """A mismatch, an error, a cancel: it is still there."""
    await rig.store(b"old", "u1")
    session = await rig.begin(data, "u2", on_conflict=REPLACE)
    rig.script(("upload.finish", WrongDigest()))
    with pytest.raises(DestinationUnavailable):
        await rig.finish(session, data)
    rig.assert_one(b"old")
    await session.abort()
    session = await rig.begin(data, "u3", on_conflict=REPLACE)
    await rig.append(session, data)
    await session.abort()
    rig.assert_one(b"old")


async def test_replace_goes_on_after_a_crash(start_rig: Any, rig: Any, data: bytes) -> None:
    """Between the last byte and the trash: older ones go, newer ones stay."""
    await rig.store(b"old", "u1")
    await asyncio.sleep(0.005)
    session = await rig.begin(data, "u2", on_conflict=REPLACE)
    before = session.state
    rig.script(Rule("files.update", Status(503)))
    with pytest.raises(DestinationUnavailable):
        await rig.finish(session, data)
    assert len(rig.files) == 2
    rig.script()
    await asyncio.sleep(0.005)
    rig.drive.call(lambda: _copy(rig))
    later = start_rig(rig.drive)
    await later.finish(await later.begin(data, "u2", saved=before, on_conflict=REPLACE), data)
    assert sorted(rig.drive.content(file.id) for file in rig.files if file.content) == [data]
    assert len(rig.files) == 2


async def test_two_that_replace_at_once_leave_one(start_rig: Any) -> None:
    """And never none."""
    rig = start_rig(latency_s=0.01)
    await rig.store(b"old", "u0")
    contents = {f"u{n}": os.urandom(300_000) for n in range(1, 5)}
    await asyncio.gather(*(rig.store(content, name, on_conflict=REPLACE) for name, content in contents.items()))
    (file,) = rig.files
    assert rig.drive.content(file.id) in contents.values()


async def test_what_may_not_be_trashed_stays(rig: Any) -> None:
    """Somebody else's file of that name: the new one is there beside it, and nothing is lost."""
    await rig.store(b"old", "u1")
    session = await rig.begin(b"new", "u2", on_conflict=REPLACE)
    rig.script(("files.update", Status(403, "insufficientFilePermissions")))
    assert (await rig.finish(session, b"new")).size == 3
    found = {rig.drive.content(file.id) for file in rig.drive.named("report.pdf") if not file.trashed}
    assert found == {b"old", b"new"}
