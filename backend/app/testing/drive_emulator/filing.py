"""From bytes that have come to a file of the tree."""

from __future__ import annotations

from app.testing.drive_emulator.answers import selected
from app.testing.drive_emulator.call import Call
from app.testing.drive_emulator.content import Content
from app.testing.drive_emulator.events import Kind
from app.testing.drive_emulator.fields import FILE_FIELDS
from app.testing.drive_emulator.metadata import Intent, Metadata, media_type_of
from app.testing.drive_emulator.model import DriveFile
from app.testing.drive_emulator.tree import Tree

__all__ = ["check", "file_it", "intent_of"]


def intent_of(call: Call, data: Metadata, media_type: str | None) -> Intent:
    """What this request wants.

    Raises:
        ApiRefusal: it may not, or asks for an answer that there is not.
    """
    caller = call.caller()
    file_id = call.request.match_info.get("file_id")
    target = None if file_id is None else call.world.tree.see(file_id, caller, all_drives=call.all_drives)
    fields = call.request.query.get("fields")
    selected({}, fields, "id", FILE_FIELDS)
    return Intent(data, caller, call.all_drives, fields, media_type_of(media_type), target)


def check(tree: Tree, intent: Intent, size: int, *, starts: bool) -> None:
    """Whether there may be such a file; `starts`: its bytes have not begun to come.

    Raises:
        ApiRefusal: there may not.
    """
    if intent.target is None:
        tree.check_new(intent.data, intent.caller, size=size, all_drives=intent.all_drives, starts=starts)
    else:
        tree.check_room(size - intent.target.size, intent.target.drive_id, starts=starts)


def file_it(call: Call, intent: Intent, content: Content, *, wrong: bool) -> DriveFile:
    """Create or change the file; `wrong`: its digests will be reported wrongly."""
    tree = call.world.tree
    if intent.target is None:
        file, kind = tree.create(intent.data, intent.caller, content, intent.media_type), Kind.FILE_CREATED
    else:
        tree.change(intent.target, intent.data, content=content, media_type=intent.media_type)
        file, kind = intent.target, Kind.FILE_UPDATED
    file.corrupt = wrong
    call.tell(kind, size=file.size, file_id=file.id, detail=file.name)
    return file
