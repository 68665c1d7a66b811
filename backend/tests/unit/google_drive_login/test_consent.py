"""Consent: what is asked for, what comes back, and what is made of everything else that may come."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from app.destinations.google_drive import consent as consent_module
from app.destinations.google_drive.consent import Client, Consent, ConsentError, NotTheRedirect, read_client, revoke
from app.destinations.google_drive.login_file import read_login, write_login
from app.destinations.google_drive.options import SCOPE_ALL, SCOPE_OWN, GoogleDriveOptions
from app.testing.drive_emulator import DriveEmulator, Kind, Rule, Stall, Status
from app.testing.drive_emulator.tokens import CLIENT_ID, CLIENT_SECRET

BACK = "http://127.0.0.1:45678/"
CLIENT = Client("id.apps.googleusercontent.com", "GOCSPX-hidden")
Save = Callable[[object], None]


@pytest.fixture
def drive() -> Iterator[DriveEmulator]:
    """In a thread: what is tested here blocks."""
    with DriveEmulator.in_thread() as running:
        yield running


@pytest.fixture
def client(drive: DriveEmulator, options: GoogleDriveOptions, tmp_path: Path) -> Client:
    """The emulator's, from its file."""
    path = tmp_path / "client.json"
    path.write_text(json.dumps(drive.client_config()))
    return read_client(path, options)


def agree(consent: Consent) -> str:
    """What a person's browser does: where it is sent."""
    answer = requests.get(consent.address, allow_redirects=False, timeout=30)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def _query(address: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}


# -- what is asked for -----------------------------------------------------------------------------------------------


def test_google_is_asked_for_one_scope_offline_and_anew(google: GoogleDriveOptions) -> None:
    """With PKCE and a state of this attempt; no secret is in the address."""
    first, second = (Consent(google, CLIENT, SCOPE_OWN, BACK) for _ in range(2))
    assert first.address.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    asked = _query(first.address)
    assert asked["scope"] == SCOPE_OWN
    assert (asked["access_type"], asked["prompt"], asked["response_type"]) == ("offline", "consent", "code")
    assert (asked["client_id"], asked["redirect_uri"]) == (CLIENT.id, BACK)
    assert asked["code_challenge_method"] == "S256"
    verifier = first._flow.code_verifier
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert asked["code_challenge"] == challenge
    assert verifier not in first.address
    assert "hidden" not in f"{first.address} {CLIENT!r} {first!r}"
    for name in ("state", "code_challenge"):
        assert asked[name] != _query(second.address)[name]


def test_oauthlib_is_told_nothing_that_stays(google: GoogleDriveOptions, options: GoogleDriveOptions) -> None:
    """Environment and log levels are as before."""
    before = dict(os.environ)
    Consent(google, CLIENT, SCOPE_OWN, BACK)
    Consent(options, CLIENT, SCOPE_OWN, BACK)
    assert dict(os.environ) == before


# -- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    ["{}", "  {}\n", '"{}"', "<{}>", "'{}'"],
)
def test_the_address_that_comes_back_holds_the_code(google: GoogleDriveOptions, shape: str) -> None:
    """Pasted with what may stick to it, and without the scheme that some browsers hide."""
    consent = Consent(google, CLIENT, SCOPE_OWN, BACK)
    state = _query(consent.address)["state"]
    address = f"{BACK}?state={state}&code=4/0Acode&scope={SCOPE_OWN}"
    assert consent.code(shape.format(address)) == "4/0Acode"
    assert consent.code(shape.format(address.removeprefix("http://"))) == "4/0Acode"
    assert consent.code(address.replace("4/0A", "4%2F0A")) == "4/0Acode"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "That is nothing"),
        ("4/0Acode", "That is not it"),
        ("yes", "That is not it"),
        ("http://[::1", "That is not it"),
        ("https://example.org/", "That is not it"),
        (BACK, "That is not it"),
        (f"{BACK}?code=4/0Acode", "another login"),
        (f"{BACK}?state=STATE", "That is not it"),
        (f"{BACK}?state=STATE&state=STATE&code=a", "another login"),
        (f"{BACK}?state=STATE&code=a&code=b", "That is not it"),
        (f"{BACK}?state=other&code=4/0Acode", "another login"),
        (f"{BACK}?state=\xe9&code=4/0Acode", "another login"),
        (f"{BACK}?state=other&error=access_denied", "another login"),
        ("ADDRESS", "the address to open"),
    ],
)
def test_other_addresses_are_asked_for_again(google: GoogleDriveOptions, address: str, said: str) -> None:
    """Each with what it is; above all one of another login is not used."""
    consent = Consent(google, CLIENT, SCOPE_OWN, BACK)
    text = address.replace("STATE", _query(consent.address)["state"]).replace("ADDRESS", consent.address)
    with pytest.raises(NotTheRedirect, match=said):
        consent.code(text)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("access_denied", "consent was denied"),
        ("admin_policy_enforced", "Workspace administrator"),
        ("server_error", r"Google refuses \(server_error\)"),
        ("%1b%5b31m" + "x" * 1000, r"Google refuses \( \[31mx+\)"),
    ],
)
def test_a_refusal_ends_the_attempt(google: GoogleDriveOptions, error: str, said: str) -> None:
    """It is no wrong address."""
    consent = Consent(google, CLIENT, SCOPE_OWN, BACK)
    with pytest.raises(ConsentError, match=said) as refused:
        consent.code(f"{BACK}?error={error}&state={_query(consent.address)['state']}")
    assert not isinstance(refused.value, NotTheRedirect)
    assert len(str(refused.value)) < 300


