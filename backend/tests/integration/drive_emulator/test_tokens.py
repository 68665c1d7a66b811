"""OAuth: logins, refreshing, service accounts, and what ends them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from google.auth import exceptions
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account
from google_auth_oauthlib.flow import InstalledAppFlow

from app.testing.drive_emulator import DriveEmulator

FULL = "https://www.googleapis.com/auth/drive"
OWN = "https://www.googleapis.com/auth/drive.file"


@pytest.fixture
def transport() -> Iterator[Request]:
    """google-auth's requests transport, closed in the end."""
    with requests.Session() as session:
        yield Request(session)


def _status(made: Any, url: str) -> int:
    with AuthorizedSession(made) as session:
        return int(session.get(url).status_code)


def _follow(url: str) -> str:
    answer = requests.get(url, allow_redirects=False, timeout=30)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def test_an_authorized_user_gets_tokens(drive: DriveEmulator, transport: Request, log_in: Any) -> None:
    """google-auth refreshes, and the token is good."""
    user = log_in(drive.authorized_user())
    user.refresh(transport)
    assert user.valid
    assert _status(user, f"{drive.root}/drive/v3/about?fields=user") == 200


def test_a_revoked_login_is_invalid_grant_until_the_next_login(
    drive: DriveEmulator, transport: Request, log_in: Any
) -> None:
    """And, where somebody takes the revocation back, no longer."""
    user = log_in(drive.authorized_user())
    user.refresh(transport)
    drive.revoke_tokens()
    answer = requests.get(
        f"{drive.root}/drive/v3/about?fields=user", headers={"Authorization": f"Bearer {user.token}"}, timeout=30
    )
    assert answer.status_code == 401
    with pytest.raises(exceptions.RefreshError, match="Token has been expired or revoked") as refused:
        user.refresh(transport)
    assert refused.value.args[1]["error"] == "invalid_grant"
    log_in(drive.authorized_user()).refresh(transport)
    with pytest.raises(exceptions.RefreshError):
        user.refresh(transport)
    drive.restore_tokens()
    user.refresh(transport)


def test_a_service_account_signs_for_its_token(drive: DriveEmulator, transport: Request) -> None:
    """It owns no storage, unless it acts for somebody."""
    account = service_account.Credentials.from_service_account_info(drive.service_account(), scopes=[FULL])
    with AuthorizedSession(account) as session:
        limit = session.get(f"{drive.root}/drive/v3/about?fields=storageQuota").json()["storageQuota"]["limit"]
        refused = session.post(f"{drive.root}/drive/v3/files", json={"name": "a"})
        shared = session.post(
            f"{drive.root}/drive/v3/files?supportsAllDrives=true", json={"name": "a", "parents": [drive.shared_drive]}
        )
    assert limit == "0"
    assert refused.status_code == 403
    assert "Service Accounts do not have storage quota" in refused.json()["error"]["message"]
    assert shared.status_code == 200
    with AuthorizedSession(account.with_subject("someone@emulator.example")) as session:
        assert session.post(f"{drive.root}/drive/v3/files", json={"name": "a"}).status_code == 200


def test_a_key_that_is_not_the_accounts_is_refused(drive: DriveEmulator, transport: Request) -> None:
    """And so is an account that nobody made."""
    right, other = drive.service_account("one"), drive.service_account("two")
    forged = service_account.Credentials.from_service_account_info(
        {**right, "private_key": other["private_key"]}, scopes=[FULL]
    )
    with pytest.raises(exceptions.RefreshError, match="Invalid JWT Signature"):
        forged.refresh(transport)
    unknown = service_account.Credentials.from_service_account_info(
        {**right, "client_email": "nobody@x.example"}, scopes=[FULL]
    )
    with pytest.raises(exceptions.RefreshError, match="account not found"):
        unknown.refresh(transport)
    elsewhere = service_account.Credentials.from_service_account_info(right, scopes=[FULL])
    elsewhere._token_uri = drive.root.replace("127.0.0.1", "localhost") + "/token"
    elsewhere.refresh(transport)


