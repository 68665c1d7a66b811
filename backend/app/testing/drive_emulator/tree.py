"""The tree of files: what may be created, seen, changed and deleted by whom.

Laws: names may repeat, ids never do, not even after a deletion; an id that a client brings must come from `generate_ids`.
What a caller may not see does not exist for it. The quota is looked at before a file is added, the daily limit before an
upload begins: one that is under way may end, as Google says.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus

from app.testing.drive_emulator.content import Content
from app.testing.drive_emulator.errors import ApiRefusal, invalid_parameter, not_found
from app.testing.drive_emulator.metadata import Metadata, parse_error
from app.testing.drive_emulator.model import FOLDER, Caller, DriveFile
from app.testing.drive_emulator.options import Options

__all__ = ["Tree"]

_A_DAY_S = 86_400.0
_NO_STORAGE = (
    "Service Accounts do not have storage quota. Leverage shared drives"
    " (https://developers.google.com/workspace/drive/api/guides/about-shareddrives), or use OAuth delegation"
    " (http://support.google.com/a/answer/7281227) instead."
)
_QUOTA = "The user's Drive storage quota has been exceeded."


class Tree:
    """All files, by id."""

    def __init__(self, options: Options, user: str) -> None:
        self.user = user
        self.files: dict[str, DriveFile] = {}
        self.root = "0A" + secrets.token_urlsafe(12)[:15] + "PVA"
        self.shared_drive = None if options.shared_drive is None else "0A" + secrets.token_urlsafe(12)[:15] + "PVA"
        self.storage_quota = options.storage_quota
        self.daily_limit = options.daily_limit
        self._options = options
        self._generated: set[str] = set()
        self._used_ids: set[str] = set()
        self._uploads: list[tuple[float, int]] = []
        self._add_root(self.root, "My Drive", None)
        if self.shared_drive is not None:
            self._add_root(self.shared_drive, options.shared_drive or "", self.shared_drive)

    def _add_root(self, file_id: str, name: str, drive_id: str | None) -> None:
        self.files[file_id] = DriveFile(file_id, name, FOLDER, [], self.user, drive_id)
        self._used_ids.add(file_id)

    @property
    def aliases(self) -> dict[str, str]:
        """Names that stand for ids."""
        return {"root": self.root}

    @property
    def stored_bytes(self) -> int:
        """In My Drive; shared drives have a quota of their own."""
        return sum(file.size for file in self.files.values() if file.drive_id is None)

    @property
    def uploaded_today(self) -> int:
        """In the last 24 hours."""
        since = time.monotonic() - _A_DAY_S
        self._uploads = [(moment, size) for moment, size in self._uploads if moment > since]
        return sum(size for _, size in self._uploads)

    def a_new_day(self) -> None:
        """Forget what was uploaded."""
        self._uploads.clear()

    def generate_ids(self, count: int) -> list[str]:
        """Ids that may be brought to a creation."""
        made = [new_id() for _ in range(count)]
        self._generated.update(made)
        return made

    def see(self, file_id: str, caller: Caller, *, all_drives: bool) -> DriveFile:
        """The file, for this caller.

        Raises:
            ApiRefusal: it is not there, for this caller.
        """
        file = self.files.get(self.aliases.get(file_id, file_id))
        if file is None or not self.visible(file, caller) or (file.drive_id is not None and not all_drives):
            raise not_found(file_id)
        return file

    def visible(self, file: DriveFile, caller: Caller) -> bool:
        """Whether it exists for this caller."""
        return not (caller.sees_only_its_own and file.foreign)

    def is_root(self, file: DriveFile) -> bool:
        """My Drive itself, or the shared drive itself."""
        return file.id in {self.root, self.shared_drive}

    def is_trashed(self, file: DriveFile) -> bool:
        """It, or a folder above it."""
        return file.trashed or any(
            self.is_trashed(self.files[parent]) for parent in file.parents if parent in self.files
        )

    def children(self, file: DriveFile) -> Iterator[DriveFile]:
        """What is directly in it."""
        return (each for each in list(self.files.values()) if file.id in each.parents)

    def check_new(self, data: Metadata, caller: Caller, *, size: int, all_drives: bool, starts: bool = True) -> None:
        """Whether a file of this size can be created; `starts`: its upload has not begun yet.

        Raises:
            ApiRefusal: it can't.
        """
        if data.id is not None:
            if data.id in self._used_ids:
                message = "A file already exists with the provided ID."
                raise ApiRefusal(HTTPStatus.CONFLICT, "fileIdInUse", message)
            if data.id not in self._generated:
                raise invalid_parameter("file.id", "The provided file ID is not usable.")
        parent = self._parent(data, caller, all_drives=all_drives)
        if data.mime_type == FOLDER:
            return
        if caller.owns_no_storage and parent.drive_id is None:
            raise ApiRefusal(HTTPStatus.FORBIDDEN, "storageQuotaExceeded", _NO_STORAGE)
        self.check_room(size, parent.drive_id, starts=starts)

    def check_room(self, size: int, drive_id: str | None, *, starts: bool) -> None:
        """Whether so many bytes may still come.

        Raises:
            ApiRefusal: the quota or the daily limit is used up.
        """
        if starts and self.daily_limit is not None and self.uploaded_today >= self.daily_limit:
            options = self._options
            raise ApiRefusal(HTTPStatus.FORBIDDEN, options.daily_limit_reason, options.daily_limit_message)
        if drive_id is None and self.storage_quota is not None and self.stored_bytes + size > self.storage_quota:
            raise ApiRefusal(HTTPStatus.FORBIDDEN, "storageQuotaExceeded", _QUOTA)

    def create(self, data: Metadata, caller: Caller, content: Content | None, media_type: str | None) -> DriveFile:
        """Add a file that `check_new` let pass."""
        parent = self._parent(data, caller, all_drives=True)
        made = DriveFile(
            id=data.id or new_id(),
            name=data.name or "Untitled",
            mime_type=data.mime_type or media_type or "application/octet-stream",
            parents=[parent.id],
            owner=caller.email,
            drive_id=parent.drive_id,
            content=content,
            description=data.description,
            app_properties=_kept({}, data.app_properties),
            properties=_kept({}, data.properties),
        )
        self._used_ids.add(made.id)
        self.files[made.id] = made
        if content is not None:
            self._uploads.append((time.monotonic(), content.held))
        return made

    def change(
        self, file: DriveFile, data: Metadata, *, content: Content | None = None, media_type: str | None = None
    ) -> None:
        """Change what the metadata names, and the content when there is a new one."""
        file.name = data.name or file.name
        file.mime_type = data.mime_type or media_type or file.mime_type
        file.trashed = file.trashed if data.trashed is None else data.trashed
        file.description = file.description if data.description is None else data.description
        file.app_properties = _kept(file.app_properties, data.app_properties)
        file.properties = _kept(file.properties, data.properties)
        if content is not None:
            if file.content is not None:
                file.content.discard()
            file.content = content
            self._uploads.append((time.monotonic(), content.held))
        file.modified = datetime.now(UTC)
        file.version += 1

    def move(self, file: DriveFile, added: list[DriveFile], removed: set[str]) -> None:
        """Into another folder.

        Raises:
            ApiRefusal: it would be in two, in none that is a folder, or in itself.
        """
        if not added and not removed:
            return
        parents = [each for each in file.parents if each not in removed] + [each.id for each in added]
        if len(parents) != 1:
            message = "A file cannot have more than one parent." if parents else "A file must have a parent."
            raise ApiRefusal(HTTPStatus.FORBIDDEN, "cannotAddParent", message)
        above: DriveFile | None = self.files.get(parents[0])
        while above is not None:
            if above is file or not above.is_folder:
                message = "The specified parent is not a folder, or it is in the file that is moved."
                raise ApiRefusal(HTTPStatus.FORBIDDEN, "parentNotAFolder", message)
            above = self.files.get(above.parents[0]) if above.parents else None
        file.parents = parents
        self._enter(file, self.files[parents[0]].drive_id)

    def _enter(self, file: DriveFile, drive_id: str | None) -> None:
        file.drive_id = drive_id
        for child in self.children(file):
            self._enter(child, drive_id)

    def delete(self, file: DriveFile) -> list[DriveFile]:
        """It and everything in it, for good; returns what went."""
        gone = [file]
        for child in self.children(file):
            gone += self.delete(child)
        self.files.pop(file.id, None)
        if file.content is not None:
            file.content.discard()
        return gone

    def _parent(self, data: Metadata, caller: Caller, *, all_drives: bool) -> DriveFile:
        parents = data.parents or [self.root]
        if len(parents) > 1:
            message = "A file cannot have more than one parent."
            raise ApiRefusal(HTTPStatus.FORBIDDEN, "cannotAddParent", message)
        if not isinstance(parents[0], str):
            raise parse_error()
        parent = self.see(parents[0], caller, all_drives=all_drives)
        if not parent.is_folder:
            message = "The specified parent is not a folder."
            raise ApiRefusal(HTTPStatus.FORBIDDEN, "parentNotAFolder", message)
        return parent


def new_id() -> str:
    """33 characters, as Drive's are."""
    return "1" + secrets.token_urlsafe(24)


def _kept(there: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    merged: dict[str, str | None] = {**there, **changes}
    return {name: value for name, value in merged.items() if value is not None}
