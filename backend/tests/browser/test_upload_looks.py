"""The upload page for everybody: accessible in both themes, on a phone, by keyboard; quiet, small, and responsive."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.testing.server_process import ServerProcess
from app.testing.surfer import NETWORK_TROUBLE, Surfer

MIB = 1 << 20
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 800}}
FIRST_LOAD_BYTES = 200_000
LONG_TASK_MS = 100
TAB_BYTES = 300 * MIB
OpenPage = Callable[..., Surfer]
Violations = Callable[[Surfer], list[str]]
MakeFile = Callable[..., Path]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_is_against_accessibility_in_any_state(
    open_page: OpenPage,
    server: ServerProcess,
    make_file: MakeFile,
    violations: Violations,
    theme: str,
    device: dict[str, Any],
) -> None:
    """Empty, uploading, paused, asking, failed, done, without a connection."""
    surfer = open_page(server.url, color_scheme=theme, **device)
    expect(surfer.page.get_by_text("Nothing here yet")).to_be_visible()
    assert violations(surfer) == []
    surfer.slow_down(6)
    surfer.choose(make_file("film.mkv", 60 * MIB), make_file("empty.txt", 0))
    surfer.wait_for_phase("empty.txt", "completed")
    surfer.wait_until_received("film.mkv", 4)
    assert violations(surfer) == []
    surfer.press("film.mkv", "Pause")
    surfer.wait_for_phase("film.mkv", "paused")
    surfer.page.get_by_role("button", name="Cancel all").click()
    assert violations(surfer) == []
    surfer.page.keyboard.press("Escape")
    surfer.expects()
    surfer.press("film.mkv", "Go on")
    surfer.offline()
    surfer.wait_for_phase("film.mkv", "offline")
    assert violations(surfer) == []
    surfer.slow_down(0)
    surfer.page.reload()
    surfer.wait_for_phase("film.mkv", "ghost")
    assert violations(surfer) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_signing_in_is_accessible(
    open_page: OpenPage, start_server: Callable[..., ServerProcess], violations: Violations, theme: str
) -> None:
    """With a refusal, too."""
    surfer = open_page(start_server(FOREBAY_AUTH="tokens").url, expects=NETWORK_TROUBLE, color_scheme=theme)
    surfer.page.get_by_label("Access token").fill("fb_wrong")
    surfer.page.keyboard.press("Enter")
    expect(surfer.page.get_by_role("alert")).not_to_be_empty()
    assert violations(surfer) == []


def test_a_phone_has_no_sideways_scrolling(open_page: OpenPage, server: ServerProcess, make_file: MakeFile) -> None:
    """At 360 px, with a long name."""
    surfer = open_page(server.url, **PHONE)
    surfer.slow_down(4)
    name = f"{'a-very-long-name-without-any-blank' * 4}.bin"
    surfer.choose(make_file(name, 24 * MIB), make_file("b.bin", 0))
    surfer.wait_until_received(name, 5)
    surfer.wait_for_phase("b.bin", "completed")
    assert surfer.page.evaluate("document.documentElement.scrollWidth") == 360


def test_everything_can_be_done_by_keyboard(surfer: Surfer, make_file: MakeFile) -> None:
    """In the order in which it is read, with the focus always to be seen, and never lost."""
    surfer.slow_down(4)
    surfer.choose(make_file("typed.bin", 40 * MIB))
    surfer.wait_until_received("typed.bin", 2)
    seen = []
    for _ in range(12):
        surfer.page.keyboard.press("Tab")
        seen.append(
            surfer.page.evaluate(
                """() => {
                  const focused = document.activeElement
                  const outline = getComputedStyle(focused).outlineStyle
                  return [focused.getAttribute('aria-label') ?? focused.textContent.trim(), outline !== 'none']
                }"""
            )
        )
        if seen[-1][0] == "Pause: typed.bin":
            break
    labels = [label for label, _ in seen]
    assert all(visible for _, visible in seen), seen
    wanted = ["Forebay", "Choose files", "Choose a folder", "Pause all", "Cancel all", "Pause: typed.bin"]
    assert [label for label in labels if label in wanted] == wanted
    surfer.page.keyboard.press("Enter")
    surfer.wait_for_phase("typed.bin", "paused")
    surfer.page.keyboard.press("Enter")  # the same place has "Go on" now, and still the focus
    surfer.wait_for_phase("typed.bin", "uploading")
    surfer.page.keyboard.press("Tab")
    surfer.page.keyboard.press("Enter")
    expect(surfer.row("typed.bin")).to_have_count(0)


def test_a_screen_reader_is_told_of_begin_and_end(surfer: Surfer, make_file: MakeFile) -> None:
    """In one polite region; the bar has both phases in words."""
    status = surfer.page.get_by_role("status")
    surfer.slow_down(8)
    surfer.choose(make_file("told.bin", 8 * MIB))
    expect(status).to_have_text("Uploading told.bin.")
    bar = surfer.page.get_by_role("progressbar", name="told.bin")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"^\d+% received, \d+% at the destination$"))
    expect(status).to_have_text("told.bin is uploaded.")


def test_the_theme_can_be_chosen_and_is_kept(open_page: OpenPage, server: ServerProcess) -> None:
    """Against the system's, over a refresh, and back."""
    surfer = open_page(server.url, color_scheme="light")
    root = surfer.page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    surfer.page.get_by_role("button", name="Dark colours").click()
    surfer.page.reload()
    expect(root).to_have_attribute("data-theme", "dark")
    surfer.page.get_by_role("button", name="Dark colours").click()
    surfer.page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-theme", "dark")


