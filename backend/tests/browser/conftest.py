"""The pages in Chromium, before the real server.

Laws: what the page says on its console is a failure of the test, unless the test has caused it (`Surfer.expects`); a browser
lives as long as one module's tests, since Playwright's own event loop must not be there for the tests that have one.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from app.testing.drive_emulator import DriveEmulator
from app.testing.server_process import ServerProcess
from app.testing.surfer import Surfer, chromium

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[3]
AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
# An element is told by its HTML: selectors for all that were looked at would take as long again as the looking.
_FIND_VIOLATIONS = "axe.run({ selectors: false }).then((result) => result.violations)"


@pytest.fixture(scope="session")
def built_pages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What `make setup` builds; built here where that is missing, or older than its sources."""
    with (tmp_path_factory.getbasetemp().parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of pytest's processes builds
        subprocess.run([ROOT / "scripts" / "page", "build"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for a module's tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, built_pages: None) -> Iterator[Callable[..., Surfer]]:
    """`open_page(url, **context options)`: somebody new opens the page; the console is looked at in the end."""
    surfers: list[Surfer] = []

    def open_one(url: str, *, expects: re.Pattern[str] | None = None, **options: Any) -> Surfer:
        context = browser.new_context(**options)
        # Playwright has no hand in the browser's own picker of files; without it the page uses an input.
        context.add_init_script("delete window.showOpenFilePicker; delete window.showDirectoryPicker")
        surfer = Surfer(context, context.new_page())
        surfers.append(surfer)
        if expects is not None:
            surfer.expects(expects)
        surfer.listen(surfer.page)
        surfer.page.goto(url)
        return surfer

    yield open_one
    said = [text for surfer in surfers for text in surfer.unexpected()]
    for surfer in surfers:
        surfer.context.close()
    assert said == []


@pytest.fixture
def server(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """The server with its defaults: open to this machine, files on disk."""
    return start_server()


@pytest.fixture
def surfer(open_page: Callable[..., Surfer], server: ServerProcess) -> Surfer:
    """Somebody with the upload page of `server` open."""
    return open_page(server.url)


@pytest.fixture
def violations() -> Callable[[Surfer], list[str]]:
    """`violations(surfer)`: what axe finds against the page as it is now, each with the elements."""

    def find(surfer: Surfer) -> list[str]:
        if not surfer.page.evaluate("'axe' in window"):
            surfer.devtools.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
        found: list[dict[str, Any]] = surfer.page.evaluate(_FIND_VIOLATIONS)
        return [f"{each['id']}: {[node['html'][:160] for node in each['nodes']]}" for each in found]

    return find


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., Path]:
    """`make_file(name, size)`: a file in which no MiB is like another."""

    def make(name: str, size: int, folder: str = "chosen") -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        piece = random.Random(name).randbytes(MIB)
        with path.open("wb") as out:
            for number in range(-(-size // MIB)):
                out.write((number.to_bytes(8, "big") + piece[8:])[: size - number * MIB])
        return path

    return make


@pytest.fixture
def make_token() -> Callable[..., str]:
    """`make_token(server, user, *options)`: a new token, made as an operator makes one."""
    return lambda server, user, *options: _token(server, "create", user, *options)


@pytest.fixture
def revoke_tokens() -> Callable[..., str]:
    """`revoke_tokens(server, user)`: all of a user's."""
    return lambda server, user: _token(server, "revoke", user)


def _token(server: ServerProcess, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "app", "token", *arguments],
        cwd=server.directory,
        env={**os.environ, **server.settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def drive() -> Iterator[DriveEmulator]:
    """Google Drive's emulator, in a thread of its own."""
    with DriveEmulator.in_thread() as drive:
        yield drive


@pytest.fixture
def drive_settings(drive: DriveEmulator, tmp_path: Path) -> dict[str, str]:
    """Of a server whose destination is that Drive."""
    credentials = tmp_path / "google-drive.json"
    credentials.write_text(json.dumps(drive.authorized_user()))
    return {
        "FOREBAY_DESTINATION": "gdrive:",
        "FOREBAY_GOOGLE_DRIVE_API_ROOT": drive.root,
        "FOREBAY_GOOGLE_DRIVE_CREDENTIALS": str(credentials),
    }
