"""What Google Drive refuses, in our words, by the reasons that it gives.

Laws: what says nothing about who has to do something is `DestinationUnavailable`: it passes, and the caller tries again.
Google's own sentences go into no message of ours (clients read those), nor does anything of an exception of aiohttp, whose
texts carry addresses and among them session URIs. Sans-IO.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from app.core.errors import (
    DestinationFull,
    DestinationLoginLost,
    DestinationQuotaReached,
    DestinationRefused,
    DestinationRefusedUpload,
    DestinationUnavailable,
    FileTooLarge,
    ForebayError,
)

__all__ = ["NO_STORAGE", "Refusal", "error_for", "of_a_download", "refusal_in", "says_why", "unreachable"]

_KEPT: Final = "What was received is kept."
_GO_ON: Final = "Uploads go on when it is back."
_ABOUT_UPLOADS: Final = re.compile(rf" What was received is kept(?:\.|, [^.]*\.)(?: {re.escape(_GO_ON)})?")
_LONGEST_WAIT_S: Final = 3600
_A_WORD: Final = re.compile(r"[A-Za-z_]{1,60}")
_DAILY_SENTENCE: Final = (
    "User rate limit exceeded."  # to the letter, for 750 GB a day and, alas, for momentary limits too
)

NO_STORAGE: Final = (
    "A service account owns no storage at Google Drive. Give it a folder in a shared drive, let it act for a user"
    f" (FOREBAY_GOOGLE_DRIVE_SUBJECT), or log in as a person: forebay-server drive login. {_KEPT}"
)
_FULL: Final = {
    "storageQuotaExceeded": "Google Drive has no storage left. Make room there (the trash counts as well) or buy more.",
    "teamDriveFileLimitExceeded": "The shared drive holds as many items as it may. Remove some there (the trash counts as well).",
    "activeItemCreationLimitExceeded": "This Google account holds as many items as it may. Remove some there.",
}
_DAILY: Final = {
    "dailyLimitExceeded": "The Google project's daily limit of requests is used up.",
    "dailyLimitExceededUnreg": "The Google project's daily limit of requests is used up.",
    "quotaExceeded": "Google Drive's quota for this account is used up for now.",
    "uploadLimitExceeded": "Google Drive takes no more from this account today.",
}
_PASSING: Final = frozenset({
    "rateLimitExceeded", "userRateLimitExceeded", "sharingRateLimitExceeded", "concurrentLimitExceeded", "backendError",
    "internalError", "transientError", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "ABORTED",
})  # fmt: skip
_LOGIN: Final = frozenset({"authError", "invalid_grant", "invalidCredentials", "expired", "UNAUTHENTICATED"})
_REFUSED: Final = {
    "accessNotConfigured": "The Google Drive API is not enabled for the server's Google project. Enable it there.",
    "SERVICE_DISABLED": "The Google Drive API is not enabled for the server's Google project. Enable it there.",
    "insufficientPermissions": "The login's scope does not allow this. Log in again: forebay-server drive login",
    "insufficientScopes": "The login's scope does not allow this. Log in again: forebay-server drive login",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "The login's scope does not allow this. Log in again: forebay-server drive login",
    "appNotAuthorizedToFile": (
        "With the scope drive.file the server may touch only what it has created itself. Leave the folder's id out of the"
        " destination, or log in with access to all files."
    ),
    "insufficientFilePermissions": "The login may not do this there. Make it an editor of the folder, or a content manager of the shared drive.",
    "insufficientParentPermissions": (
        "The login may not add files to the folder. Make it an editor of the folder, or a content manager of the shared"
        " drive."
    ),
    "teamDriveMembershipRequired": "The login is no member of the shared drive. Add it there.",
    "domainPolicy": "Your organisation does not allow this app to use Google Drive. Its administrator can.",
    "notFound": "The folder is not there for this login: it was removed, or is not shared with it.",
    "parentNotAFolder": "What the destination names is no folder.",
    "cannotDownloadAbusiveFile": "Google Drive holds the file back as malware or spam.",
    "downloadQuotaExceeded": "The file was downloaded too often. Google Drive serves it again within 24 hours.",
}

_ONE_FILE: Final = {
    "teamDriveHierarchyTooDeep": "Folders are nested too deeply there. Use another folder.",
    "myDriveHierarchyDepthLimitExceeded": "Folders are nested too deeply there. Use another folder.",
    "numChildrenInNonRootLimitExceeded": "The folder at Google Drive holds as many items as it may. Use another folder.",
}
"""What concerns one file or folder and no other."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error."""

    status: int
    reasons: tuple[str, ...] = ()
    message: str = field(default="", repr=False)
    retry_after_s: int | None = None

    @property
    def may_be_daily_limit(self) -> bool:
        """Whether it is what Google says to an account that has uploaded 750 GB, and to one that was quick for a moment."""
        return "userRateLimitExceeded" in self.reasons and self.message == _DAILY_SENTENCE


