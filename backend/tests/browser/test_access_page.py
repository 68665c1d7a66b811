"""Signing in, on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from app.testing.server_process import ServerProcess
from app.testing.surfer import ELSEWHERE, NETWORK_TROUBLE, Surfer

MY_UPLOADS = "**/api/v1/uploads?*"


@pytest.fixture
def guarded(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """A server that wants tokens."""
    return start_server(FOREBAY_AUTH="tokens")


def test_no_token_is_asked_for_where_none_is_needed(surfer: Surfer) -> None:
    """The page is there at once."""
    expect(surfer.page.get_by_role("button", name="Choose files")).to_be_visible()
    assert surfer.page.get_by_label("Access token").count() == 0


def test_a_wrong_token_is_refused_and_a_right_one_let_in(
    open_page: Callable[..., Surfer],
    guarded: ServerProcess,
    make_token: Callable[..., str],
    make_file: Callable[..., Path],
) -> None:
    """The refusal is the server's sentence; the right one is asked for once, not after a refresh."""
    surfer = open_page(guarded.url, expects=NETWORK_TROUBLE)
    field = surfer.page.get_by_label("Access token")
    expect(field).to_be_focused()
    field.fill("fb_wrong")
    field.press("Enter")
    expect(surfer.page.get_by_role("alert")).to_contain_text("The token is not known")
    token = make_token(guarded, "anna")
    field.fill(token)
    field.press("Enter")
    expect(surfer.page.get_by_role("button", name="Choose files")).to_be_visible()
    surfer.choose(make_file("of-anna.txt", 1000))
    surfer.wait_for_phase("of-anna.txt", "completed")
    surfer.page.reload()
    expect(surfer.entry("of-anna.txt")).to_be_visible()
    expect(surfer.page.get_by_role("banner")).to_contain_text("Signed in as anna")
    assert token not in surfer.page.evaluate("JSON.stringify(localStorage) + document.cookie + document.body.innerHTML")


def test_signing_out_ends_it(
    open_page: Callable[..., Surfer], guarded: ServerProcess, make_token: Callable[..., str]
) -> None:
    """Afterwards a token is asked for again."""
    surfer = open_page(guarded.url, expects=NETWORK_TROUBLE)
    surfer.page.get_by_label("Access token").fill(make_token(guarded, "anna"))
    surfer.page.get_by_role("button", name="Sign in").click()
    surfer.page.get_by_role("button", name="Sign out").click()
    expect(surfer.page.get_by_label("Access token")).to_be_visible()


def test_without_tls_on_a_network_it_works_as_well(
    open_page: Callable[..., Surfer], start_server: Callable[..., ServerProcess], make_file: Callable[..., Path]
) -> None:
    """There browsers take much away from pages: random names, locks, the clipboard."""
    server = start_server(FOREBAY_AUTH="none", FOREBAY_ALLOWED_HOSTS=f"{ELSEWHERE},127.0.0.1")
    surfer = open_page(f"http://{ELSEWHERE}:{server.port}")
    assert surfer.page.evaluate("isSecureContext") is False
    path = make_file("plain.bin", 3 << 20)
    surfer.choose(path)
    row = surfer.wait_for_phase("plain.bin", "completed")
    assert (server.files / "plain.bin").read_bytes() == path.read_bytes()
    row.get_by_role("button", name="Copy the SHA-256").click()
    expect(surfer.page.get_by_role("status")).to_contain_text("The checksum was copied.")


def test_an_upload_waits_for_a_new_sign_in(
    open_page: Callable[..., Surfer],
    guarded: ServerProcess,
    make_token: Callable[..., str],
    revoke_tokens: Callable[..., str],
    make_file: Callable[..., Path],
) -> None:
    """A token that is revoked in the middle: the page asks for another, and the upload goes on where it was."""
    surfer = open_page(guarded.url, expects=NETWORK_TROUBLE)
    field = surfer.page.get_by_label("Access token")
    field.fill(make_token(guarded, "anna"))
    field.press("Enter")
    surfer.slow_down(2)
    path = make_file("long.bin", 60 << 20)
    surfer.choose(path)
    surfer.wait_until_received("long.bin", 5)
    revoke_tokens(guarded, "anna")
    expect(field).to_be_visible(timeout=20_000)  # what the server has looked up it believes for some seconds
    field.fill(make_token(guarded, "anna"))
    surfer.slow_down(0)
    field.press("Enter")
    surfer.wait_for_phase("long.bin", "completed")
    assert (guarded.files / "long.bin").read_bytes() == path.read_bytes()


def test_a_late_refusal_of_the_former_sign_in_asks_for_no_other(
    open_page: Callable[..., Surfer],
    guarded: ServerProcess,
    make_token: Callable[..., str],
    revoke_tokens: Callable[..., str],
    make_file: Callable[..., Path],
) -> None:
    """Behind a slow line requests wait with the cookie they were made with; their refusal is no news after a sign-in."""
    surfer = open_page(guarded.url, expects=NETWORK_TROUBLE)
    page = surfer.page
    field = page.get_by_label("Access token")
    token = make_token(guarded, "anna")
    field.fill(token)
    field.press("Enter")
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()
    waiting: list[Route] = []
    page.route(MY_UPLOADS, lambda route: route.continue_() if waiting else waiting.append(route))
    with page.expect_request(MY_UPLOADS):  # the page hears of an upload that it does not know
        uploads, own = f"{guarded.url}/api/v1/uploads", {"Authorization": f"Bearer {token}"}
        upload = page.request.post(uploads, data={"filename": "elsewhere.bin", "size": 4 << 20}, headers=own).json()
        chunk = bytes(upload["chunk_size"])
        assert page.request.put(f"{uploads}/{upload['id']}/chunks/0", data=chunk, headers=own).ok
    surfer.slow_down(2)
    surfer.choose(make_file("here.bin", 60 << 20))
    revoke_tokens(guarded, "anna")
    expect(field).to_be_visible()
    (request,) = waiting
    refusal = request.fetch()
    assert refusal.status == 401
    field.fill(make_token(guarded, "anna"))
    surfer.slow_down(0)
    field.press("Enter")
    surfer.wait_for_phase("here.bin", "completed")
    with page.expect_response(lambda answer: "/uploads?" in answer.url and answer.status == 200):
        request.fulfill(response=refusal)
    expect(surfer.entry("elsewhere.bin")).to_be_visible()
    assert field.count() == 0


def test_only_an_operator_is_led_to_the_operations(
    open_page: Callable[..., Surfer], guarded: ServerProcess, make_token: Callable[..., str]
) -> None:
    """Others would find a refusal there."""
    for options, links in (((), 0), (("--operator",), 1)):
        surfer = open_page(guarded.url, expects=NETWORK_TROUBLE)
        surfer.page.get_by_label("Access token").fill(make_token(guarded, "olga", *options))
        surfer.page.get_by_role("button", name="Sign in").click()
        expect(surfer.page.get_by_role("button", name="Choose files")).to_be_visible()
        assert surfer.page.get_by_role("link", name="Operations").count() == links