def test_the_first_load_is_small(server: ServerProcess, open_page: OpenPage) -> None:
    """All that the page loads before anything is uploaded, as it comes over the wire."""
    surfer = open_page("about:blank")
    sizes: dict[str, float] = {}
    surfer.devtools.send("Network.enable")
    address: dict[str, str] = {}
    surfer.devtools.on("Network.responseReceived", lambda e: address.update({e["requestId"]: e["response"]["url"]}))
    surfer.devtools.on(
        "Network.loadingFinished", lambda e: sizes.update({address.get(e["requestId"], "?"): e["encodedDataLength"]})
    )
    surfer.page.goto(server.url)
    expect(surfer.page.get_by_text("Nothing here yet")).to_be_visible()
    assert sum(sizes.values()) < FIRST_LOAD_BYTES, sizes
    html = urllib.request.urlopen(server.url).read().decode()
    assert "uplot" not in html.lower()


def test_the_tab_stays_responsive_and_still_while_it_uploads(
    surfer: Surfer, server: ServerProcess, make_file: MakeFile
) -> None:
    """No long task, nothing that moves by itself, four redraws a second at most, no growth of memory."""
    surfer.page.evaluate("() => { window.seen = { shifts: [], redraws: [] } }")
    path = make_file("watched.bin", 300 * MIB)
    surfer.slow_down(80)
    with surfer.tasks() as tasks:
        surfer.choose(path)
        surfer.wait_until_received("watched.bin", 10)
        surfer.page.evaluate(
            """() => {
              const row = document.querySelector('li.row')
              new PerformanceObserver((list) => {
                if (row.dataset.phase !== 'uploading') return // what follows has other buttons
                for (const entry of list.getEntries()) {
                  if (entry.hadRecentInput) continue
                  window.seen.shifts.push(entry.sources.map(({ node }) => node?.outerHTML ?? 'gone'))
                }
              }).observe({ type: 'layout-shift' })
              new MutationObserver(() => window.seen.redraws.push(performance.now()))
                .observe(row, { subtree: true, childList: true, characterData: true, attributes: true })
            }"""
        )
        surfer.wait_until_received("watched.bin", 90)
    seen = surfer.page.evaluate("window.seen")
    heap = surfer.devtools.send("Runtime.getHeapUsage")
    assert 0 < max(tasks) < LONG_TASK_MS
    assert seen["shifts"] == []
    assert len(seen["redraws"]) > 3
    lasted_s = (seen["redraws"][-1] - seen["redraws"][0]) / 1000
    assert len(seen["redraws"]) <= 4 * lasted_s + 2
    assert heap["usedSize"] + heap.get("embedderHeapUsedSize", 0) + heap.get("backingStorageSize", 0) < TAB_BYTES
    surfer.wait_for_phase("watched.bin", "completed")


def test_many_files_are_no_burden(surfer: Surfer, make_file: MakeFile) -> None:
    """A hundred small ones: all arrive, and the tab stays responsive."""
    files = [make_file(f"{number:03}.txt", 100 + number) for number in range(100)]
    with surfer.tasks() as tasks:
        surfer.choose(*files)
        surfer.page.get_by_role("heading", name="100 files uploaded").wait_for(timeout=60_000)
    assert 0 < max(tasks) < LONG_TASK_MS
