"""What Drive holds: files and folders, and what a caller gets to know of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from app.testing.drive_emulator.content import Content

__all__ = ["FOLDER", "Caller", "DriveFile", "resource"]

FOLDER = "application/vnd.google-apps.folder"
_FULL_SCOPES = frozenset({"https://www.googleapis.com/auth/drive", "https://www.googleapis.com/auth/drive.readonly"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by the access token."""

    email: str
    scopes: frozenset[str]
    owns_no_storage: bool = False
    """A service account that acts for itself."""

    @property
    def sees_only_its_own(self) -> bool:
        """The scope `drive.file`: nothing that the application did not create."""
        return not self.scopes & _FULL_SCOPES


@dataclass(slots=True)
class DriveFile:
    """A file or folder. The digests are those of the bytes held; `corrupt` ones are reported wrongly."""

    id: str
    name: str
    mime_type: str
    parents: list[str]
    owner: str
    drive_id: str | None = None
    content: Content | None = None
    foreign: bool = False
    """Not created by the application."""
    corrupt: bool = False
    trashed: bool = False
    app_properties: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    description: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))
    version: int = 1

    @property
    def is_folder(self) -> bool:
        """Whether others can be in it."""
        return self.mime_type == FOLDER

    @property
    def size(self) -> int:
        """Of the content; 0 for folders."""
        return 0 if self.content is None else self.content.held

    @property
    def path(self) -> Path | None:
        """Where the content is; None for folders and when contents are discarded."""
        return None if self.content is None else self.content.path

    @property
    def digests(self) -> dict[str, str]:
        """Of the content, in hexadecimal."""
        return {} if self.content is None else self.content.digests()

    @property
    def md5(self) -> str | None:
        """Of the content."""
        return self.digests.get("md5")

    @property
    def sha256(self) -> str | None:
        """Of the content."""
        return self.digests.get("sha256")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def wrong_digests(digests: dict[str, str]) -> dict[str, str]:
    """What a Drive would report that holds other bytes."""
    return {name: hashlib.new(name, made.encode(), usedforsecurity=False).hexdigest() for name, made in digests.items()}


def _content_fields(file: DriveFile, *, wrong: bool) -> dict[str, object]:
    if file.content is None:
        return {"quotaBytesUsed": "0"}
    digests = wrong_digests(file.digests) if wrong or file.corrupt else file.digests
    extension = Path(file.name).suffix.removeprefix(".")
    return {
        "size": str(file.size),
        "quotaBytesUsed": str(file.size),
        "originalFilename": file.name,
        "fileExtension": extension,
        "fullFileExtension": extension,
        "headRevisionId": f"{file.id}-{file.version}",
        "webContentLink": f"https://drive.google.com/uc?id={file.id}&export=download",
        **{f"{name}Checksum": made for name, made in digests.items()},
    }


def resource(file: DriveFile, *, trashed: bool, wrong: bool = False) -> dict[str, object]:
    """The file as the API shows it, every field that has a value; `trashed` says if it or a folder above is."""
    made: dict[str, object] = {
        "kind": "drive#file",
        "id": file.id,
        "name": file.name,
        "mimeType": file.mime_type,
        "starred": False,
        "trashed": trashed,
        "explicitlyTrashed": file.trashed,
        "parents": list(file.parents),
        "spaces": ["drive"],
        "version": str(file.version),
        "webViewLink": f"https://drive.google.com/file/d/{file.id}/view",
        "createdTime": _time(file.created),
        "modifiedTime": _time(file.modified),
        "isAppAuthorized": not file.foreign,
        "capabilities": {"canDelete": True, "canDownload": True, "canEdit": True, "canAddChildren": file.is_folder},
        **_content_fields(file, wrong=wrong),
    }
    if file.drive_id is None:
        made |= {"ownedByMe": True, "owners": [_user(file.owner)], "shared": False}
    else:
        made |= {"driveId": file.drive_id, "teamDriveId": file.drive_id}
    optional = {
        "appProperties": file.app_properties,
        "properties": file.properties,
        "description": file.description,
    }
    return made | {name: value for name, value in optional.items() if value}


def _user(email: str) -> dict[str, object]:
    return {"kind": "drive#user", "displayName": email.partition("@")[0], "me": True, "emailAddress": email}
