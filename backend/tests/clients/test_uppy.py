"""Uppy with its tus plugin, in Chromium, on a page of another origin."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from app.testing.surfer import chromium

from .conftest import FRONTEND, MIB, NODE, Place

_HERE = Path(__file__).resolve().parent


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page that has Uppy; its address."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "node_modules").symlink_to(FRONTEND / "node_modules")
    shutil.copy(_HERE / "uppy_client.mjs", folder)
    command = [
        NODE,
        FRONTEND / "node_modules/.bin/rolldown",
        "uppy_client.mjs",
        "--file",
        "uppy.js",
        "--platform",
        "browser",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "index.html").write_text("<!doctype html><script type=module src=uppy.js></script>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@cache
def sent_by_the_page(size: int) -> bytes:
    """The same bytes, made here."""
    return bytes(((at * 31) ^ (at >> 9)) & 0xFF for at in range(size))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"chunkSize": 2 * MIB, "uploadDataDuringCreation": True}, id="creation-with-upload"),
        pytest.param({"parallelUploads": 4}, id="four-parts"),
    ],
)
def test_a_file_arrives(
    site: str, browser: Browser, start_place: Callable[..., Place], options: dict[str, Any]
) -> None:
    """From a page that the server's settings name."""
    place = start_place(FOREBAY_CORS_ORIGINS=site)
    page = browser.new_page()
    page.goto(site)
    page.wait_for_function("window.send !== undefined")
    outcome = page.evaluate(
        """async ([endpoint, options, size]) => {
            const bytes = new Uint8Array(size).map((_, at) => (at * 31) ^ (at >> 9))
            const file = new File([bytes], 'aus Uppy.bin', { type: 'application/x-forebay' })
            return window.send({ endpoint, options, file })
        }""",
        [place.tus, options, 9 * MIB + 7],
    )
    page.close()
    assert outcome["errors"] == []
    assert len(outcome["urls"]) == 1
    view, content = place.arrived("aus Uppy.bin")
    assert content == sent_by_the_page(9 * MIB + 7)
    assert view["media_type"] == "application/x-forebay"
