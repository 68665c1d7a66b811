"""Files and folders at Drive, by the calls that this adapter needs.

Laws: every call knows of shared drives. Names are compared exactly here: Drive's search is laxer. A file that is in the
trash is not there, but for `get`, which tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import structlog

from app.destinations.google_drive.api import DriveApi

__all__ = ["FIELDS", "FOLDER_TYPE", "MY_DRIVE", "UPLOAD_KEY", "Files", "Place", "RemoteFile", "is_id", "quoted"]

log = structlog.get_logger(__name__)

FOLDER_TYPE: Final = "application/vnd.google-apps.folder"
MY_DRIVE: Final = "root"  # as the API calls the folder that all others are in
UPLOAD_KEY: Final = "forebayUpload"  # the app's own property that says which upload a file is
FIELDS: Final = "id,name,mimeType,size,md5Checksum,sha256Checksum,parents,trashed,createdTime,appProperties"
_FOLDER_FIELDS: Final = "id,mimeType,trashed,driveId,capabilities(canAddChildren)"
_ALL_DRIVES: Final = {"supportsAllDrives": "true"}
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_PAGE: Final = "1000"
_PAGES: Final = 20
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND.value})
_FORBIDDEN: Final = frozenset({HTTPStatus.FORBIDDEN.value})
_MAY_NOT: Final = frozenset({"insufficientFilePermissions", "forbidden"})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What Drive says of a file; digests in lower-case hexadecimal, None where it says none."""

    id: str
    name: str
    media_type: str
    size: int | None
    md5: str | None
    sha256: str | None
    parents: tuple[str, ...]
    trashed: bool
    created: str  # RFC 3339, in UTC, always with as many digits: sorts as text
    upload_id: str | None

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> RemoteFile:
        """From the API's resource."""
        size, properties = said.get("size"), said.get("appProperties")
        return cls(
            id=str(said.get("id", "")),
            name=str(said.get("name", "")),
            media_type=str(said.get("mimeType", "")),
            size=int(size) if isinstance(size, str) and size.isdecimal() else None,
            md5=_digest(said.get("md5Checksum")),
            sha256=_digest(said.get("sha256Checksum")),
            parents=tuple(map(str, said.get("parents") or ())),
            trashed=said.get("trashed") is True,
            created=str(said.get("createdTime", "")),
            upload_id=str(properties[UPLOAD_KEY])
            if isinstance(properties, dict) and UPLOAD_KEY in properties
            else None,
        )

    @property
    def is_folder(self) -> bool:
        """Whether others can be in it."""
        return self.media_type == FOLDER_TYPE

    @property
    def age(self) -> tuple[str, str]:
        """Sorts older ones first, and never two alike."""
        return self.created, self.id


@dataclass(frozen=True, slots=True)
class Place:
    """A folder as Drive knows it."""

    id: str
    drive_id: str | None = None  # of the shared drive that it is in
    is_folder: bool = True
    writable: bool = True


class Files:
    """Calls on files."""

    def __init__(self, api: DriveApi) -> None:
        """Over that client."""
        self._api = api

    async def get(self, file_id: str) -> RemoteFile | None:
        """The file, also when it is in the trash; None when it is gone."""
        answer = await self._api.call("GET", _path(file_id), params={"fields": FIELDS, **_ALL_DRIVES}, accept=_GONE)
        return None if answer.status in _GONE else RemoteFile.parse(answer.value())

    async def place(self, folder_id: str) -> Place | None:
        """The folder; None when it is gone, in the trash, or not to be seen by this login."""
        params = {"fields": _FOLDER_FIELDS, **_ALL_DRIVES}
        answer = await self._api.call("GET", _path(folder_id), params=params, accept=_GONE)
        said = answer.value() if answer.status not in _GONE else {}
        if not said or said.get("trashed"):
            return None
        abilities = said.get("capabilities")
        return Place(
            id=str(said.get("id", folder_id)),
            drive_id=said.get("driveId"),
            is_folder=said.get("mimeType") == FOLDER_TYPE,
            writable=not isinstance(abilities, dict) or abilities.get("canAddChildren") is not False,
        )

    async def named(self, place: Place, names: Iterable[str], *, folders: bool = False) -> list[RemoteFile]:
        """Those in a folder that have one of the names, oldest first; only folders, or anything."""
        wanted = set(names)
        either = " or ".join(f"name = {quoted(name)}" for name in sorted(wanted))
        query = f"{quoted(place.id)} in parents and trashed = false and ({either})"
        if folders:
            query += f" and mimeType = {quoted(FOLDER_TYPE)}"
        params = {
            "q": query,
            "fields": f"nextPageToken,files({FIELDS})",
            "pageSize": _PAGE,
            "includeItemsFromAllDrives": "true",
            **_ALL_DRIVES,
        }
        if place.drive_id is not None:
            params |= {"corpora": "drive", "driveId": place.drive_id}
        found: list[RemoteFile] = []
        for _ in range(_PAGES):
            said = (await self._api.call("GET", "/files", params=params)).value()
            files = [RemoteFile.parse(item) for item in said.get("files") or ()]
            found += [file for file in files if file.name in wanted and not file.trashed]
            if not (token := said.get("nextPageToken")):
                break
            params["pageToken"] = str(token)
        return sorted(found, key=lambda file: file.age)

    async def make_folder(self, folder_id: str, name: str, parent: str) -> bool:
        """A folder under an id of ours: made before, it is there already. False: refused, perhaps for the id."""
        body: dict[str, object] = {"id": folder_id, "name": name, "mimeType": FOLDER_TYPE}
        if parent != MY_DRIVE:
            body["parents"] = [parent]
        accept = frozenset({HTTPStatus.CONFLICT.value, HTTPStatus.BAD_REQUEST.value})
        params = {"fields": "id", **_ALL_DRIVES}
        answer = await self._api.call("POST", "/files", params=params, body=body, accept=accept)
        return answer.status != HTTPStatus.BAD_REQUEST

    async def rename(self, file_id: str, name: str) -> RemoteFile:
        """Give it another name."""
        params = {"fields": FIELDS, **_ALL_DRIVES}
        return RemoteFile.parse(
            (await self._api.call("PATCH", _path(file_id), params=params, body={"name": name})).value()
        )

    async def trash(self, file_id: str) -> None:
        """Into the trash, where its owner finds it for 30 days; idempotent."""
        params = {"fields": "id", **_ALL_DRIVES}
        await self._api.call("PATCH", _path(file_id), params=params, body={"trashed": True}, accept=_GONE)

    async def remove(self, file_id: str) -> None:
        """For good; idempotent.

        In a shared drive that is for managers. Where the login is not one it goes to the trash, as content managers may.
        """
        if not is_id(file_id):
            return
        answer = await self._api.call("DELETE", _path(file_id), params=_ALL_DRIVES, accept=_GONE | _FORBIDDEN)
        if answer.status in _FORBIDDEN:
            refusal = answer.refusal
            if refusal is None or not _MAY_NOT.intersection(refusal.reasons):
                self._api.judge(answer)
            await self.trash(file_id)
            log.info("a file could only be moved to the trash", file=file_id)


def is_id(text: str) -> bool:
    """Whether it can be the id of a file."""
    return _ID.fullmatch(text) is not None


def quoted(text: str) -> str:
    """A string in a search query: backslash before quote, or the one would escape the other's."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _path(file_id: str) -> str:
    return f"/files/{quote(file_id, safe='')}"


def _digest(said: object) -> str | None:
    return said.lower() if isinstance(said, str) and said else None
