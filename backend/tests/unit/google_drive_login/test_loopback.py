"""The listener to which the browser brings consent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from app.destinations.google_drive.consent import Client, Consent, ConsentError
from app.destinations.google_drive.loopback import Loopback, free_port
from app.destinations.google_drive.options import SCOPE_OWN, GoogleDriveOptions

CLIENT = Client("id.apps.googleusercontent.com", "GOCSPX-hidden")


def _meet(google: GoogleDriveOptions, browse: Callable[[str, str], None], timeout_s: float = 10.0) -> str:
    """Wait for consent while a browser does this with the listener's address and the state."""
    with Loopback(0) as listener, ThreadPoolExecutor(1) as browser:
        consent = Consent(google, CLIENT, SCOPE_OWN, listener.redirect_uri)
        assert parse_qs(urlsplit(consent.address).query)["redirect_uri"] == [listener.redirect_uri]
        state = parse_qs(urlsplit(consent.address).query)["state"][0]
        listener.expect(consent)
        browsing = browser.submit(browse, listener.redirect_uri, state)
        try:
            return listener.wait(timeout_s)
        finally:
            browsing.result()


def _get(address: str) -> None:
    assert requests.get(address, timeout=30).status_code == 200


def test_the_browser_brings_the_code(google: GoogleDriveOptions, capfd: pytest.CaptureFixture[str]) -> None:
    """And gets a page that sends the person back to the terminal; the code is on no page and printed nowhere."""
    pages = []

    def browse(address: str, state: str) -> None:
        pages.append(requests.get(f"{address}?state={state}&code=4/0Acode", timeout=30))

    assert _meet(google, browse) == "4/0Acode"
    (page,) = pages
    assert page.status_code == 200
    assert "Go back to the terminal" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "4/0Acode" not in page.text
    assert capfd.readouterr() == ("", "")


def test_what_is_not_the_consent_is_not_taken_for_it(google: GoogleDriveOptions) -> None:
    """Icons, scanners, foreign states, connections without a request: the wait goes on."""
    said: list[int] = []

    def browse(address: str, state: str) -> None:
        idle = socket.create_connection((urlsplit(address).hostname or "", urlsplit(address).port or 0))
        said.extend(
            requests.get(address + path, timeout=30).status_code
            for path in ("favicon.ico", "", "?state=other&code=4/0Aforeign", f"elsewhere?state={state}&code=4/0Ax")
        )
        said.append(requests.post(address, timeout=30).status_code)
        said.append(requests.get(f"{address}?state={state}&code=4/0Acode", timeout=30).status_code)
        idle.close()

    assert _meet(google, browse) == "4/0Acode"
    assert said == [404, 400, 400, 404, 501, 200]


def test_a_denial_ends_the_wait(google: GoogleDriveOptions) -> None:
    """At once, with what was answered."""
    with pytest.raises(ConsentError, match="consent was denied"):
        _meet(
            google,
            lambda address, state: _get(f"{address}?state={state}&error=access_denied"),
        )


def test_what_came_is_shown_without_being_believed(google: GoogleDriveOptions) -> None:
    """No markup of a foreign address gets into the page."""
    pages = []

    def browse(address: str, state: str) -> None:
        pages.append(requests.get(f"{address}?<script>alert(1)</script>", timeout=30).text)
        requests.get(f"{address}?state={state}&code=4/0Acode", timeout=30)

    _meet(google, browse)
    assert "<script>" not in pages[0]


def test_a_browser_that_never_comes_back_is_not_waited_for_for_ever(google: GoogleDriveOptions) -> None:
    """There is another way, and it is named."""
    began = time.monotonic()
    with pytest.raises(ConsentError, match="--no-browser"):
        _meet(google, lambda _address, _state: None, timeout_s=0.2)
    assert time.monotonic() - began < 10
    assert not [thread for thread in threading.enumerate() if thread.name == "loopback"]


def test_a_taken_port_is_said() -> None:
    """And that another can be chosen; only this machine can reach the listener."""
    with Loopback(free_port()) as listener:
        assert listener.redirect_uri.startswith("http://127.0.0.1:")
        with pytest.raises(ConsentError, match=r"port \d+ can't be listened on .*--port"):
            Loopback(int(urlsplit(listener.redirect_uri).port or 0))
