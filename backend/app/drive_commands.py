"""What `forebay-server drive …` does: the talk with the person at the keyboard, and the way through the modules below.

Laws: what went wrong and was foreseen is one line; secrets are never printed; a file that is no login is not overwritten,
and one that the server could not read is not written.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import webbrowser
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from app.core.errors import ForebayError
from app.core.settings import Settings
from app.destinations.google_drive.consent import (
    Client,
    Consent,
    ConsentError,
    Granted,
    NotTheRedirect,
    read_client,
    revoke,
)
from app.destinations.google_drive.credentials import GoogleTokens
from app.destinations.google_drive.cures import cure_for, scope_in_words
from app.destinations.google_drive.destination import GoogleDriveDestination
from app.destinations.google_drive.login_file import (
    Kind,
    Login,
    read_login,
    read_object,
    remove_login,
    stamp_of,
    write_login,
)
from app.destinations.google_drive.loopback import HOST, Loopback, free_port
from app.destinations.google_drive.onboarding import GivenToken, account_of, make_folder
from app.destinations.google_drive.options import SCOPE_ALL, SCOPE_OWN, GoogleDriveOptions
from app.destinations.google_drive.refusals import TESTING_HINT
from app.destinations.google_drive.trial import Step, Trial

__all__ = ["check", "folder", "log_in", "log_out"]

_SCOPES: Final = {"own": SCOPE_OWN, "all": SCOPE_ALL}
_CONSENT_S: Final = 600.0
_MARKS: Final = {"ok": "✓", "note": "!", "wrong": "✗"}
_GUIDE: Final = "docs/google-drive.md"


class _Refused(typer.TyperException):
    """What was asked for can't be done; the message is one line."""


# -- login -----------------------------------------------------------------------------------------------------------


def log_in(settings: Settings, *, client_secrets: Path | None, scope: str | None, use_browser: bool, port: int) -> None:
    """Ask a person for consent and keep the login.

    Args:
        settings: where Google Drive and the login's file are.
        client_secrets: the OAuth client's file; None: the client of the present login.
        scope: what to ask for, `own` or `all`; None: as before, else the least.
        use_browser: whether one may be opened on this machine.
        port: for the browser's way back; 0: one that is free.
    """
    options = GoogleDriveOptions.from_settings(settings)
    if _is_service_account(options):
        return
    _refuse_foreign_folder(options.credentials)
    _refuse_unwritable(options.credentials)
    try:
        before = _login_before(options, needed=client_secrets is None)
        if client_secrets is not None:
            client = read_client(client_secrets, options)
        elif before is not None:
            client = Client.of(before)
        else:
            raise _Refused(
                "the first login needs --client-secrets FILE, the file of an OAuth client of type Desktop app:"
                f" {_GUIDE} says how to get one"
            )
        asked = SCOPE_ALL if before is not None and SCOPE_ALL in before.scopes else SCOPE_OWN
        asked = _SCOPES[scope] if scope else asked
        _say_scope(asked)
        browser = _browser() if use_browser else None
        if browser is not None:
            granted = _by_browser(options, client, asked, port, browser)
        else:
            granted = _by_hand(options, client, asked, port, found_none=use_browser)
    except ConsentError as exc:
        raise _Refused(str(exc)) from exc
    _keep(options, granted)


def _is_service_account(options: GoogleDriveOptions) -> bool:
    """Whether there is nothing to log in to; what is no login is not overwritten."""
    try:
        text = options.credentials.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise _Refused(f"{options.credentials} can't be read: {exc.strerror}") from exc
    found = read_object(text) or {}
    if found.get("type") == Kind.SERVICE_ACCOUNT:
        typer.echo(
            f"{options.credentials} is the key of the service account {found.get('client_email', '')}: there is nothing to"
            " log in to. `forebay-server drive check` tries it. To log in as a person instead, set"
            " FOREBAY_GOOGLE_DRIVE_CREDENTIALS to another file, or to none."
        )
        return True
    if text.strip() and found.get("type") != Kind.USER:
        raise _Refused(
            f"{options.credentials} is there and is no login, so it is not overwritten: move it away, or set"
            " FOREBAY_GOOGLE_DRIVE_CREDENTIALS to the file where the login shall be"
        )
    return False


