"""The upload page: files go where they should, whole, and are told of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from app.testing.drive_emulator import DriveEmulator, Kind
from app.testing.server_process import ServerProcess
from app.testing.surfer import Surfer

MIB = 1 << 20
MakeFile = Callable[..., Path]


def sha256_of(path: Path) -> str:
    """Of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_file_of_300_mb_lands_whole(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """Its digest at the destination is that of the file, and the page shows it."""
    path = make_file("film.mkv", 300_000_000)
    surfer.choose(path)
    row = surfer.wait_for_phase("film.mkv", "completed", 60_000)
    digest = sha256_of(path)
    assert sha256_of(server.files / "film.mkv") == digest
    expect(row.locator("code")).to_have_attribute("title", digest)


def test_three_files_at_once(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """All are under way together, none waits for another's end, and each lands whole."""
    paths = [make_file(f"part-{number}.bin", (20 + number) * MIB) for number in range(3)]
    surfer.slow_down(12)
    surfer.choose(*paths)
    for path in paths:
        surfer.wait_for_phase(path.name, "uploading")
    for path in paths:
        surfer.wait_until_received(path.name, 1)
    surfer.slow_down(0)
    for path in paths:
        surfer.wait_for_phase(path.name, "completed")
        assert sha256_of(server.files / path.name) == sha256_of(path)
    expect(surfer.page.get_by_role("heading", name="3 files uploaded")).to_be_visible()


def test_a_zero_byte_file(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """An empty file is a file."""
    surfer.choose(make_file("empty.txt", 0))
    surfer.wait_for_phase("empty.txt", "completed")
    assert (server.files / "empty.txt").read_bytes() == b""


def test_a_name_is_text_whatever_is_in_it(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """Markup in a name is shown and does nothing, in both lists; letters of other scripts stay what they are."""
    name = "отчёт 報告 <img src=x onerror=document.title='hacked'>.txt"
    surfer.choose(make_file(name, 1000))
    row = surfer.wait_for_phase(name, "completed")
    expect(row.locator(".name")).to_have_text(name)
    expect(surfer.entry(name).locator(".name")).to_have_text(name)
    assert surfer.page.locator("#app img").count() == 1  # our own mark
    assert surfer.page.title() == "Forebay"
    assert (server.files / name).stat().st_size == 1000


def test_a_folder_keeps_its_tree(surfer: Surfer, server: ServerProcess, make_file: MakeFile, tmp_path: Path) -> None:
    """What is dropped as a folder is one at the destination, however deep."""
    for place in ("holiday/a.txt", "holiday/raw/b.bin", "holiday/raw/day 2/c.bin"):
        make_file(Path(place).name, 5000, folder=str(Path("chosen") / Path(place).parent))
    single = make_file("beside.txt", 10)
    surfer.drop(tmp_path / "chosen" / "holiday", single)
    for name in ("a.txt", "b.bin", "c.bin", "beside.txt"):
        surfer.wait_for_phase(name, "completed")
    found = {str(path.relative_to(server.files)) for path in server.files.rglob("*") if path.is_file()}
    assert found == {"holiday/a.txt", "holiday/raw/b.bin", "holiday/raw/day 2/c.bin", "beside.txt"}
    expect(surfer.row("c.bin").locator(".folder")).to_have_text("holiday/raw/day 2")


def test_a_folder_that_is_chosen_keeps_its_tree(
    surfer: Surfer, server: ServerProcess, make_file: MakeFile, tmp_path: Path
) -> None:
    """The button for folders does what dropping does."""
    make_file("x.txt", 10, folder="chosen/letters/2026")
    surfer.page.set_input_files("#pick-folder", str(tmp_path / "chosen" / "letters"))
    surfer.wait_for_phase("x.txt", "completed")
    assert (server.files / "letters" / "2026" / "x.txt").stat().st_size == 10


def test_into_google_drive_both_phases_are_shown(
    open_page: Callable[..., Surfer],
    start_server: Callable[..., ServerProcess],
    drive: DriveEmulator,
    drive_settings: dict[str, str],
    make_file: MakeFile,
) -> None:
    """The bar has what the server received and what is in Drive; it is done when Drive has it."""
    surfer = open_page(start_server(**drive_settings).url)
    path = make_file("report.pdf", 24 * MIB + 17)
    surfer.slow_down(8)
    surfer.choose(path)
    surfer.wait_until_received("report.pdf", 30)
    spoken = surfer.row("report.pdf").get_by_role("progressbar").get_attribute("aria-valuetext")
    assert spoken is not None
    assert spoken.endswith("% at the destination")
    surfer.wait_for_phase("report.pdf", "completed")
    stored = [file for file in drive.files.values() if file.sha256]
    assert [drive.content(file.id) for file in stored] == [path.read_bytes()]
    assert not [event for event in drive.events if event.kind is Kind.VIOLATION]


def test_cancelling_leaves_nothing(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """Neither in the list, nor in staging, nor at the destination."""
    surfer.slow_down(8)
    surfer.choose(make_file("wrong.iso", 64 * MIB))
    surfer.wait_until_received("wrong.iso", 5)
    surfer.press("wrong.iso", "Cancel")
    expect(surfer.row("wrong.iso")).to_have_count(0)
    expect(surfer.entry("wrong.iso")).to_have_attribute("data-state", "cancelled")
    left = [path for path in (server.directory / "var").rglob("*") if path.is_file() and path.stat().st_size >= MIB]
    assert [path for path in left if "forebay.db" not in path.name] == []


def test_cancelling_much_asks_first(surfer: Surfer, make_file: MakeFile) -> None:
    """All at once, or a hundred megabytes, are not lost by one click."""
    surfer.slow_down(8)
    surfer.choose(make_file("a.iso", 32 * MIB), make_file("b.iso", 32 * MIB))
    surfer.wait_until_received("a.iso", 1)
    surfer.page.get_by_role("button", name="Cancel all").click()
    surfer.page.get_by_role("button", name="Keep uploading").click()
    expect(surfer.row("a.iso")).to_be_visible()
    surfer.page.get_by_role("button", name="Cancel all").click()
    surfer.page.get_by_role("dialog").get_by_role("button", name="Cancel all").click()
    expect(surfer.page.locator("li.row")).to_have_count(0)


def test_pause_and_resume(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """A paused file stands still; then it goes on from what the server has."""
    path = make_file("paused.bin", 48 * MIB)
    surfer.slow_down(6)
    surfer.choose(path)
    surfer.wait_until_received("paused.bin", 10)
    surfer.press("paused.bin", "Pause")
    surfer.wait_for_phase("paused.bin", "paused")
    stands = surfer.received("paused.bin")
    surfer.page.wait_for_timeout(700)
    assert surfer.received("paused.bin") == stands
    surfer.slow_down(0)
    surfer.press("paused.bin", "Go on")
    surfer.wait_for_phase("paused.bin", "completed")
    assert sha256_of(server.files / "paused.bin") == sha256_of(path)


def test_what_is_uploaded_can_be_fetched(surfer: Surfer, make_file: MakeFile) -> None:
    """The list has a link to the content, and the checksum to copy."""
    path = make_file("letter.txt", 12_345)
    surfer.context.grant_permissions(["clipboard-read", "clipboard-write"])
    surfer.choose(path)
    surfer.wait_for_phase("letter.txt", "completed")
    with surfer.page.expect_download() as download:
        surfer.entry("letter.txt").get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == path.read_bytes()
    assert download.value.suggested_filename == "letter.txt"
    surfer.entry("letter.txt").get_by_role("button", name="Copy the SHA-256").click()
    assert surfer.page.evaluate("navigator.clipboard.readText()") == sha256_of(path)


def test_an_upload_from_elsewhere_is_listed_and_can_be_cancelled(
    surfer: Surfer, server: ServerProcess, open_page: Callable[..., Surfer], make_file: MakeFile
) -> None:
    """A second window sees it move, without being asked to look."""
    other = open_page(server.url)
    surfer.slow_down(8)
    surfer.choose(make_file("elsewhere.bin", 64 * MIB))
    expect(other.entry("elsewhere.bin")).to_have_attribute("data-state", "receiving")
    expect(surfer.entry("elsewhere.bin")).to_have_count(0)
    other.entry("elsewhere.bin").get_by_role("button", name="Cancel").click()
    surfer.expects()  # its chunks on the way are refused now
    other.page.get_by_role("dialog").get_by_role("button", name="Cancel the upload").click()
    expect(other.entry("elsewhere.bin")).to_have_attribute("data-state", "cancelled")
    surfer.wait_for_phase("elsewhere.bin", "failed")


def test_the_same_name_twice_is_stored_twice(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """The second is renamed by the server, and the page tells as what it is stored."""
    path = make_file("twice.txt", 4000)
    surfer.choose(path)
    surfer.wait_for_phase("twice.txt", "completed")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    surfer.page.get_by_role("button", name="Clear finished").click()
    surfer.choose(path)
    expect(surfer.wait_for_phase("twice.txt", "completed").locator(".stored-as")).to_have_text(
        "Stored as twice (1).txt"
    )
    for name in ("twice.txt", "twice (1).txt"):
        assert (server.files / name).read_bytes() == path.read_bytes()
