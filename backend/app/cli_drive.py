"""`forebay-server drive login | folder | check | logout`: from an empty Google project to the first upload.

Laws: a command reads the settings as every other one does; what only one command needs is imported by it; what scripts
want (the folder's `gdrive:ID`) stands alone on standard output.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.core.settings import load_settings

__all__ = ["drive_app"]

drive_app = typer.Typer(
    help="Google Drive: login, a folder for files, a trial.", no_args_is_help=True, rich_markup_mode=None
)


class Scope(StrEnum):
    """What a login asks for."""

    OWN = "own"
    ALL = "all"


@drive_app.command("login")
def login(
    *,
    client_secrets: Annotated[
        Path | None,
        typer.Option("--client-secrets", metavar="FILE", help="Of the OAuth client; the present login's when absent."),
    ] = None,
    no_browser: Annotated[
        bool,
        typer.Option("--no-browser", help="Print the address, for a browser on any machine, and ask for the answer."),
    ] = False,
    scope: Annotated[
        Scope | None,
        typer.Option("--scope", help="own: files that Forebay makes; all: every file. As before, or own, when absent."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="For the browser's way back; 0: one that is free.")
    ] = 0,
) -> None:
    """Log in to Google Drive as a person, in a browser."""
    from app.drive_commands import log_in  # noqa: PLC0415 - Google's libraries, for these commands only

    settings = load_settings()
    log_in(settings, client_secrets=client_secrets, scope=scope, use_browser=not no_browser, port=port)


@drive_app.command("folder")
def folder(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, or a path such as Forebay/2026.")],
    *,
    inside: Annotated[
        str,
        typer.Option("--in", metavar="ID", help="Of the folder or shared drive it shall be in; My Drive when absent."),
    ] = "",
) -> None:
    """Make a folder for files (or find the one made before) and print it as a destination: gdrive:ID."""
    from app import drive_commands  # noqa: PLC0415 - as above

    if not name.strip("/"):
        raise typer.BadParameter("a folder needs a name")
    drive_commands.folder(load_settings(), name, inside)


@drive_app.command("check")
def check(
    *,
    destination: Annotated[
        str | None,
        typer.Option("--destination", metavar="NAME", help="Of FOREBAY_DESTINATIONS; all at Google Drive when absent."),
    ] = None,
) -> None:
    """Send a small file there, broken off and resumed, read it back and delete it; exit code 1 when something is wrong."""
    from app import drive_commands  # noqa: PLC0415 - as above

    raise typer.Exit(0 if drive_commands.check(load_settings(), destination) else 1)


@drive_app.command("logout")
def logout(
    *,
    local: Annotated[bool, typer.Option("--local", help="Only remove the file, without telling Google.")] = False,
) -> None:
    """Give the login back to Google and remove its file."""
    from app.drive_commands import log_out  # noqa: PLC0415 - as above

    log_out(load_settings(), tell_google=not local)
