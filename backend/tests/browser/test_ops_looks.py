"""The operations page for everybody: accessible in both themes, on a phone, by keyboard; and it stands still."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import expect

from app.testing.api_client import ApiClient
from app.testing.drive_emulator import DriveEmulator, Rule, Status
from app.testing.server_process import ServerProcess
from app.testing.surfer import Surfer

MIB = 1 << 20
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1440, "height": 900}}
PATIENCE_MS = 30_000.0
WATCHED_MS = 5000.0
MOST_BUSY = 0.5  # of the time; on two processors that a whole server and other tests use as well
MOST_SHIFT = 0.01  # a tenth of what a page is felt to jump from on (web.dev/cls); bars that grow are in it
OpenPage = Callable[..., Surfer]
Violations = Callable[[Surfer], list[str]]


@pytest.fixture
def busy(
    start_server: Callable[..., ServerProcess], drive: DriveEmulator, drive_settings: dict[str, str]
) -> Iterator[ServerProcess]:
    """A server with a Drive that fails, twenty uploads, one of which sends and one of which is held up."""
    drive.script([Rule("any", Status(503, retry_after=20))])
    server = start_server(**drive_settings)
    with ExitStack() as clients:
        one: ApiClient = clients.enter_context(ApiClient(("127.0.0.1", server.port)))
        for number in range(18):
            one.create(
                f"a file with a rather long name that somebody thought of, number {number}.bin", (number + 1) * MIB
            )
        whole = one.create("whole.bin", MIB)
        one.put_all(whole, bytes(MIB))
        other: ApiClient = clients.enter_context(ApiClient(("127.0.0.1", server.port)))
        slow = other.create("slow.bin", 4 * MIB, chunk_size=4 * MIB)
        other.begin_chunk(slow["id"], 0, 4 * MIB, bytes(1000))
        one.post("/api/v1/uploads", {"filename": "too-large.bin", "size": 1 << 50})
        yield server


def open_board(open_page: OpenPage, server: ServerProcess, **options: Any) -> Surfer:
    """It is live, and has everything."""
    surfer = open_page(f"{server.url}/ops", **options)
    expect(surfer.page.get_by_text("Live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    expect(surfer.page.locator("tbody tr[data-upload]")).to_have_count(20, timeout=PATIENCE_MS)
    expect(surfer.page.locator("li.destination")).to_contain_text("Google Drive")
    expect(surfer.page.get_by_role("list", name="What happened lately")).to_contain_text("Refusal")
    return surfer


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_against_accessibility(
    open_page: OpenPage, busy: ServerProcess, violations: Violations, theme: str
) -> None:
    """The board, the question before cancelling, the board without its server; nothing is wider than a phone."""
    surfers = [open_board(open_page, busy, color_scheme=theme, **device) for device in (DESK, PHONE)]
    for surfer in surfers:
        assert violations(surfer) == []
        assert surfer.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        surfer.page.locator("tbody tr[data-upload]").first.get_by_role("button").click()
        assert violations(surfer) == []
        surfer.page.keyboard.press("Escape")
        surfer.expects()
    busy.stop()
    for surfer in surfers:
        expect(surfer.page.get_by_text("Reconnecting…")).to_be_visible(timeout=PATIENCE_MS)
        assert violations(surfer) == []


def test_charts_say_in_numbers_what_they_show(open_page: OpenPage, busy: ServerProcess) -> None:
    """Each has a table with the newest value and the bounds, also while it is out of view; for the time chosen."""
    page = open_board(open_page, busy).page
    for title in ("Bytes", "How many wait at once, by cause", "Memory", "Event loop delay"):
        cells = page.get_by_role("table", name=title, exact=True).get_by_role("row").nth(1).get_by_role("cell")
        expect(cells).to_have_text([re.compile(r"\d")] * 3, timeout=PATIENCE_MS)
    page.get_by_role("radio", name="1 h").check()
    expect(page.get_by_role("radio", name="5 min", exact=True)).not_to_be_checked()
    expect(cells).to_have_text([re.compile(r"\d")] * 3, timeout=PATIENCE_MS)


def test_one_crosshair_reads_all_charts(open_page: OpenPage, busy: ServerProcess) -> None:
    """Where the pointer is in one, each says its values of that time."""
    page = open_board(open_page, busy, **DESK).page
    newest = page.get_by_role("columnheader", name="now", exact=True)
    expect(newest).to_have_count(9)
    box = page.locator(".u-over").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 20)
    expect(newest).to_have_count(0)
    page.mouse.move(0, 0)
    expect(newest).to_have_count(9)


def test_the_board_is_for_the_keyboard_too(open_page: OpenPage, busy: ServerProcess) -> None:
    """From the filter on with Tab: the state, the table's heads, and an upload's button, which stays where it is."""
    page = open_board(open_page, busy, **DESK).page
    page.get_by_label("Filter uploads by text").focus()
    page.keyboard.type("slow.bin")
    for _ in range(3):  # the state, the table that scrolls, the first head
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="File")).to_be_focused()
    for _ in range(7):
        page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Cancel slow.bin")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


def test_the_board_stands_still_and_leaves_the_tab_its_time(open_page: OpenPage, busy: ServerProcess) -> None:
    """While numbers change nothing moves, and the page works for a small part of the time."""
    surfer = open_board(open_page, busy, **DESK)
    page = surfer.page
    page.evaluate(_WATCH)
    before = busy_s(surfer)
    page.wait_for_timeout(WATCHED_MS)
    assert page.evaluate("shifted") < MOST_SHIFT
    assert busy_s(surfer) - before < MOST_BUSY * WATCHED_MS / 1000


_WATCH = """() => {
  window.shifted = 0
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifted += entry.value
  }).observe({ type: 'layout-shift' })
}"""


def busy_s(surfer: Surfer) -> float:
    """Seconds that the page's main thread has worked."""
    surfer.devtools.send("Performance.enable")
    metrics = surfer.devtools.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))
