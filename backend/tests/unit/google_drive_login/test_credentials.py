"""Access tokens, with google-auth against the emulator: when they are fetched, and what is said when there are none."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from app.core.errors import DestinationLoginLost, DestinationRefused, DestinationUnavailable
from app.destinations.google_drive import credentials
from app.destinations.google_drive.credentials import GoogleTokens
from app.destinations.google_drive.options import SCOPE_ALL, SCOPE_OWN, GoogleDriveOptions
from app.testing.drive_emulator import DriveEmulator, Kind, Options, Rule, Stall, Status

Save = Callable[[object], None]
Quiet = Callable[..., None]
OptionsFor = Callable[..., GoogleDriveOptions]


@pytest.fixture
async def tokens(options: GoogleDriveOptions) -> AsyncIterator[GoogleTokens]:
    """Of the emulator."""
    made = GoogleTokens(options)
    yield made
    await made.aclose()


@pytest.fixture
def always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at for each token."""
    monkeypatch.setattr(credentials, "_LOOK_AGAIN_S", 0.0)


async def _status(drive: DriveEmulator, token: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{drive.root}/drive/v3/about?fields=user", headers={"Authorization": f"Bearer {token}"}
        ) as response,
    ):
        return response.status


def _fetched(drive: DriveEmulator) -> int:
    return len(drive.events.of(Kind.TOKEN, status=200))


async def test_a_login_gives_a_token_that_is_kept(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, quiet: Quiet
) -> None:
    """One refresh for many uses; nothing secret in a repr or in the logs of any library at level debug."""
    info = drive.authorized_user([SCOPE_OWN])
    save(info)
    token = await tokens.token()
    assert await _status(drive, token) == 200
    assert [await tokens.token() for _ in range(3)] == [token] * 3
    assert _fetched(drive) == 1
    shown = f"{tokens!r} {tokens._held!r} {tokens._desk!r} {tokens._desk._login!r} {tokens._desk.__dict__}"
    for secret in (token, info["refresh_token"], info["client_secret"]):
        assert str(secret) not in shown
    quiet(token, info["refresh_token"], info["client_secret"])


