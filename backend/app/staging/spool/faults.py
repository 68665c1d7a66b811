"""What the operating system refuses, in our words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.core.errors import OutOfSpace, StagingUnavailable, SyncFailed

__all__ = ["NO_ROOM", "sync_faults", "system_faults"]

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def system_faults(doing: str) -> Iterator[None]:
    """Translate an OSError: no room (blocks, inodes, the system's quota) is OutOfSpace, the rest StagingUnavailable.

    Args:
        doing: what was tried, for the sentence; names no path, since clients read it.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in NO_ROOM:
            raise OutOfSpace("The staging area is full. Try again when other uploads have ended.") from exc
        raise StagingUnavailable(f"The staging area can't {doing} now ({exc.strerror}). Try again later.") from exc


@contextmanager
def sync_faults() -> Iterator[None]:
    """Translate an OSError of a sync: what was written can't be trusted, whatever the reason."""
    try:
        yield
    except OSError as exc:
        raise SyncFailed(f"The disk failed to keep this upload's bytes ({exc.strerror}). Send the file again.") from exc
