"""What a credential file is taken for, and how one is written."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import DestinationLoginLost
from app.destinations.google_drive import login_file
from app.destinations.google_drive.login_file import Kind, read_login, remove_login, stamp_of, write_login
from app.destinations.google_drive.options import SCOPE_ALL, SCOPE_OWN, GoogleDriveOptions

Save = Callable[[object], None]
OptionsFor = Callable[..., GoogleDriveOptions]

USER = {"type": "authorized_user", "client_id": "id", "client_secret": "GOCSPX-hidden", "refresh_token": "1//hidden"}
ACCOUNT = {"type": "service_account", "client_email": "bot@p.iam.gserviceaccount.com", "private_key": "-----hidden"}


def _refused(options: GoogleDriveOptions) -> str:
    with pytest.raises(DestinationLoginLost) as refused:
        read_login(options)
    return str(refused.value)


def test_a_login_says_what_it_is_and_nothing_secret(google: GoogleDriveOptions, save: Save) -> None:
    """Kind, scopes, address; its repr holds no secret."""
    save({**USER, "scopes": [SCOPE_OWN], "account": "ann@example.org"})
    login = read_login(google)
    assert (login.kind, login.scopes, login.who, login.open_to_others) == (
        Kind.USER, (SCOPE_OWN,), "ann@example.org", False,
    )  # fmt: skip
    assert "hidden" not in repr(login)
    assert login.ends_at is None
    save({**USER, "scopes": f"{SCOPE_OWN} other", "login_ends_at": 1_800_000_000})
    assert read_login(google).ends_at == 1_800_000_000
    assert read_login(google).scopes == (SCOPE_OWN, "other")
    save(USER)
    assert read_login(google).scopes == ()


def test_a_service_account_asks_for_everything(google: GoogleDriveOptions, save: Save) -> None:
    """It has no folder that it made itself; what is shared with it decides."""
    save(ACCOUNT)
    login = read_login(google)
    assert (login.kind, login.scopes, login.who) == (Kind.SERVICE_ACCOUNT, (SCOPE_ALL,), ACCOUNT["client_email"])
    assert "hidden" not in repr(login)


def test_others_who_may_read_the_file_are_noticed(google: GoogleDriveOptions, save: Save) -> None:
    """The mode is part of what was found."""
    save(USER)
    google.credentials.chmod(0o640)  # root's, for the server's group: that is a way to do it
    assert not read_login(google).open_to_others
    google.credentials.chmod(0o644)
    assert read_login(google).open_to_others


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_group_is_others(google: GoogleDriveOptions, save: Save) -> None:
    """Whoever is in it."""
    save(USER)
    os.chown(google.credentials, -1, 12_345)
    google.credentials.chmod(0o640)
    assert read_login(google).open_to_others


def test_no_file_says_how_to_log_in(google: GoogleDriveOptions) -> None:
    """And names no path: uploaders may see it."""
    said = _refused(google)
    assert "run `forebay-server drive login`" in said
    assert str(google.credentials) not in said
    assert stamp_of(google.credentials) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[1]", "damaged"),
        ("[" * 100_000, "damaged"),
        ("\xff", "damaged"),
        ({"installed": {"client_id": "id"}}, "drive login --client-secrets FILE"),
        ({"web": {}}, "drive login --client-secrets FILE"),
        ({"type": "external_account"}, "another type"),
        ({}, "another type"),
        ({**USER, "refresh_token": ""}, "lacks refresh_token"),
        ({**USER, "client_secret": 7}, "lacks client_secret"),
        ({"type": "service_account", "client_email": "a@b"}, "lacks private_key"),
        ({**USER, "universe_domain": "other.example"}, "another cloud"),
    ],
)
def test_what_is_no_login_is_named(google: GoogleDriveOptions, save: Save, content: Any, said: str) -> None:
    """Each with what to do, none with what is in the file."""
    save(content)
    message = _refused(google)
    assert said in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("https://oauth2.googleapis.com/token", True),
        ("https://accounts.google.com/o/oauth2/token", True),
        ("https://www.googleapis.com/oauth2/v4/token", True),
        ("http://oauth2.googleapis.com/token", False),
        ("https://oauth2.googleapis.com:8443/token", False),
        ("https://oauth2.googleapis.com.evil.example/token", False),
        ("https://oauth2.googleapis.com@evil.example/token", False),
        ("http://127.0.0.1:9999/token", False),
        ("//evil.example/token", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("name", ["token_uri", "auth_uri"])
@pytest.mark.parametrize("info", [USER, ACCOUNT])
def test_a_file_that_names_another_host_is_refused(
    google: GoogleDriveOptions, save: Save, info: dict[str, str], name: str, address: str, fits: bool
) -> None:
    """The file does not decide where secrets go."""
    save({**info, name: address})
    if fits:
        read_login(google)
    else:
        assert "names another host than Google" in _refused(google)


def test_another_root_is_a_host_of_ours(options_for: OptionsFor, save: Save) -> None:
    """Google's own files go with it too: the operator has set it."""
    options = options_for("http://127.0.0.1:9999")
    for address in ("http://127.0.0.1:9999/token", "https://oauth2.googleapis.com/token"):
        save({**USER, "token_uri": address})
        read_login(options)
    for address in ("http://127.0.0.1:9998/token", "https://127.0.0.1:9999/token"):
        save({**USER, "token_uri": address})
        assert "127.0.0.1:9999 (FOREBAY_GOOGLE_DRIVE_API_ROOT)" in _refused(options)


def test_a_login_is_written_for_its_owner_only(tmp_path: Path) -> None:
    """Also when the umask allows more and the file was open before; the folder is made."""
    path = tmp_path / "deep" / "google-drive.json"
    before = os.umask(0)
    try:
        write_login(path, USER)
        path.chmod(0o644)
        write_login(path, {**USER, "refresh_token": "1//second"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["refresh_token"] == "1//second"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_login_that_can_not_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    path = tmp_path / "google-drive.json"
    write_login(path, USER)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(login_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_login(path, {})
    assert json.loads(path.read_text()) == USER
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_link_to_the_file_stays_a_link(google: GoogleDriveOptions, tmp_path: Path) -> None:
    """Written and removed is what it leads to."""
    target, link = tmp_path / "elsewhere.json", tmp_path / "link.json"
    link.symlink_to(target)
    write_login(link, USER)
    assert link.is_symlink()
    assert read_login(replace(google, credentials=link)).kind is Kind.USER
    remove_login(link)
    remove_login(link)
    assert not target.exists()
