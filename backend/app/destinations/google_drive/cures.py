"""What an operator can do about an error of Google Drive's, beyond what its message says: for whom, and where."""

from __future__ import annotations

from typing import Final

from app.core.errors import (
    DestinationLoginLost,
    DestinationMismatch,
    DestinationQuotaReached,
    DestinationRefused,
    DestinationUnavailable,
    ForebayError,
)
from app.destinations.google_drive.faults import NO_STORAGE
from app.destinations.google_drive.login_file import Kind, Login
from app.destinations.google_drive.options import SCOPE_ALL, SCOPE_OWN, GoogleDriveOptions
from app.destinations.google_drive.refusals import TESTING_HINT

__all__ = ["cure_for", "scope_in_words"]

_ENABLE: Final = (
    "https://console.cloud.google.com/apis/library/drive.googleapis.com (in the project of the login's OAuth client or"
    " service account), then wait some minutes"
)


def scope_in_words(scopes: tuple[str, ...]) -> str:
    """What a login may see, for people."""
    if SCOPE_ALL in scopes:
        return "scope drive: every file of the account"
    if SCOPE_OWN in scopes:
        return "scope drive.file: only files and folders that Forebay has made with this OAuth client"
    return "no scope that is known here" if scopes else "whatever scope was granted"


def cure_for(exc: ForebayError, subject: str, login: Login | None, options: GoogleDriveOptions) -> str:
    """One line, "" where the message says it all.

    Args:
        exc: what went wrong.
        subject: while what was being looked at; "folder" is the destination's own.
        login: whose login it was with, if there is one.
        options: where Google Drive is.
    """
    cure = ""
    match exc:
        case DestinationLoginLost():
            if login is not None and login.kind is Kind.USER and TESTING_HINT not in str(exc):
                cure = TESTING_HINT
        case DestinationQuotaReached():
            cure = "nothing is to be done: uploads wait and go on by themselves"
        case DestinationMismatch():
            cure = "try again; if it comes again, something between here and Google alters what is sent"
        case DestinationRefused() if "API is not enabled" in str(exc):
            cure = _ENABLE
        case DestinationRefused() if subject == "folder" and login is not None and NO_STORAGE not in str(exc):
            cure = _folder(login, options.subject)
        case DestinationUnavailable() if type(exc) is DestinationUnavailable and options.is_google:
            cure = "try again in some minutes; how Google is: https://www.google.com/appsstatus/dashboard/"
    return cure


def _folder(login: Login, subject: str | None) -> str:
    if login.kind is Kind.SERVICE_ACCOUNT:
        who = subject or login.who
        return f"share the folder with {who} as editor, or make it a content manager of the shared drive"
    if SCOPE_ALL in login.scopes:
        return (
            f"the id is the last part of the folder's address in a browser; {login.who or 'the login'} must be editor"
        )
    return "`forebay-server drive folder NAME` makes one that the login sees, and prints its id"