# -- what is made of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [SCOPE_OWN, SCOPE_ALL])
def test_the_code_becomes_a_login(
    options: GoogleDriveOptions, client: Client, scope: str, quiet: Callable[..., None]
) -> None:
    """Which the tokens can read; it records what was asked for, and nothing of it is in a repr or a log."""
    consent = Consent(options, client, scope, BACK)
    code = consent.code(agree(consent))
    granted = consent.exchange(code)
    write_login(options.credentials, granted.login)
    login = read_login(options)
    assert login.scopes == (scope,)
    assert login.info["token_uri"] == options.token_url
    assert Client.of(login) == client == Client(CLIENT_ID, CLIENT_SECRET)
    secrets = (granted.access_token, granted.login["refresh_token"], CLIENT_SECRET, code, consent._flow.code_verifier)
    assert not [secret for secret in secrets if str(secret) in f"{granted!r} {login!r} {client!r} {consent!r}"]
    quiet(*secrets)


def test_a_code_works_once(options: GoogleDriveOptions, client: Client) -> None:
    """The second time, log in again."""
    consent = Consent(options, client, SCOPE_OWN, BACK)
    code = consent.code(agree(consent))
    consent.exchange(code)
    with pytest.raises(ConsentError, match="it works once, for some minutes; log in again"):
        consent.exchange(code)


def test_a_code_is_worth_nothing_to_who_has_not_asked(options: GoogleDriveOptions, client: Client) -> None:
    """PKCE: the verifier never left the asking process."""
    asked, thief = (Consent(options, client, SCOPE_OWN, BACK) for _ in range(2))
    with pytest.raises(ConsentError, match="does not take the code"):
        thief.exchange(asked.code(agree(asked)))


def test_another_secret_than_googles_is_said(options: GoogleDriveOptions, client: Client) -> None:
    """The client's file is an old one."""
    consent = Consent(options, replace(client, secret="GOCSPX-old"), SCOPE_OWN, BACK)
    with pytest.raises(ConsentError, match="download its file anew"):
        consent.exchange(consent.code(agree(consent)))