def _flow(drive: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> InstalledAppFlow:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    flow = InstalledAppFlow.from_client_config(drive.client_config(), [FULL])
    flow.redirect_uri = "http://localhost:1"
    return flow


def test_a_login_by_pasting_the_address(drive: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """google-auth-oauthlib with PKCE: the consent page sends back a code, which is good once."""
    flow = _flow(drive, monkeypatch)
    url, state = flow.authorization_url()
    back = _follow(url)
    assert parse_qs(urlsplit(back).query)["state"] == [state]
    flow.fetch_token(authorization_response=back)
    assert flow.credentials.refresh_token
    assert _status(flow.credentials, f"{drive.root}/drive/v3/about?fields=user") == 200
    with pytest.raises(Exception, match="invalid_grant"):
        flow.fetch_token(authorization_response=back)
    flow.oauth2session.close()


def test_the_code_needs_its_verifier(drive: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that was overheard is worth nothing."""
    flow = _flow(drive, monkeypatch)
    back = _follow(flow.authorization_url()[0])
    flow.code_verifier = "x" * 64
    with pytest.raises(Exception, match="Invalid code verifier"):
        flow.fetch_token(authorization_response=back)
    flow.oauth2session.close()


def test_a_login_in_a_browser(drive: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback server of google-auth-oauthlib gets the redirect."""
    flow = _flow(drive, monkeypatch)

    made: list[Any] = []

    def browse(url: str, **_: object) -> bool:
        made.append(threading.Thread(target=lambda: requests.get(url, timeout=30)))
        made[0].start()
        return True

    monkeypatch.setattr("webbrowser.get", lambda _name=None: type("B", (), {"open": staticmethod(browse)}))
    flow.run_local_server(port=0, timeout_seconds=10, authorization_prompt_message="")
    made[0].join()
    assert flow.credentials.valid
    flow.oauth2session.close()


def test_the_user_may_say_no(drive: DriveEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application is told `access_denied`."""
    drive.deny_consent()
    assert "error=access_denied" in _follow(_flow(drive, monkeypatch).authorization_url()[0])


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"client_id": None}, 400, "Missing required parameter: client_id"),
        ({"scope": None}, 400, "Missing required parameter: scope"),
        ({"client_id": "someone"}, 401, "The OAuth client was not found"),
        ({"response_type": "token"}, 400, "Invalid response_type"),
    ],
)
def test_the_consent_page_checks(drive: DriveEmulator, change: dict[str, str | None], status: int, said: str) -> None:
    """Client, scope, kind of answer."""
    good = {
        "client_id": drive.authorized_user()["client_id"],
        "redirect_uri": "http://localhost",
        "response_type": "code",
        "scope": FULL,
    }
    asked = {name: value for name, value in {**good, **change}.items() if value is not None}
    answer = requests.get(f"{drive.root}/o/oauth2/v2/auth", params=asked, allow_redirects=False, timeout=30)
    assert answer.status_code == status
    assert said in answer.text


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        ({}, 400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type: "}),
        (
            {"grant_type": "refresh_token", "refresh_token": "1//nonsense"},
            400,
            {"error": "invalid_grant", "error_description": "Bad Request"},
        ),
        (
            {"grant_type": "refresh_token", "client_secret": "wrong"},
            401,
            {"error": "invalid_client", "error_description": "Unauthorized"},
        ),
        (
            {"grant_type": "refresh_token", "client_id": "wrong"},
            401,
            {"error": "invalid_client", "error_description": "The OAuth client was not found."},
        ),
        (
            {"grant_type": "authorization_code", "code": "4/nonsense"},
            400,
            {"error": "invalid_grant", "error_description": "Malformed auth code."},
        ),
        (
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"},
            400,
            {"error": "invalid_grant", "error_description": "Bad Request"},
        ),
    ],
)
def test_refusals_have_googles_bodies(
    drive: DriveEmulator, form: dict[str, str], status: int, body: dict[str, str]
) -> None:
    """`error` and `error_description`."""
    user = drive.authorized_user()
    client = {"client_id": str(user["client_id"]), "client_secret": str(user["client_secret"])}
    answer = requests.post(f"{drive.root}/token", data={**client, **form}, timeout=30)
    assert (answer.status_code, answer.json()) == (status, body)


def test_a_token_can_be_given_back(drive: DriveEmulator, transport: Request, log_in: Any) -> None:
    """The revocation endpoint."""
    user = drive.authorized_user()
    assert requests.post(f"{drive.root}/revoke", data={"token": user["refresh_token"]}, timeout=30).status_code == 200
    with pytest.raises(exceptions.RefreshError, match="expired or revoked"):
        log_in(user).refresh(transport)
    assert requests.post(f"{drive.root}/revoke", data={"token": "x"}, timeout=30).json()["error"] == "invalid_token"


async def test_tokens_end_by_themselves(start_drive: Callable[..., DriveEmulator], connect: Any) -> None:
    """After their lifetime; the body and the challenge are Google's."""
    raw = connect(start_drive(token_lifetime_s=0.0))
    expired = await raw.ask("GET", "/drive/v3/about?fields=user")
    assert (expired.status, expired.reason) == (401, "authError")
    assert expired.json()["error"]["status"] == "UNAUTHENTICATED"
    assert expired.headers["WWW-Authenticate"] == 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    missing = await raw.ask("GET", "/drive/v3/about?fields=user", token=None)
    assert (missing.status, missing.reason) == (401, "required")


async def test_the_narrow_scope_sees_only_its_own(drive: DriveEmulator, connect: Any) -> None:
    """A folder that somebody else made is a 404 for `drive.file`."""
    raw = connect(drive)
    foreign, own = drive.add_folder("theirs", foreign=True), drive.add_folder("ours")
    narrow = drive.access_token([OWN])
    answers = [
        (await raw.ask("GET", f"/drive/v3/files/{each}", token=token)).status
        for each in (foreign, own)
        for token in (narrow, drive.access_token())
    ]
    assert answers == [404, 200, 200, 200]
    inside = await raw.ask("POST", "/drive/v3/files", json={"name": "a", "parents": [foreign]}, token=narrow)
    assert (inside.status, inside.json()["error"]["message"]) == (404, f"File not found: {foreign}.")
    listed = (await raw.ask("GET", "/drive/v3/files", token=narrow)).json()["files"]
    assert [each["name"] for each in listed] == ["ours"]
