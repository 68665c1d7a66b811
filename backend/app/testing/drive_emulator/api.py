"""The API without uploads: files, about, shared drives."""

from __future__ import annotations

import re
from http import HTTPStatus

from aiohttp import web

from app.testing.drive_emulator.answers import file_answer, json_answer, selected
from app.testing.drive_emulator.call import Call
from app.testing.drive_emulator.errors import ApiRefusal, invalid_parameter
from app.testing.drive_emulator.events import Kind
from app.testing.drive_emulator.faults import WrongDigest
from app.testing.drive_emulator.metadata import Metadata
from app.testing.drive_emulator.model import DriveFile
from app.testing.drive_emulator.script import Operation

__all__ = ["about", "create", "delete", "generate_ids", "get", "get_drive", "list_drives", "operation_of_get", "update"]

_IDS_AT_MOST = 1000
_PARENTS = (
    "The parents field is not directly writable in update requests. Use the addParents and removeParents parameters"
    " instead."
)
_ABOUT_FIELDS = frozenset(
    """appInstalled canCreateDrives canCreateTeamDrives driveThemes exportFormats folderColorPalette importFormats kind
    maxImportSizes maxUploadSize storageQuota teamDriveThemes user""".split()  # noqa: SIM905 - easier to read so
)
_DRIVE_FIELDS = frozenset(
    """backgroundImageFile backgroundImageLink capabilities colorRgb createdTime hidden id kind name orgUnitId
    restrictions themeId""".split()  # noqa: SIM905 - easier to read so
)


def operation_of_get(request: web.Request) -> tuple[Operation, bool]:
    """A file's resource, or its content."""
    media = request.query.get("alt") == "media"
    return (Operation.FILES_MEDIA, True) if media else (Operation.FILES_GET, False)


def _file(call: Call) -> DriveFile:
    return call.world.tree.see(call.request.match_info["file_id"], call.caller(), all_drives=call.all_drives)


def _answer(call: Call, file: DriveFile) -> web.Response:
    wrong = isinstance(call.fault, WrongDigest)
    return file_answer(call.world.tree, file, call.request.query.get("fields"), wrong=wrong)


async def create(call: Call) -> web.StreamResponse:
    """A file without content: a folder, above all."""
    caller, tree = call.caller(), call.world.tree
    data = Metadata.parse(await call.json())
    tree.check_new(data, caller, size=0, all_drives=call.all_drives)
    content = None
    if not (data.mime_type or "").startswith("application/vnd.google-apps."):
        content = call.world.vault.new()
        content.close()
    file = tree.create(data, caller, content, None)
    call.tell(Kind.FILE_CREATED, size=0, file_id=file.id, detail=file.name)
    return _answer(call, file)


async def get(call: Call) -> web.StreamResponse:
    """A file's resource."""
    return _answer(call, _file(call))


async def update(call: Call) -> web.StreamResponse:
    """Other metadata, another folder."""
    file, caller, tree = _file(call), call.caller(), call.world.tree
    data = Metadata.parse(await call.json())
    if data.parents is not None:
        raise ApiRefusal(HTTPStatus.FORBIDDEN, "fieldNotWritable", _PARENTS)
    query = call.request.query
    added = [tree.see(each, caller, all_drives=call.all_drives) for each in _ids(query.get("addParents"))]
    removed = {tree.aliases.get(each, each) for each in _ids(query.get("removeParents"))}
    tree.move(file, added, removed)
    tree.change(file, data)
    call.tell(Kind.FILE_UPDATED, size=file.size, file_id=file.id, detail=file.name)
    return _answer(call, file)


def _ids(text: str | None) -> list[str]:
    return [each for each in (text or "").split(",") if each]


async def delete(call: Call) -> web.StreamResponse:
    """A file for good, a folder with all that is in it."""
    file, tree = _file(call), call.world.tree
    if tree.is_root(file):
        message = "The user does not have sufficient permissions for this file."
        raise ApiRefusal(HTTPStatus.FORBIDDEN, "insufficientFilePermissions", message)
    for gone in tree.delete(file):
        call.tell(Kind.FILE_DELETED, file_id=gone.id, detail=gone.name)
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def generate_ids(call: Call) -> web.StreamResponse:
    """Ids for files to come."""
    call.caller()
    query = call.request.query
    count = query.get("count", "10")
    if re.fullmatch(r"\d{1,6}", count) is None or not 1 <= int(count) <= _IDS_AT_MOST:
        raise invalid_parameter(
            "count", f"Invalid value '{count}'. Values must be within the range: [1, {_IDS_AT_MOST}]"
        )
    if (space := query.get("space", "drive")) not in {"drive", "appDataFolder"}:
        raise invalid_parameter("space", "Invalid Value")
    made = {"kind": "drive#generatedIds", "space": space, "ids": call.world.tree.generate_ids(int(count))}
    return json_answer(selected(made, query.get("fields"), "*", set(made)))


async def about(call: Call) -> web.StreamResponse:
    """Who this is, and how much room there is."""
    caller, tree = call.caller(), call.world.tree
    fields = call.request.query.get("fields")
    if not fields:
        message = "The 'fields' parameter is required for this method."
        raise ApiRefusal(HTTPStatus.BAD_REQUEST, "required", message, location="fields")
    used = str(0 if caller.owns_no_storage else tree.stored_bytes)
    quota = {"usage": used, "usageInDrive": used, "usageInDriveTrash": "0"}
    if caller.owns_no_storage:
        quota["limit"] = "0"
    elif tree.storage_quota is not None:
        quota["limit"] = str(tree.storage_quota)
    user = {
        "kind": "drive#user",
        "displayName": "Drive emulator (a test double)",
        "me": True,
        "emailAddress": caller.email,
    }
    made = {
        "kind": "drive#about",
        "user": user,
        "storageQuota": quota,
        "maxUploadSize": str(5 << 40),
        "canCreateDrives": False,
    }
    return json_answer(selected(made, fields, "*", _ABOUT_FIELDS))


def _shared_drive(call: Call) -> dict[str, object]:
    tree = call.world.tree
    shared = tree.files[tree.shared_drive or ""]
    return {"kind": "drive#drive", "id": shared.id, "name": shared.name, "createdTime": "2020-01-01T00:00:00.000Z"}


async def list_drives(call: Call) -> web.StreamResponse:
    """The shared drive, if there is one."""
    call.caller()
    drives = [] if call.world.tree.shared_drive is None else [_shared_drive(call)]
    made = {"kind": "drive#driveList", "drives": drives}
    known = {"kind", "drives", "nextPageToken"}
    return json_answer(selected(made, call.request.query.get("fields"), "kind,drives(kind,id,name)", known))


async def get_drive(call: Call) -> web.StreamResponse:
    """The shared drive."""
    call.caller()
    drive_id = call.request.match_info["drive_id"]
    if drive_id != call.world.tree.shared_drive:
        raise ApiRefusal(HTTPStatus.NOT_FOUND, "notFound", f"Shared drive not found: {drive_id}", location="driveId")
    return json_answer(selected(_shared_drive(call), call.request.query.get("fields"), "kind,id,name", _DRIVE_FIELDS))
