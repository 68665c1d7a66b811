"""The upload page: what breaks off goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.core.errors import LimitReached
from app.testing.drive_emulator import DriveEmulator, Rule, Status
from app.testing.product import Product
from app.testing.server_process import ServerProcess
from app.testing.surfer import Surfer

MIB = 1 << 20
MakeFile = Callable[..., Path]


def sha256_of(path: Path) -> str:
    """Of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def uploads_of(surfer: Surfer) -> list[dict[str, object]]:
    """What the server lists."""
    uploads: list[dict[str, object]] = surfer.page.evaluate("fetch('/api/v1/uploads').then((r) => r.json())")["uploads"]
    return uploads


def test_offline_for_five_seconds(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """The page says so, waits, and goes on by itself."""
    path = make_file("offline.bin", 96 * MIB)
    surfer.slow_down(12)
    surfer.choose(path)
    surfer.wait_until_received("offline.bin", 10)
    surfer.expects()
    surfer.offline()
    surfer.wait_for_phase("offline.bin", "offline")
    expect(surfer.page.locator(".toast")).to_contain_text("No connection")
    surfer.page.wait_for_timeout(5000)
    surfer.slow_down(0)
    surfer.wait_for_phase("offline.bin", "completed")
    expect(surfer.page.locator(".toast")).to_have_count(0)
    assert sha256_of(server.files / "offline.bin") == sha256_of(path)
    assert len(uploads_of(surfer)) == 1


def test_the_server_is_killed_in_the_middle(surfer: Surfer, server: ServerProcess, make_file: MakeFile) -> None:
    """`kill -9` and a restart: the same upload goes on from what it has, and the list is live again."""
    path = make_file("killed.bin", 64 * MIB)
    surfer.slow_down(12)
    surfer.choose(path)
    surfer.wait_until_received("killed.bin", 20)
    surfer.expects()
    server.kill()
    surfer.wait_for_phase("killed.bin", "waiting")
    expect(surfer.page.locator(".toast")).to_contain_text("can't be reached")
    surfer.slow_down(0)
    server.start()
    surfer.wait_for_phase("killed.bin", "completed")
    assert sha256_of(server.files / "killed.bin") == sha256_of(path)
    assert len(uploads_of(surfer)) == 1
    expect(surfer.entry("killed.bin")).to_have_attribute("data-state", "completed")
    expect(surfer.page.locator(".toast")).to_have_count(0)


def test_a_refresh_in_the_middle_asks_for_the_file_and_goes_on(
    surfer: Surfer, server: ServerProcess, make_file: MakeFile
) -> None:
    """A large chosen file has to be selected again: another one is refused, the right one goes on where it was."""
    path = make_file("refreshed.bin", 64 * MIB)
    surfer.slow_down(12)
    surfer.choose(path)
    surfer.wait_until_received("refreshed.bin", 20)
    surfer.page.reload()
    row = surfer.wait_for_phase("refreshed.bin", "ghost")
    expect(row.locator(".row-sentence")).to_contain_text("Select the file again")

    with surfer.page.expect_file_chooser() as chooser:
        row.get_by_role("button", name="Select again").click()
    chooser.value.set_files(str(make_file("other.bin", 64 * MIB)))
    expect(surfer.page.locator(".toast")).to_contain_text("another file")

    with surfer.page.expect_file_chooser() as chooser:
        row.get_by_role("button", name="Select again").click()
    chooser.value.set_files(str(path))
    surfer.wait_until_received("refreshed.bin", 20)  # not from the beginning
    surfer.wait_for_phase("refreshed.bin", "completed")
    assert sha256_of(server.files / "refreshed.bin") == sha256_of(path)
    assert len(uploads_of(surfer)) == 1


def test_a_small_file_goes_on_by_itself_after_a_refresh(
    surfer: Surfer, server: ServerProcess, make_file: MakeFile
) -> None:
    """The browser has kept its bytes."""
    path = make_file("small.bin", 6 * MIB)
    surfer.slow_down(1)
    surfer.choose(path)
    surfer.wait_for_phase("small.bin", "uploading")
    surfer.page.wait_for_timeout(1200)  # what is kept for a refresh is written twice a second
    surfer.page.reload()
    surfer.wait_for_phase("small.bin", "completed")
    assert sha256_of(server.files / "small.bin") == sha256_of(path)
    assert len(uploads_of(surfer)) == 1


def test_a_dropped_file_goes_on_by_itself_after_a_refresh(
    surfer: Surfer, server: ServerProcess, make_file: MakeFile
) -> None:
    """The browser knows where it is (File System Access): nobody has to select it again."""
    path = make_file("dropped.bin", 48 * MIB)
    surfer.slow_down(12)
    surfer.drop(path)
    surfer.wait_until_received("dropped.bin", 20)
    surfer.page.reload()
    surfer.wait_for_phase("dropped.bin", "completed")
    assert sha256_of(server.files / "dropped.bin") == sha256_of(path)
    assert len(uploads_of(surfer)) == 1


def test_a_limit_is_told_as_the_server_words_it(
    open_page: Callable[..., Surfer], start_server: Callable[..., ServerProcess], make_file: MakeFile
) -> None:
    """With one slot, the second file says its place in the queue, and goes when the first has ended."""
    server = start_server(PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS="1", PARALLEL_UPLOAD_MAX_CONCURRENT_USERS="1")
    first, second = open_page(server.url), open_page(server.url)
    first.slow_down(6)
    first.choose(make_file("first.bin", 40 * MIB))
    first.wait_until_received("first.bin", 5)
    second.choose(make_file("second.bin", 4 * MIB))
    row = second.wait_for_phase("second.bin", "queued")
    expect(row.locator(".row-sentence")).to_have_text("The server is full. Number 1 in its queue.")
    first.slow_down(0)
    first.wait_for_phase("first.bin", "completed")
    second.wait_for_phase("second.bin", "completed")


def test_a_refusal_is_told_as_the_server_words_it(
    open_page: Callable[..., Surfer],
    start_product: Callable[..., Product],
    make_file: MakeFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the wait counting down; and it goes on when the wait is over."""
    monkeypatch.setattr(LimitReached, "default_retry_after_s", 3)  # ten in earnest
    product = start_product(max_concurrent_uploads=1, max_concurrent_users=1, queue_timeout_s=1)
    first, second = open_page(product.url), open_page(product.url)
    second.expects()
    first.slow_down(4)
    first.choose(make_file("first.bin", 40 * MIB))
    first.wait_until_received("first.bin", 1)
    second.choose(make_file("second.bin", 4 * MIB))
    sentence = second.wait_for_phase("second.bin", "waiting").locator(".row-sentence")
    expect(sentence).to_contain_text("Upload limit exceeded or insufficient resources")
    expect(sentence).to_contain_text("Trying again in")
    first.slow_down(0)
    second.wait_for_phase("second.bin", "completed", 40_000)


def test_a_destination_in_trouble_is_told(
    open_page: Callable[..., Surfer],
    start_server: Callable[..., ServerProcess],
    drive: DriveEmulator,
    drive_settings: dict[str, str],
    make_file: MakeFile,
) -> None:
    """Received is not stored: the row has the server's sentence, and can be cancelled."""
    drive.script([Rule("upload.start", Status(400, "badRequest"))])
    surfer = open_page(start_server(**drive_settings).url)
    surfer.choose(make_file("report.bin", 3 * MIB))
    row = surfer.wait_for_phase("report.bin", "waiting")
    expect(row.locator(".row-sentence")).to_contain_text("Google Drive refuses")
    surfer.press("report.bin", "Cancel")
    expect(surfer.entry("report.bin")).to_have_attribute("data-state", "cancelled")


def test_too_large_is_a_failure_with_a_sentence(
    open_page: Callable[..., Surfer], start_server: Callable[..., ServerProcess], make_file: MakeFile
) -> None:
    """No retry helps, so there is none; the row has the server's sentence."""
    surfer = open_page(start_server(PARALLEL_UPLOAD_MAX_FILE_MB="1").url)
    surfer.expects()
    surfer.choose(make_file("large.bin", 2 * MIB))
    row = surfer.wait_for_phase("large.bin", "failed")
    expect(row.locator(".row-sentence")).to_contain_text("Files may have up to 1.04 MB here.")


def test_two_windows_do_not_take_up_each_others_files(
    surfer: Surfer, server: ServerProcess, make_file: MakeFile
) -> None:
    """A second window begins empty; a refresh of the first still has its own."""
    surfer.slow_down(2)
    surfer.choose(make_file("mine.bin", 30 * MIB))
    surfer.wait_until_received("mine.bin", 5)
    second = surfer.context.new_page()
    second.goto(server.url)
    expect(second.get_by_text("Drop files or folders here")).to_be_visible()
    second.wait_for_timeout(500)
    assert second.locator("li.row").count() == 0
    surfer.page.reload()
    surfer.wait_for_phase("mine.bin", "ghost")
    assert second.locator("li.row").count() == 0


@pytest.mark.parametrize("button", ["Clear finished", "Remove from this list"])
def test_clearing_the_list_keeps_what_is_stored(
    surfer: Surfer, server: ServerProcess, make_file: MakeFile, button: str
) -> None:
    """The list of this tab is one thing, what is at the destination another."""
    surfer.choose(make_file("kept.txt", 1000))
    surfer.wait_for_phase("kept.txt", "completed")
    surfer.page.get_by_role("button", name=button).click()
    expect(surfer.page.locator("li.row")).to_have_count(0)
    expect(surfer.entry("kept.txt")).to_have_attribute("data-state", "completed")
    assert (server.files / "kept.txt").stat().st_size == 1000
