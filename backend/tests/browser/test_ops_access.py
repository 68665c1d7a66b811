"""The operations page is for operators."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.testing.server_process import ServerProcess
from app.testing.surfer import NETWORK_TROUBLE, Surfer

OpenPage = Callable[..., Surfer]
MakeToken = Callable[..., str]


@pytest.fixture
def guarded(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """A server that wants tokens."""
    return start_server(FOREBAY_AUTH="tokens")


@pytest.fixture
def page(open_page: OpenPage, guarded: ServerProcess) -> Page:
    """Somebody who has come without a session."""
    return open_page(f"{guarded.url}/ops", expects=NETWORK_TROUBLE).page


def sign_in(page: Page, token: str) -> None:
    """With the form that is there."""
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_an_operator_signs_in(page: Page, guarded: ServerProcess, make_token: MakeToken) -> None:
    """Once: a refresh asks for nothing."""
    expect(page.get_by_text("This page needs the token of an operator.")).to_be_visible()
    sign_in(page, make_token(guarded, "olga", "--operator"))
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_others_are_refused_and_may_sign_in_as_an_operator(
    page: Page, guarded: ServerProcess, make_token: MakeToken
) -> None:
    """They see nothing of the board, not even after a refresh."""
    sign_in(page, make_token(guarded, "anna"))
    expect(page.get_by_text("This page is for operators; anna is not one.")).to_be_visible()
    page.reload()
    expect(page.get_by_text("This page is for operators; anna is not one.")).to_be_visible()
    assert page.get_by_role("heading", name="Uploads").count() == 0
    sign_in(page, make_token(guarded, "olga", "--operator"))
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.get_by_text("This page is for operators")).to_have_count(0)


def test_a_token_that_is_revoked_ends_the_view(page: Page, guarded: ServerProcess, make_token: MakeToken) -> None:
    """The board goes, and the token is asked for again."""
    sign_in(page, make_token(guarded, "olga", "--operator"))
    expect(page.get_by_role("heading", name="Uploads")).to_be_visible()
    subprocess.run(
        [sys.executable, "-m", "app", "token", "revoke", "olga"],
        cwd=guarded.directory,
        env={**os.environ, **guarded.settings},
        check=True,
    )
    expect(page.get_by_label("Access token")).to_be_visible()
    assert page.get_by_role("heading", name="Uploads").count() == 0
