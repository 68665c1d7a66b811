"""What Google's token endpoint says when it gives no token, and what is to be done about it. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from app.core.errors import DestinationLoginLost, DestinationRefused, DestinationUnavailable
from app.destinations.google_drive.login_file import Kind, Login

__all__ = ["TESTING_HINT", "Refusal", "refusal_error"]

TESTING_HINT: Final = (
    'An OAuth app whose publishing status at Google is "Testing" loses its logins after 7 days:'
    " publish it (docs/google-drive.md), then log in again."
)
_PASSING: Final = frozenset({"internal_failure", "server_error", "temporarily_unavailable", "rate_limit_exceeded"})
_CLOCK_WORDS: Final = ("reasonable timeframe", "short-lived")
_CLOCK_S: Final = 60.0
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer without a token; empty where it said nothing that RFC 6749 section 5.2 knows."""

    status: int | None
    code: str = ""
    description: str = ""

    @property
    def said(self) -> str:
        """Its words, for a message."""
        text = f"{self.code}: {self.description}" if self.description else self.code
        return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST].rstrip(". ")


def refusal_error(login: Login, refusal: Refusal, clock_ahead_s: float | None) -> DestinationUnavailable:
    """The error for it.

    Args:
        login: whose token was asked for.
        refusal: what was answered.
        clock_ahead_s: how far this machine's clock is ahead of Google's, when that is known.
    """
    status = refusal.status
    if refusal.code in _PASSING or status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _passing(refusal)
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}:
        return _passing(refusal)
    if not refusal.code:
        return DestinationRefused(
            f"Where access tokens should come from, something else answered (status {status}):"
            " see FOREBAY_GOOGLE_DRIVE_API_ROOT, and whether a proxy is in between."
        )
    cure = _for_account(login, refusal, clock_ahead_s) if login.kind is Kind.SERVICE_ACCOUNT else _for_user(refusal)
    return DestinationLoginLost(f"Google does not accept the server's login any more ({refusal.said}). {cure}")


def _passing(refusal: Refusal) -> DestinationUnavailable:
    said = f" ({refusal.said})" if refusal.code else f" (status {refusal.status})" if refusal.status else ""
    return DestinationUnavailable(f"Google gives no access tokens now{said}. What was received is kept.")


def _for_user(refusal: Refusal) -> str:
    again = "log in again with `forebay-server drive login`"
    match refusal.code:
        case "invalid_client" | "deleted_client" | "disabled_client" | "unauthorized_client":
            return (
                "The OAuth client was deleted or its secret changed: download its file anew (or make a new client),"
                f" then {again} `--client-secrets FILE`."
            )
        case "invalid_scope":
            return f"The login was granted less than it asks for: {again}."
        case "invalid_grant":
            return f"{again[0].upper()}{again[1:]}. {TESTING_HINT}"
        case _:
            return f"{again[0].upper()}{again[1:]}; when that does not help, ask your Google Workspace administrator."


def _for_account(login: Login, refusal: Refusal, clock_ahead_s: float | None) -> str:
    words = refusal.description.lower()
    if clock_ahead_s is not None and abs(clock_ahead_s) > _CLOCK_S:
        way = "ahead of" if clock_ahead_s > 0 else "behind"
        return (
            f"This machine's clock is {_duration(abs(clock_ahead_s))} {way} Google's, and a service account signs with"
            " the time: set it (timedatectl set-ntp true)."
        )
    if any(word in words for word in _CLOCK_WORDS):
        return "A service account signs with the time: see that this machine's clock is right."
    if refusal.code == "unauthorized_client":
        return (
            f"{login.who} is not allowed to act for the user in FOREBAY_GOOGLE_DRIVE_SUBJECT: allow its client id the"
            " scope https://www.googleapis.com/auth/drive under domain-wide delegation in the Workspace Admin console."
        )
    if "signature" in words:
        return f"The key of {login.who} was deleted or disabled: log in again with a new key file of the account."
    if "email" in words or "user id" in words:
        return "See FOREBAY_GOOGLE_DRIVE_SUBJECT: it must be the address of a user of your Workspace."
    return f"See in the Google Cloud console whether {login.who} still exists, or log in again with a new key file."


def _duration(seconds: float) -> str:
    for unit_s, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} seconds"
