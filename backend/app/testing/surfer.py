"""Somebody with the upload page open in a browser; for the tests and the bench. Needs Playwright and Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, BrowserContext, CDPSession, Locator, Page, expect, sync_playwright

__all__ = ["ELSEWHERE", "NETWORK_TROUBLE", "Surfer", "chromium"]

MIB: Final = 1 << 20
PATIENCE_MS: Final = 30_000.0
ELSEWHERE: Final = "forebay.test"
"""A name that leads to this machine, and that a browser does not take for it: a server on the network, without TLS."""
NETWORK_TROUBLE: Final = re.compile(r"Failed to load resource|net::ERR_")
"""What the browser itself says of an answer that is an error, or that never came."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window.

    Raises:
        FileNotFoundError: it is not installed.
    """
    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("chromium")
    expect.set_options(timeout=PATIENCE_MS)  # five seconds else, which a busy machine may need for a page
    with sync_playwright() as playwright:
        arguments = [f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Surfer:
    """Somebody with the upload page open."""

    context: BrowserContext
    page: Page
    said: list[str] = field(default_factory=list)
    expected: list[re.Pattern[str]] = field(default_factory=list)
    _devtools: CDPSession | None = None

    def expects(self, pattern: re.Pattern[str] = NETWORK_TROUBLE) -> None:
        """The test is about to cause what the browser says on its console."""
        self.expected.append(pattern)

    def listen(self, page: Page) -> None:
        """Note what goes wrong on a page, and let it go where the test wants."""
        page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.said.append(f"thrown: {error}"))
        page.on("dialog", lambda dialog: dialog.accept())
        page.set_default_timeout(PATIENCE_MS)

    def unexpected(self) -> list[str]:
        """What was said on the console, apart from what the test has caused."""
        return [text for text in self.said if not any(pattern.search(text) for pattern in self.expected)]

    @property
    def devtools(self) -> CDPSession:
        """The page's developer tools."""
        if self._devtools is None:
            self._devtools = self.context.new_cdp_session(self.page)
        return self._devtools

    @contextmanager
    def tasks(self) -> Iterator[list[float]]:
        """Yields what is filled when the block has ended: how long each task of the page's main thread took, in milliseconds.

        Of processor time, as the browser traces it: how long a task lasts by the clock, and so what the page itself is told
        of long ones, depends on what else the machine does. What is asked of the page meanwhile is among them: `expect`
        describes the whole page to itself each time it finds that it has to wait, which takes longer than anything of ours.

        Raises:
            RuntimeError: the page's browser is not known.
        """
        browser = self.context.browser
        if browser is None:
            raise RuntimeError("a context without a browser")
        taken: list[float] = []
        browser.start_tracing(page=self.page, categories=["toplevel"])
        try:
            yield taken
        finally:
            events = json.loads(browser.stop_tracing())["traceEvents"]
        names = {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each["name"] == "thread_name"}
        taken += [
            each["tdur"] / 1000
            for each in events
            if each["name"] == "ThreadControllerImpl::RunTask"
            and "tdur" in each  # not in what was cut off by the end
            and names[each["pid"], each["tid"]] == "CrRendererMain"
        ]

    def slow_down(self, mib_per_second: float) -> None:
        """Limit what the page sends from now on; 0: no limit."""
        self._network(offline=False, upload=mib_per_second * MIB or -1)

    def offline(self) -> None:
        """Take the page's network away; `slow_down` gives it back."""
        self._network(offline=True, upload=-1)

    def _network(self, *, offline: bool, upload: float) -> None:
        # Not `context.set_offline`: what another session of the developer tools has set goes before it.
        self.devtools.send("Network.enable")
        self.devtools.send(
            "Network.emulateNetworkConditions",
            {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload},
        )

    def choose(self, *paths: Path) -> None:
        """Choose files, as with the button."""
        self.page.set_input_files("#pick-files", [str(path) for path in paths])

    def drop(self, *paths: Path) -> None:
        """Drag files or folders over the page, and drop them."""
        self.page.wait_for_selector("#pick-files", state="attached")
        # The page listens once its first picture is painted.
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        at = {"x": 200, "y": 200}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})

    def row(self, name: str) -> Locator:
        """A file of this tab in the list."""
        return self.page.locator("li.row", has=self.page.get_by_text(name, exact=True))

    def entry(self, name: str) -> Locator:
        """An upload in the list of mine."""
        return self.page.locator("li.entry", has=self.page.get_by_text(name, exact=True))

    def wait_for_phase(self, name: str, phase: str, timeout_ms: float = PATIENCE_MS) -> Locator:
        """Return the file's row once it is there."""
        row = self.row(name)
        expect(row).to_have_attribute("data-phase", phase, timeout=timeout_ms)
        return row

    def press(self, name: str, button: str) -> None:
        """Press a button of a file; each says which file it is for."""
        self.row(name).get_by_role("button", name=f"{button}: {name}", exact=True).click()

    def received(self, name: str) -> int:
        """Percent that the server has received, as a screen reader says it."""
        spoken = self.row(name).get_by_role("progressbar").get_attribute("aria-valuetext") or ""
        found = re.match(r"(\d+)% received", spoken)
        return int(found[1]) if found else 0

    def wait_until_received(self, name: str, percent: int) -> None:
        """Return once so much has come."""
        self.page.wait_for_function(
            """([name, percent]) => {
              const row = [...document.querySelectorAll('li.row')]
                .find((each) => each.querySelector('.name')?.textContent === name)
              const spoken = row?.querySelector('[role=progressbar]')?.getAttribute('aria-valuetext')
              return spoken ? parseInt(spoken) >= percent : row?.dataset.phase === 'completed'
            }""",
            arg=[name, percent],
        )