def _login_before(options: GoogleDriveOptions, *, needed: bool) -> Login | None:
    if stamp_of(options.credentials) is None:
        return None
    try:
        return read_login(options)
    except ForebayError as exc:
        if needed:
            raise _Refused(f"{exc} Do so with --client-secrets FILE") from exc
        return None


def _say_scope(scope: str) -> None:

    typer.echo(f"What is asked for: {scope_in_words((scope,))}.")
    if scope == SCOPE_OWN:
        typer.echo(
            "It can't see any other: a folder that you have made in the browser does not exist for it. The command\n"
            "`forebay-server drive folder NAME` makes one that does. For every file: --scope all."
        )


def _browser() -> webbrowser.BaseBrowser | None:
    """One with windows: those of a terminal can't get through Google's pages."""
    if sys.platform != "darwin" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return None
    try:
        return webbrowser.get()
    except webbrowser.Error:
        return None


def _by_browser(
    options: GoogleDriveOptions, client: Client, scope: str, port: int, browser: webbrowser.BaseBrowser
) -> Granted:

    with Loopback(port) as listener:
        consent = Consent(options, client, scope, listener.redirect_uri)
        listener.expect(consent)
        typer.echo(
            "\nA browser is being opened. If none appears, open this address on this machine (or press Ctrl-C and use"
            f" --no-browser):\n\n{consent.address}\n\nWaiting for your consent …"
        )
        # Some ways to open one return when it is closed.
        threading.Thread(target=browser.open, args=(consent.address,), daemon=True).start()
        code = listener.wait(_CONSENT_S)
    return consent.exchange(code)


def _by_hand(options: GoogleDriveOptions, client: Client, scope: str, port: int, *, found_none: bool) -> Granted:

    redirect_uri = f"http://{HOST}:{port or free_port()}/"
    consent = Consent(options, client, scope, redirect_uri)
    if found_none:
        typer.echo("\nNo browser was found on this machine. Any other will do:")
    typer.echo(
        f"\n1. Open this address in a browser, on any machine:\n\n{consent.address}\n\n"
        "2. Choose the account in which the files shall be, and agree.\n"
        f"3. The browser is then sent to an address that begins with {redirect_uri} and does not load. That is\n"
        "   how it should be: copy that whole address and paste it here.\n"
    )
    while True:
        typer.echo("Address: ", nl=False)
        line = sys.stdin.readline()
        if not line:
            typer.echo()
            raise _Refused("no address was pasted, so nothing was saved")
        try:
            code = consent.code(line)
        except NotTheRedirect as exc:
            typer.echo(f"{exc}")
        else:
            return consent.exchange(code)


def _keep(options: GoogleDriveOptions, granted: Granted) -> None:

    account, doubt = "", ""
    try:
        account = asyncio.run(account_of(options, GivenToken(granted.access_token)))
    except ForebayError as exc:
        doubt = (
            f"Google Drive itself does not answer as it should: {exc} {cure_for(exc, 'login', None, options)}".strip()
        )
    try:
        write_login(options.credentials, {**granted.login, **({"account": account} if account else {})})
    except OSError as exc:
        raise _Refused(f"the login can't be written to {options.credentials}: {exc.strerror}") from exc
    typer.echo(
        f"\nLogged in{f' as {account}' if account else ''}. The login is in {options.credentials}, for its owner only."
    )
    typer.echo("A running server takes it up by itself, within seconds of the next time that it needs it.")
    if granted.ends_at is not None:
        day = datetime.fromtimestamp(granted.ends_at, UTC).strftime("%Y-%m-%d")
        typer.echo(f"Google will end this login on {day}. {TESTING_HINT}")
    if doubt:
        typer.echo(doubt)
    typer.echo("Next: forebay-server drive folder NAME, then forebay-server drive check.")


def _refuse_foreign_folder(path: Path) -> None:
    """A login that root writes into the server's folder is one that the server can't read."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    owner = folder.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise _Refused(
            f"{folder} belongs to user {owner}, as whom the server runs: use sudo -u '#{owner}' forebay-server …"
        )


def _refuse_unwritable(path: Path) -> None:
    """Better said before somebody has gone through Google's pages."""
    folder = path.resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise _Refused(f"the login can't be written to {path}: {exc.strerror}") from exc


# -- logout ----------------------------------------------------------------------------------------------------------