async def test_many_who_wait_share_one_refresh(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """However many they are."""
    drive.set_latency(0.1)
    save(drive.authorized_user())
    got = await asyncio.gather(*(tokens.token() for _ in range(50)))
    assert len(set(got)) == 1
    assert _fetched(drive) == 1


async def test_one_who_leaves_does_not_end_the_refresh(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """The others get their token; nobody at all is no problem either."""
    drive.set_latency(0.5)
    save(drive.authorized_user())
    first, second = (asyncio.create_task(tokens.token()) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await _status(drive, await second) == 200
    assert first.cancelled()
    drive.revoke_tokens()
    left = asyncio.create_task(tokens.token(refused=second.result()))
    await asyncio.sleep(0.05)
    left.cancel()
    with pytest.raises(DestinationLoginLost):
        await tokens.token()


async def test_a_refused_token_is_replaced_once(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """Whoever comes late with the same complaint gets the new one."""
    save(drive.authorized_user())
    old = await tokens.token()
    drive.expire_access_tokens()
    new = await tokens.token(refused=old)
    assert new != old
    assert await _status(drive, new) == 200
    assert await tokens.token(refused=old) == new
    assert await asyncio.gather(*(tokens.token(refused=old) for _ in range(5))) == [new] * 5
    assert _fetched(drive) == 2


async def test_a_token_that_was_refused_while_another_was_fetched(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save
) -> None:
    """The one under way may be the refused one: then one more is fetched."""
    save(drive.authorized_user())
    held = await tokens.token()
    tokens._held = None
    joined, complaint = await asyncio.gather(tokens.token(), tokens.token(refused=held))
    assert joined == held
    assert complaint != held


async def test_a_token_is_renewed_before_it_ends(options: GoogleDriveOptions, save: Save) -> None:
    """A fifth of a short life before; of Google's hour, five minutes."""
    async with DriveEmulator(Options(token_lifetime_s=2.0)) as drive:
        short = GoogleTokens(replace(options, api_root=drive.root))
        save(drive.authorized_user())
        first = await short.token()
        held = short._desk._held
        assert held is not None
        assert held.ends_at - held.renew_at == pytest.approx(0.2, abs=0.05)
        await asyncio.sleep(max(0.0, held.renew_at - time.monotonic()) + 0.01)
        second = await short.token()
        assert second != first
        await short.aclose()


async def test_an_hour_is_renewed_five_minutes_early(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """Long enough for a request on its way."""
    save(drive.authorized_user())
    await tokens.token()
    held = tokens._desk._held
    assert held is not None
    assert held.ends_at - held.renew_at == pytest.approx(300)
    assert held.ends_at - time.monotonic() == pytest.approx(3600, abs=5)


async def test_a_good_token_is_used_while_google_does_not_answer(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, always_look: None
) -> None:
    """To be renewed is not to be worthless; at its end it is."""
    save(drive.authorized_user())
    token = await tokens.token()
    drive.script([Rule("token", Status(503))])
    held = tokens._desk._held
    assert held is not None
    tokens._desk._held = replace(held, renew_at=time.monotonic())
    assert await tokens.token() == token
    assert await tokens.token() == token
    assert drive.requests["token"] == 2  # and is not asked for at each use
    with pytest.raises(DestinationUnavailable, match="503"):
        await tokens.token(refused=token)
    tokens._desk._held = replace(held, renew_at=time.monotonic(), ends_at=time.monotonic() + 1)
    with pytest.raises(DestinationUnavailable, match="What was received is kept"):
        await tokens.token()


# -- the file --------------------------------------------------------------------------------------------------------


async def test_without_a_file_it_says_how_to_log_in(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, always_look: None
) -> None:
    """As soon as somebody does, it goes on; when the file goes, it ends."""
    with pytest.raises(DestinationLoginLost, match="run `forebay-server drive login`"):
        await tokens.token()
    save(drive.authorized_user())
    token = await tokens.token()
    assert await _status(drive, token) == 200
    tokens._desk._options.credentials.unlink()
    with pytest.raises(DestinationLoginLost, match="no login"):
        await tokens.token()


async def test_a_new_login_is_taken_up_without_a_restart(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save
) -> None:
    """After a lost one at once; with a good token within a second or so."""
    save(drive.authorized_user())
    token = await tokens.token()
    drive.revoke_tokens()
    with pytest.raises(DestinationLoginLost):
        await tokens.token(refused=token)
    save(drive.authorized_user())
    token = await tokens.token()
    assert await _status(drive, token) == 200
    save(drive.authorized_user([SCOPE_OWN]))
    assert tokens._held is not None
    assert tokens._held.look_at - time.monotonic() <= 1.0
    tokens._held = replace(tokens._held, look_at=time.monotonic() + 60)
    assert await tokens.token() == token
    tokens._held = replace(tokens._held, look_at=time.monotonic())
    assert await tokens.token() != token


async def test_a_login_made_while_the_old_one_is_refused_is_taken_up(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save
) -> None:
    """Nobody is told of a loss that is over."""
    save(drive.authorized_user())
    token = await tokens.token()
    drive.revoke_tokens()
    drive.script([Rule("token", Stall(0.5), times=1)])
    asked = asyncio.create_task(tokens.token(refused=token))
    await drive.wait_for(lambda event: event.kind is Kind.FAULT)
    save(drive.authorized_user())
    assert await _status(drive, await asked) == 200


async def test_a_file_edited_in_place_is_read_again(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, always_look: None
) -> None:
    """The same inode with other bytes; what is damaged is said, and over when it is mended."""
    save(drive.authorized_user())
    token = await tokens.token()
    path = tokens._desk._options.credentials
    path.write_text("{")
    with pytest.raises(DestinationLoginLost, match="damaged"):
        await tokens.token()
    path.write_text(json.dumps(drive.authorized_user()))
    assert await tokens.token() != token


# -- what Google says --------------------------------------------------------------------------------------------------


async def test_a_lost_login_says_log_in_again_and_why_it_may_be(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, quiet: Quiet
) -> None:
    """The words that uploads are parked with; no secret among them or behind them."""
    info = drive.authorized_user()
    save(info)
    drive.revoke_tokens()
    with pytest.raises(DestinationLoginLost) as lost:
        await tokens.token()
    said = str(lost.value)
    assert "Token has been expired or revoked" in said
    assert "Log in again with `forebay-server drive login`" in said
    assert '"Testing" loses its logins after 7 days' in said
    assert lost.value.__cause__ is None
    assert lost.value.__suppress_context__
    for secret in (info["refresh_token"], info["client_secret"]):
        assert str(secret) not in said
    quiet(info["refresh_token"], info["client_secret"])


async def test_a_client_that_is_gone_asks_for_its_file(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """Another secret than Google knows."""
    save({**drive.authorized_user(), "client_secret": "GOCSPX-old"})
    with pytest.raises(DestinationLoginLost, match="--client-secrets FILE") as lost:
        await tokens.token()
    assert "GOCSPX" not in str(lost.value)


async def test_a_scope_that_was_not_granted_is_named(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """What is asked for is what the file says."""
    save({**drive.authorized_user([SCOPE_OWN]), "scopes": [SCOPE_ALL]})
    with pytest.raises(DestinationLoginLost, match="granted less"):
        await tokens.token()


async def test_a_login_without_scopes_gets_what_it_was_granted(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save
) -> None:
    """As other tools write it."""
    save({name: value for name, value in drive.authorized_user([SCOPE_OWN]).items() if name != "scopes"})
    assert await _status(drive, await tokens.token()) == 200


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_token_endpoint_in_trouble_is_unavailable(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, status: int
) -> None:
    """At once: whether to try again is not decided here."""
    save(drive.authorized_user())
    drive.script([Rule("token", Status(status))])
    with pytest.raises(DestinationUnavailable, match=str(status)) as failed:
        await tokens.token()
    assert type(failed.value) is DestinationUnavailable
    assert drive.requests["token"] == 1
    drive.script([])
    assert await _status(drive, await tokens.token()) == 200


async def test_no_connection_is_unavailable(options: GoogleDriveOptions, save: Save) -> None:
    """Nothing listens there, and no address is shown."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    root = f"http://127.0.0.1:{port}"
    save({"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "1//refresh"})
    unreachable = GoogleTokens(replace(options, api_root=root))
    with pytest.raises(DestinationUnavailable, match="no connection") as failed:
        await unreachable.token()
    assert type(failed.value) is DestinationUnavailable
    assert "1//refresh" not in str(failed.value)
    await unreachable.aclose()


async def test_silence_is_unavailable(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a limit to waiting."""
    monkeypatch.setattr(credentials, "LIMITS_S", (1.0, 0.2))
    save(drive.authorized_user())
    drive.script([Rule("token", Stall(2.0, then="cut"), times=1)])
    with pytest.raises(DestinationUnavailable, match="no answer in time"):
        await tokens.token()


async def test_the_system_decides_which_certificates_are_trusted(
    options: GoogleDriveOptions, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for everything else that the server asks of Google Drive; an unknown authority is said."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    async with DriveEmulator(Options(tls=(tmp_path / "cert.pem", tmp_path / "key.pem"))) as drive:
        save(drive.authorized_user())
        tokens = GoogleTokens(replace(options, api_root=drive.root))
        with pytest.raises(DestinationUnavailable, match="certificate is not accepted"):
            await tokens.token()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert await tokens.token()
        await tokens.aclose()


async def _serve(handler: Callable[[web.Request], Any]) -> tuple[web.AppRunner, str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>sign in to the hotel's network</html>"),
        (200, "[]"),
        (200, '{"expires_in": 3599}'),
        (200, '{"access_token": 7}'),
        (404, "not found"),
        (403, '{"error": {"code": 403}}'),
        (302, ""),
    ],
)
async def test_something_else_in_the_place_of_the_endpoint(
    options: GoogleDriveOptions, save: Save, status: int, body: str
) -> None:
    """Captive portals, wrong roots, proxies; what they send is not quoted, and nobody is followed elsewhere."""
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"} if status == 302 else {})

    runner, root = await _serve(answer)
    save({"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "1//refresh"})
    elsewhere = GoogleTokens(replace(options, api_root=root))
    with pytest.raises(DestinationRefused, match="FOREBAY_GOOGLE_DRIVE_API_ROOT") as refused:
        await elsewhere.token()
    assert body[:9] not in str(refused.value) or not body
    assert asked == ["/token"]
    await elsewhere.aclose()
    await runner.cleanup()


async def test_an_answer_that_repeats_our_secret_is_not_quoted(options: GoogleDriveOptions, save: Save) -> None:
    """Whatever stands there."""

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        said = {"error": "invalid_grant", "error_description": f"no such token: {form['refresh_token']}"}
        return web.json_response(said, status=400)

    runner, root = await _serve(answer)
    save({"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "1//refresh"})
    echoing = GoogleTokens(replace(options, api_root=root))
    with pytest.raises(DestinationLoginLost, match=r"\(invalid_grant\)") as lost:
        await echoing.token()
    assert "1//refresh" not in str(lost.value)
    await echoing.aclose()
    await runner.cleanup()


async def test_secrets_go_to_the_settings_endpoint_whatever_the_file_says(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save
) -> None:
    """Google's own address in the file, our root in the settings: only ours is asked."""
    for info in (drive.authorized_user(), drive.service_account()):
        before = drive.requests.get("token", 0)
        save({**info, "token_uri": "https://oauth2.googleapis.com/token"})
        tokens._held = None
        assert await _status(drive, await tokens.token()) == 200
        assert drive.requests["token"] == before + 1


# -- service accounts -------------------------------------------------------------------------------------------------


async def test_a_service_account_signs_for_its_token(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, quiet: Quiet
) -> None:
    """With everything that is shared with it."""
    info = drive.service_account()
    save(info)
    token = await tokens.token()
    assert await _status(drive, token) == 200
    quiet(token, str(info["private_key"])[100:140])


async def test_a_service_account_acts_for_somebody(
    drive: DriveEmulator, options: GoogleDriveOptions, save: Save
) -> None:
    """The subject is in what it signs."""
    save(drive.service_account())
    for_ann = GoogleTokens(replace(options, subject="ann@example.org"))
    token = await for_ann.token()
    assert drive.world.tokens.caller(f"Bearer {token}").email == "ann@example.org"
    await for_ann.aclose()


async def test_a_key_that_is_none_is_said(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """Without quoting it."""
    save({**drive.service_account(), "private_key": "-----BEGIN PRIVATE KEY-----\nnonsense\n"})
    with pytest.raises(DestinationLoginLost, match="private key can't be read") as lost:
        await tokens.token()
    assert "nonsense" not in f"{lost.value} {lost.value.__cause__}"


async def test_a_key_that_was_replaced_is_said(drive: DriveEmulator, tokens: GoogleTokens, save: Save) -> None:
    """Google knows the account by another key."""
    old = drive.service_account()
    drive.service_account()
    save(old)
    with pytest.raises(DestinationLoginLost, match="deleted or disabled: log in again with a new key file"):
        await tokens.token()


async def test_a_wrong_clock_is_said(
    drive: DriveEmulator, tokens: GoogleTokens, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By how much, from the answer's date."""
    save(drive.service_account())
    ahead = SimpleNamespace(time=lambda: time.time() + 2 * 86_400, monotonic=time.monotonic)
    monkeypatch.setattr(credentials, "time", ahead)
    drive.world.tokens._accounts.clear()
    with pytest.raises(DestinationLoginLost, match=r"clock is 2 days ahead of Google's.* set it"):
        await tokens.token()
    assert tokens.clock_ahead_s == pytest.approx(2 * 86_400, abs=3)


async def test_closing_waits_for_the_refresh_under_way(
    drive: DriveEmulator, options: GoogleDriveOptions, save: Save
) -> None:
    """And is possible when nothing was ever asked."""
    await GoogleTokens(options).aclose()
    drive.set_latency(0.2)
    save(drive.authorized_user())
    closing = GoogleTokens(options)
    asked = asyncio.create_task(closing.token())
    await asyncio.sleep(0.05)
    await closing.aclose()
    assert await _status(drive, await asked) == 200
