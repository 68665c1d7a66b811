"""What the operating system refuses, in our words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.core.errors import DestinationUnavailable, ForebayError, InvalidName, NameTaken, OutOfSpace

__all__ = ["system_faults"]

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BAD_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.EILSEQ})
_IN_THE_WAY: Final = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY})


@contextmanager
def system_faults(doing: str) -> Iterator[None]:
    """Translate an OSError of the destination's file system.

    Args:
        doing: what was tried, for the sentence; names no path of the server, since clients read it.
    """
    try:
        yield
    except OSError as exc:
        raise _translated(exc, doing) from exc


def _translated(exc: OSError, doing: str) -> ForebayError:
    if exc.errno in _NO_ROOM:
        return OutOfSpace("The destination is full. What was received is kept until there is room.")
    if exc.errno in _BAD_NAME:
        return InvalidName("The destination's file system can't keep this name. Choose a shorter or simpler one.")
    if exc.errno in _IN_THE_WAY:
        return NameTaken("A file, folder or symbolic link is in the way of this name at the destination.")
    if exc.errno == errno.EXDEV:
        return InvalidName("This folder lies on another file system than the destination. Choose another folder.")
    return DestinationUnavailable(f"The destination can't {doing} now ({exc.strerror}). What was received is kept.")