def log_out(settings: Settings, *, tell_google: bool) -> None:
    """Give the login back and remove its file."""
    options = GoogleDriveOptions.from_settings(settings)
    _refuse_foreign_folder(options.credentials)
    login = read_login(options)
    if login.kind is Kind.SERVICE_ACCOUNT:
        raise _Refused(
            f"{options.credentials} is the key of the service account {login.who}: delete the key in the Google Cloud"
            " console (IAM & Admin, Service Accounts, Keys), and the file yourself"
        )
    try:
        known = not tell_google or revoke(login, options)
    except ConsentError as exc:
        raise _Refused(f"{exc}; nothing was removed. --local removes the file without telling Google") from exc
    try:
        remove_login(options.credentials)
    except OSError as exc:
        raise _Refused(f"{options.credentials} can't be removed: {exc.strerror}") from exc
    if tell_google:
        typer.echo("Logged out, here and at Google." if known else "Logged out. (Google had ended this login before.)")
    else:
        typer.echo(
            f"{options.credentials} is removed. At Google the login is still good:"
            " end it at https://myaccount.google.com/connections"
        )


# -- folder ----------------------------------------------------------------------------------------------------------


def folder(settings: Settings, name: str, inside: str) -> None:
    """Make a folder, or find the one made before, and print it as a destination.

    Args:
        settings: where Google Drive and the login's file are.
        name: or a path, with slashes.
        inside: the id of the folder or shared drive that it is in; "" is My Drive.
    """
    options = GoogleDriveOptions.from_settings(settings)
    login = read_login(options)
    inside = inside.removeprefix("gdrive:")
    if login.kind is Kind.SERVICE_ACCOUNT and not options.subject and not inside:
        raise _Refused(
            f"a service account owns no storage: add {login.who} to a shared drive, and name that, or a folder in it,"
            " with --in ID"
        )

    async def work() -> str:
        tokens = GoogleTokens(options)
        try:
            return await make_folder(options, tokens, name, inside)
        finally:
            await tokens.aclose()

    try:
        made = asyncio.run(work())
    except ForebayError as exc:
        cure = cure_for(exc, "folder" if inside else "login", login, options)
        raise _Refused(f"{exc} {cure}".strip()) from exc
    typer.echo(f"The folder is at Google Drive. In .env: FOREBAY_DESTINATION=gdrive:{made}", err=True)
    typer.echo(f"gdrive:{made}")


# -- check -----------------------------------------------------------------------------------------------------------


def check(settings: Settings, name: str | None) -> bool:
    """Try destinations at Google Drive; whether all is well.

    Args:
        settings: where they are.
        name: of one of them; None: all.
    """
    chosen = _at_google_drive(settings, name)
    well = [asyncio.run(_try(settings, each, url, alone=len(chosen) == 1)) for each, url in chosen.items()]
    return all(well)


def _at_google_drive(settings: Settings, name: str | None) -> dict[str, str]:
    urls = settings.destination_urls
    there = {each: url for each, url in urls.items() if url.lower().startswith("gdrive:")}
    if name is None:
        if not there:
            raise _Refused(
                f"no destination is at Google Drive: FOREBAY_DESTINATION is {urls['default']}; set it to gdrive:ID, where"
                " `forebay-server drive folder NAME` gives you the ID"
            )
        return there
    if name not in urls:
        raise _Refused(f"there is no destination {name!r}; there are {', '.join(sorted(urls))}")
    if name not in there:
        raise _Refused(f"the destination {name!r} is {urls[name]}, not at Google Drive")
    return {name: there[name]}


async def _try(settings: Settings, name: str, url: str, *, alone: bool) -> bool:
    if not alone:
        typer.echo(f"{name} ({url})")
    well = True
    folder_id = url.partition(":")[2].strip()
    with tempfile.TemporaryDirectory(prefix="forebay-") as directory:
        options = replace(
            GoogleDriveOptions.from_settings(settings), key_file=Path(directory) / "key"
        )  # the server's own is not ours to make
        tokens = GoogleTokens(options)
        trial = Trial(lambda: GoogleDriveDestination(folder_id, options=options, tokens=tokens), options, tokens)
        try:
            async for step in trial.steps():
                _show(step)
                well = well and step.verdict != "wrong"
        finally:
            await tokens.aclose()
    return well


def _show(step: Step) -> None:
    width = len("access token")
    typer.echo(f"{_MARKS[step.verdict]} {step.subject:{width}}  {step.text}")
    if step.cure:
        typer.echo(f"  {'':{width}}  -> {step.cure}")
