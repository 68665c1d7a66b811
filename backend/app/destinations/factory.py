"""A destination from its URL, as it stands in the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from app.core.settings import Settings
from app.destinations.disk import DiskDestination
from app.destinations.port import Destination, KeepsValues

__all__ = ["DestinationUrlError", "from_url", "from_urls"]

_GOOGLE_ID: Final = re.compile(r"[A-Za-z0-9_-]{0,128}")


class DestinationUrlError(ValueError):
    """A destination's URL can't be used; the message is one line that says what is allowed."""


def from_url(url: str, settings: Settings, *, values: KeepsValues | None = None) -> Destination:
    """The destination that the URL names; nothing is touched yet.

    Args:
        url: `disk:PATH`, where a relative PATH counts from the working directory and `~` is the home directory; or
            `gdrive:FOLDER_ID`, without an id the top of "My Drive".
        settings: what else is set.
        values: where a destination keeps what must outlive the process; None: nowhere.

    Raises:
        DestinationUrlError: unknown scheme, or the rest can't be used.
    """
    return from_urls({"default": url}, settings, values=values)["default"]


def from_urls(
    urls: Mapping[str, str], settings: Settings, *, values: KeepsValues | None = None
) -> dict[str, Destination]:
    """As `from_url`, for several by name; those in Google Drive share their login and its daily limit."""
    google_drive = partial(_google_drive, settings=settings, ledgers=[], values=values)
    found: dict[str, Destination] = {}
    for name, url in urls.items():
        scheme, colon, rest = url.strip().partition(":")
        match scheme.lower() if colon else "":
            case "disk":
                found[name] = _disk(rest)
            case "gdrive":
                found[name] = google_drive(rest.strip())
            case _:
                raise DestinationUrlError(
                    f"{url!r} is no destination this server knows; it must begin with one of disk:, gdrive:"
                )
    return found


def _disk(rest: str) -> Destination:
    if not rest.strip() or "\0" in rest:
        raise DestinationUrlError("disk: needs the path of a directory behind it, as in disk:/srv/files")
    if rest.startswith("//") and not rest.startswith("///"):
        raise DestinationUrlError(f"'disk:{rest}' names a host; write disk:{rest[1:]} for the path {rest[1:]}")
    try:
        return DiskDestination(Path(rest).expanduser())
    except RuntimeError as exc:
        raise DestinationUrlError(f"disk:{rest}: {exc}") from exc


def _google_drive(folder_id: str, *, settings: Settings, ledgers: list[Any], values: KeepsValues | None) -> Destination:
    if not _GOOGLE_ID.fullmatch(folder_id):
        raise DestinationUrlError(
            f"gdrive:{folder_id}: a folder's id has letters, digits, - and _ only; it is the end of the folder's address"
        )
    # Google's libraries and what they bring take 20 MiB: only where they are used.
    from app.destinations.google_drive.credentials import GoogleTokens  # noqa: PLC0415
    from app.destinations.google_drive.destination import LEDGER_KEY, GoogleDriveDestination  # noqa: PLC0415
    from app.destinations.google_drive.ledger import Ledger  # noqa: PLC0415
    from app.destinations.google_drive.options import GoogleDriveOptions  # noqa: PLC0415

    options = GoogleDriveOptions.from_settings(settings)
    tokens = GoogleTokens(options)
    if not ledgers:  # one for the account, whatever number of folders
        ledgers.append(Ledger(options.daily_bytes, key=LEDGER_KEY, values=values))
    return GoogleDriveDestination(folder_id, options=options, tokens=tokens, ledger=ledgers[0], on_closed=tokens.aclose)