def test_a_token_endpoint_in_trouble_is_said(
    drive: DriveEmulator, options: GoogleDriveOptions, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors without a form, and none at all."""
    monkeypatch.setattr(consent_module, "LIMITS_S", (1.0, 0.3))
    drive.script([Rule("token", Status(503), times=1), Rule("token", Stall(1.0, then="cut"), times=1)])
    for said in ("gives no token|answers as no token endpoint", "can't be reached: no answer in time"):
        consent = Consent(options, client, SCOPE_OWN, BACK)
        with pytest.raises(ConsentError, match=said):
            consent.exchange(consent.code(agree(consent)))


def test_a_token_endpoint_that_sends_us_elsewhere_is_not_followed(options: GoogleDriveOptions, client: Client) -> None:
    """The code and the client's secret went to the address in the settings, and to no other."""
    asked = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.handle_request).start()
        root = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(ConsentError, match="sends us elsewhere"):
            Consent(replace(options, api_root=root), client, SCOPE_OWN, BACK).exchange("4/0Acode")
    assert asked == ["/token"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"access_token": "ya29.x", "refresh_token": "1//x", "scope": "openid"}, "was not ticked"),
        ({"access_token": "ya29.x", "refresh_token": "1//x", "scope": ""}, "was not ticked"),
        ({"access_token": "ya29.x", "scope": SCOPE_OWN}, "no refresh token"),
    ],
)
def test_less_than_was_asked_for_is_no_login(
    google: GoogleDriveOptions, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], said: str
) -> None:
    """A box left open, or a consent that was not given anew."""
    consent = Consent(google, CLIENT, SCOPE_OWN, BACK)
    monkeypatch.setattr(consent._flow, "fetch_token", lambda **_: answer)
    with pytest.raises(ConsentError, match=said):
        consent.exchange("4/0Acode")


def test_a_login_that_will_end_says_when(
    google: GoogleDriveOptions, monkeypatch: pytest.MonkeyPatch, save: Save
) -> None:
    """Google tells how long a refresh token of an app in "Testing" lasts: 7 days."""
    consent = Consent(google, CLIENT, SCOPE_OWN, BACK)
    answer = {
        "access_token": "ya29.x",
        "refresh_token": "1//x",
        "scope": SCOPE_OWN,
        "refresh_token_expires_in": 604_799,
    }
    monkeypatch.setattr(consent._flow, "fetch_token", lambda **_: answer)
    granted = consent.exchange("4/0Acode")
    assert granted.ends_at == pytest.approx(time.time() + 604_799, abs=5)
    save(granted.login)
    assert read_login(google).ends_at == granted.ends_at
    monkeypatch.setattr(consent._flow, "fetch_token", lambda **_: {**answer, "refresh_token_expires_in": 0})
    assert consent.exchange("4/0Acode").ends_at is None


# -- the client's file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "no file of an OAuth client"),
        ({}, "no file of an OAuth client"),
        ({"installed": []}, "no file of an OAuth client"),
        ({"web": {"client_id": "id"}}, "Web application"),
        ({"installed": {"client_id": "id"}}, "no client_secret"),
        ({"type": "service_account"}, "FOREBAY_GOOGLE_DRIVE_CREDENTIALS"),
        ({"type": "authorized_user"}, "FOREBAY_GOOGLE_DRIVE_CREDENTIALS"),
        (
            {"installed": {"client_id": "id", "client_secret": "hidden", "auth_uri": "https://evil.example/auth"}},
            "names another host than Google in auth_uri: evil.example",
        ),
    ],
)
def test_what_is_no_clients_file_is_said(google: GoogleDriveOptions, tmp_path: Path, content: Any, said: str) -> None:
    """With what to do instead."""
    path = tmp_path / "client.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConsentError, match=said) as refused:
        read_client(path, google)
    assert "hidden" not in str(refused.value)


def test_a_clients_file_that_is_not_there_is_said(google: GoogleDriveOptions, tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ConsentError, match=r"nothing\.json can't be read: No such file"):
        read_client(tmp_path / "nothing.json", google)


# -- giving it back --------------------------------------------------------------------------------------------------


def test_a_login_is_given_back_once(drive: DriveEmulator, options: GoogleDriveOptions, save: Save) -> None:
    """Then it is worthless, and Google says so."""
    save(drive.authorized_user())
    login = read_login(options)
    assert revoke(login, options)
    assert drive.requests["revoke"] == 1
    forged = {**login.info, "refresh_token": "1//never"}
    save(forged)
    assert not revoke(read_login(options), options)


def test_google_that_can_not_be_told_is_said(drive: DriveEmulator, options: GoogleDriveOptions, save: Save) -> None:
    """Nothing is taken for done."""
    save(drive.authorized_user())
    drive.script([Rule("revoke", Status(503))])
    with pytest.raises(ConsentError, match="status 503"):
        revoke(read_login(options), options)
    with pytest.raises(ConsentError, match="can't be reached: no connection"):
        revoke(read_login(options), replace(options, api_root="http://127.0.0.1:1"))
    assert drive.events.of(Kind.FAULT)
