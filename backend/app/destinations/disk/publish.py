"""A finished file under its final name.

Laws: the name appears by one link(2) or rename(2) of the whole file, never by writing. `link` never overwrites. A name
in the folder that is our inode already is our own success: a crash after the link is found that way. Directory
syncs are the caller's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from app.core.errors import NameTaken
from app.core.names import numbered
from app.core.upload import NameConflictPolicy
from app.destinations.port import Target

__all__ = ["own_name", "publish"]


def publish(target: Target, source: Path, *, source_dir: int | None, folder: int, private: int) -> str:
    """Give `source` its final name; returns it. Blocking.

    Args:
        target: name and policy.
        source: the finished, synced file.
        source_dir: the descriptor it is relative to.
        folder: descriptor of the final folder.
        private: descriptor of our own folder on the same file system; used by policy `replace` only.

    Raises:
        NameTaken: policy `fail`, and the name exists.
        OSError: anything else.
    """
    status = os.stat(source, dir_fd=source_dir, follow_symlinks=False)
    if status.st_nlink > 1 and (name := own_name(folder, status.st_dev, status.st_ino)):
        return name
    if target.on_conflict is NameConflictPolicy.REPLACE:
        return _replace(target, source, source_dir=source_dir, folder=folder, private=private)
    name, number = target.filename, 0
    while True:
        try:
            os.link(source, name, src_dir_fd=source_dir, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError as exc:
            if target.on_conflict is NameConflictPolicy.FAIL:
                raise NameTaken from exc
        else:
            return name
        number += 1
        name = numbered(target.filename, number)


def own_name(folder: int, device: int, inode: int) -> str | None:
    """The name under which the folder holds that file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.inode() == inode and entry.stat(follow_symlinks=False).st_dev == device:
                return entry.name
    return None


def _replace(target: Target, source: Path, *, source_dir: int | None, folder: int, private: int) -> str:
    step = f"{target.upload_id}.link"
    with suppress(FileNotFoundError):
        os.unlink(step, dir_fd=private)
    os.link(source, step, src_dir_fd=source_dir, dst_dir_fd=private, follow_symlinks=False)
    try:
        os.rename(step, target.filename, src_dir_fd=private, dst_dir_fd=folder)
    except BaseException:
        os.unlink(step, dir_fd=private)
        raise
    return target.filename
