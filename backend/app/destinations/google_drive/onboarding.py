"""What is asked of Google Drive before there is a destination: whose login it is, and a folder to put files into."""

from __future__ import annotations

from app.core.errors import DestinationRefused
from app.core.names import validate_folder
from app.destinations.google_drive.api import DriveApi, Timeouts
from app.destinations.google_drive.files import Files
from app.destinations.google_drive.folders import Folders
from app.destinations.google_drive.ids import IdPool
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.google_drive.tokens import TokenSource

__all__ = ["GivenToken", "account_of", "make_folder"]

_ABOUT = {"fields": "user(emailAddress)"}


class GivenToken:
    """A `TokenSource` for one token that is there already."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, *, refused: str | None = None) -> str:
        """The token, as long as it is not refused."""
        if refused == self._token:
            raise DestinationRefused("Google Drive does not accept the token that Google has just given.")
        return self._token


async def account_of(options: GoogleDriveOptions, tokens: TokenSource) -> str:
    """The address of the account that a login is of.

    Raises:
        DestinationUnavailable: Google Drive does not say; when its API is not enabled, for one.
    """
    api = DriveApi(options, tokens, timeouts=Timeouts())
    try:
        user = (await api.call("GET", "/about", params=_ABOUT)).value().get("user")
    finally:
        await api.aclose()
    return str(user.get("emailAddress", "")) if isinstance(user, dict) else ""


async def make_folder(options: GoogleDriveOptions, tokens: TokenSource, path: str, parent: str) -> str:
    """The id of the folder of that name; made where it is missing, so that a repeat makes no second.

    Args:
        options: where Google Drive is.
        tokens: of the login that is to own it.
        path: its name, or several with slashes between them.
        parent: the id of the folder or shared drive that it is in; "" is My Drive.

    Raises:
        InvalidName: it can't be called so.
        DestinationUnavailable: it can't be made.
    """
    path = validate_folder(path)
    api = DriveApi(options, tokens, timeouts=Timeouts())
    ids = IdPool(api)
    folders = Folders(Files(api), ids, parent)
    try:
        return (await folders.at(path)).id
    finally:
        await folders.aclose()
        await ids.aclose()
        await api.aclose()