def refusal_in(status: int, headers: Mapping[str, str], body: bytes) -> Refusal | None:
    """The refusal that an answer is; an error object is one whatever the status says. None where all is well."""
    error = _error_in(body)
    if status < HTTPStatus.BAD_REQUEST and error is None:
        return None
    said = error if isinstance(error, dict) else {}
    code, message = said.get("code"), said.get("message")
    if status < HTTPStatus.BAD_REQUEST:  # a 200 that carries an error
        status = code if isinstance(code, int) and code >= HTTPStatus.BAD_REQUEST else HTTPStatus.BAD_GATEWAY
    reasons = (error,) if isinstance(error, str) else _reasons(said)
    return Refusal(
        status,
        tuple(each for each in reasons if _A_WORD.fullmatch(each)),
        message if isinstance(message, str) else "",
        _retry_after_s(headers.get("Retry-After")),
    )


def says_why(refusal: Refusal) -> bool:
    """Whether it gives a reason that is known here."""
    return any(_by_reason(reason, refusal) is not None for reason in refusal.reasons)


def error_for(refusal: Refusal) -> ForebayError:
    """What is raised for it: the first reason that says something decides, else the status."""
    for reason in refusal.reasons:
        if (error := _by_reason(reason, refusal)) is not None:
            return error
    if _passes(refusal.status):
        return _busy(refusal)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        return _login_lost()
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return FileTooLarge("The file is larger than Google Drive takes.")
    return DestinationRefusedUpload(f"Google Drive refuses ({_label(refusal)}). {_KEPT}")


def _by_reason(reason: str, refusal: Refusal) -> ForebayError | None:  # noqa: PLR0911 - one for each kind
    if reason in _PASSING:
        return _busy(refusal)
    if reason in _ONE_FILE:
        return DestinationRefusedUpload(f"Google Drive refuses: {_ONE_FILE[reason]} {_KEPT}")
    if reason in _FULL:
        no_storage = reason == "storageQuotaExceeded" and refusal.message.startswith("Service Accounts")
        return DestinationFull(NO_STORAGE if no_storage else f"{_FULL[reason]} {_KEPT}")
    if reason in _DAILY:
        sentence = f"{_DAILY[reason]} {_KEPT} {_GO_ON}"
        return DestinationQuotaReached(sentence, retry_after_s=refusal.retry_after_s)
    if reason in _LOGIN:
        return _login_lost()
    if reason in _REFUSED:
        return DestinationRefused(f"Google Drive refuses: {_REFUSED[reason]} {_KEPT}")
    return None


def _busy(refusal: Refusal) -> DestinationUnavailable:
    return DestinationUnavailable(
        f"Google Drive is busy ({_label(refusal)}). {_KEPT}", retry_after_s=refusal.retry_after_s
    )


def _login_lost() -> DestinationLoginLost:
    return DestinationLoginLost(
        f"Google Drive does not accept the server's login any more. Log in again: forebay-server drive login. {_KEPT}"
    )


def unreachable(exc: BaseException) -> DestinationUnavailable:
    """For what came instead of an answer. Raise it outside of the `except`: nothing is chained to it, see above."""
    number = getattr(exc, "errno", None)
    kind = type(exc).__name__ if not isinstance(number, int) else f"{type(exc).__name__}, error {number}"
    what = "is too slow" if isinstance(exc, TimeoutError) else "can't be reached, or broke off"
    return DestinationUnavailable(f"Google Drive {what} ({kind}). {_KEPT}")


def of_a_download(error: ForebayError) -> ForebayError:
    """The error for whoever reads a stored file: nothing was received from them, so nothing is said of it."""
    said = _ABOUT_UPLOADS.sub("", error.detail)
    return type(error)(said, retry_after_s=error.asked_for_s, **error.extensions)


def _passes(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }


def _label(refusal: Refusal) -> str:
    return f"status {refusal.status}" + (f", {refusal.reasons[0]}" if refusal.reasons else "")


def _error_in(body: bytes) -> object:
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return said.get("error") if isinstance(said, dict) else None


def _reasons(error: Mapping[str, object]) -> tuple[str, ...]:
    """`errors[].reason`, then those of `details` and `status`, which newer answers have."""
    found: list[object] = []
    for members in ("errors", "details"):
        items = error.get(members)
        found += [item.get("reason") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return tuple(reason for reason in [*found, error.get("status")] if isinstance(reason, str))


def _retry_after_s(header: str | None) -> int | None:
    if header is None:
        return None
    if header.strip().isdecimal():
        return min(int(header), _LONGEST_WAIT_S)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0, min(int(at.timestamp() - time.time()) + 1, _LONGEST_WAIT_S))
