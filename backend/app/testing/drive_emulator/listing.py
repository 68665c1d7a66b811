"""files.list: which files, in which order, how many at a time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from aiohttp import web

from app.testing.drive_emulator.answers import json_answer, number_of, selected
from app.testing.drive_emulator.call import Call
from app.testing.drive_emulator.errors import invalid_parameter, not_found
from app.testing.drive_emulator.faults import WrongDigest
from app.testing.drive_emulator.fields import FILE_FIELDS, parse_fields, select
from app.testing.drive_emulator.model import DriveFile, resource
from app.testing.drive_emulator.query import parse_query

__all__ = ["list_files"]

_PAGE = 100
_PAGE_AT_MOST = 1000
_KNOWN = frozenset({"kind", "nextPageToken", "incompleteSearch", "files"})
_DEFAULT = "kind,nextPageToken,incompleteSearch,files(kind,id,name,mimeType)"
_ORDERS: dict[str, Callable[[DriveFile], str | int]] = {
    "name": lambda file: file.name,
    "name_natural": lambda file: file.name.lower(),
    "createdTime": lambda file: file.created.isoformat(),
    "modifiedTime": lambda file: file.modified.isoformat(),
    "quotaBytesUsed": lambda file: file.size,
    "folder": lambda file: 0 if file.is_folder else 1,
}


async def list_files(call: Call) -> web.StreamResponse:
    """A page of files."""
    found = _ordered(_found(call), call.request.query.get("orderBy"))
    start, size = _place(call)
    tree = call.world.tree
    fields = call.request.query.get("fields") or _DEFAULT
    wrong = isinstance(call.fault, WrongDigest)
    page = [resource(file, trashed=tree.is_trashed(file), wrong=wrong) for file in found[start : start + size]]
    made: dict[str, object] = {"kind": "drive#fileList", "incompleteSearch": False, "files": page}
    if start + size < len(found):
        made["nextPageToken"] = base64.urlsafe_b64encode(b"%d" % (start + size)).decode()
    if (inner := parse_fields(fields).get("files")) is not None:
        select({}, inner, FILE_FIELDS)
    return json_answer(selected(made, fields, _DEFAULT, _KNOWN))


def _found(call: Call) -> list[DriveFile]:
    caller, query, tree = call.caller(), call.request.query, call.world.tree
    test = parse_query(query.get("q"), tree.aliases)
    drive_id = query.get("driveId") or query.get("teamDriveId")
    if drive_id is not None and drive_id != tree.shared_drive:
        raise not_found(drive_id)
    with_drives = call.flag("includeItemsFromAllDrives") or call.flag("includeTeamDriveItems")
    return [
        file
        for file in list(tree.files.values())
        if not tree.is_root(file)
        and tree.visible(file, caller)
        and (file.drive_id is None or (with_drives and call.all_drives))
        and (drive_id is None or file.drive_id == drive_id)
        and test(file, tree.is_trashed(file))
    ]


def _ordered(files: list[DriveFile], order: str | None) -> list[DriveFile]:
    files.reverse()  # Drive shows the newest first when it is not told otherwise
    for word in reversed((order or "").split(",") if order else []):
        name, _, direction = word.strip().partition(" ")
        if name not in _ORDERS or direction not in {"", "desc"}:
            raise invalid_parameter("orderBy", f"Invalid Value: {word}")
        files.sort(key=_ORDERS[name], reverse=direction == "desc")
    return files


def _place(call: Call) -> tuple[int, int]:
    query = call.request.query
    said = query.get("pageSize", str(_PAGE))
    size = number_of(said)
    if size is None or not 1 <= size <= _PAGE_AT_MOST:
        message = f"Invalid value '{said}'. Values must be within the range: [1, {_PAGE_AT_MOST}]"
        raise invalid_parameter("pageSize", message)
    try:
        return int(base64.urlsafe_b64decode(query.get("pageToken", "MA=="))), size
    except (ValueError, binascii.Error):
        raise invalid_parameter("pageToken", "Invalid Value") from None
