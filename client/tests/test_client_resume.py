"""What is remembered, and the lock beside it."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from forebay._resume import Remembered, ResumePlace, Target, state_directory
from forebay._source import Fingerprint
from forebay.errors import AlreadyUploading, StateUnusable

TARGET = Target("http://h/", "/f", "f", "", None, "rename")
RECORD = Remembered("key", Fingerprint(1, 2, 3), "u1")


async def held(place: ResumePlace) -> None:
    """Take the lock, and give it back."""
    async with place.locked(wait=False, on_wait=lambda: None):
        pass


async def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    """Private to the user, and gone when forgotten."""
    place = ResumePlace(tmp_path / "deep" / "state", TARGET)
    async with place.locked(wait=False, on_wait=lambda: None):
        assert place.load() is None
        place.save(RECORD)
        assert place.load() == RECORD
        (path,) = (tmp_path / "deep" / "state").glob("*.json")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        place.forget()
        place.forget()
        assert place.load() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"version": 2}', b'{"version": 1, "target": {}}'])
async def test_a_damaged_record_is_no_record(tmp_path: Path, content: bytes) -> None:
    """After a power cut, or from another version."""
    place = ResumePlace(tmp_path, TARGET)
    place.save(RECORD)
    next(tmp_path.glob("*.json")).write_bytes(content)
    assert place.load() is None


async def test_the_lock_keeps_a_second_one_out_until_it_ends(tmp_path: Path) -> None:
    """Also within one process; nothing stays behind."""
    place, same = ResumePlace(tmp_path, TARGET), ResumePlace(tmp_path, TARGET)
    async with place.locked(wait=False, on_wait=lambda: None):
        with pytest.raises(AlreadyUploading):
            await held(same)
    await held(same)
    assert not list(tmp_path.iterdir())


async def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    """Kill -9 leaves no lock."""
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom forebay._resume import *\n"
        "async def main():\n"
        f"    place = ResumePlace(Path({str(tmp_path)!r}), Target('http://h/', '/f', 'f', '', None, 'rename'))\n"
        "    async with place.locked(wait=False, on_wait=lambda: None):\n"
        "        print('held', flush=True)\n        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert await process.stdout.readline() == b"held\n"
    place = ResumePlace(tmp_path, TARGET)
    with pytest.raises(AlreadyUploading):
        await held(place)
    process.kill()
    await process.wait()
    await held(place)


async def test_a_directory_that_cannot_be_used_is_said_with_its_cure(tmp_path: Path) -> None:
    """A file stands in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="FOREBAY_STATE_DIR"):
        await held(ResumePlace(tmp_path / "file" / "state", TARGET))


def test_the_directory_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By FOREBAY_STATE_DIR; else the user's state directory."""
    monkeypatch.setenv("FOREBAY_STATE_DIR", str(tmp_path))
    assert state_directory() == tmp_path
    monkeypatch.delenv("FOREBAY_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_directory() == tmp_path / "xdg" / "forebay"
