"""Names of files and folders that clients send: what may be stored, and what is refused with a reason.

Laws: a name that passes is one component of a path (a folder: several), nothing else; it never names a parent, the
root, another drive or our own files, and shows as what it is. Names are data: nothing is altered, only refused.
What a destination adds (`numbered`) stays within the same bounds.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final

from app.core.errors import InvalidName

__all__ = ["MAX_FOLDER_BYTES", "MAX_NAME_BYTES", "PRIVATE_PREFIX", "numbered", "validate_filename", "validate_folder"]

MAX_NAME_BYTES: Final = 255  # NAME_MAX of every common Linux file system (limits.h)
MAX_FOLDER_BYTES: Final = 2048  # leaves half of PATH_MAX for the root and the file
PRIVATE_PREFIX: Final = ".forebay"  # what we keep beside the files

_DRIVE: Final = re.compile(r"[A-Za-z]:")
# Characters that reorder what is shown ("exe.gpj" for "jpg.exe"): UAX 9 section 2, and the line separators.
_REORDERING: Final = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MAX_SUFFIX_BYTES: Final = 32  # a longer "extension" is part of the name


def validate_filename(name: str) -> str:
    """The name, unchanged, if a file may have it.

    Raises:
        InvalidName: the sentence says what is wrong with it.
    """
    _check_component(name, "file name")
    return name


def validate_folder(folder: str) -> str:
    """The relative folder, unchanged: components joined by "/", or "" for the root.

    Raises:
        InvalidName: the sentence says what is wrong with it.
    """
    if not folder:
        return folder
    if folder.startswith("/"):
        raise InvalidName("The folder must be relative: it can't begin with '/'.")
    components = folder.split("/")
    if _DRIVE.fullmatch(components[0]):
        raise InvalidName("The folder must be relative: it can't begin with a drive.")
    for component in components:
        _check_component(component, "folder")
    if len(folder.encode()) > MAX_FOLDER_BYTES:
        raise InvalidName(f"The folder is longer than {MAX_FOLDER_BYTES} bytes.")
    return folder


def numbered(name: str, number: int) -> str:
    """The name with ` (number)` before its suffix, shortened where it would pass 255 bytes: `photo (1).jpg`."""
    suffix = PurePosixPath(name).suffix
    if len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        suffix = ""
    ending = f" ({number}){suffix}"
    stem = name.removesuffix(suffix).encode()[: MAX_NAME_BYTES - len(ending.encode())]
    return stem.decode(errors="ignore") + ending  # `ignore` drops a character that the cut went through


def _check_component(name: str, what: str) -> None:
    if not name:
        raise InvalidName(f"A {what} can't be empty.")
    if name in {".", ".."}:
        raise InvalidName(f"A {what} can't be {name!r}.")
    if "/" in name or "\\" in name:
        raise InvalidName(f"A {what} can't contain slashes or backslashes; name folders in `path`, separated by '/'.")
    for character in name:
        _check_character(character, what)
    if name.isspace():
        raise InvalidName(f"A {what} can't be all white space.")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidName(f"A {what} can't be longer than {MAX_NAME_BYTES} bytes in UTF-8.")
    if name.casefold().startswith(PRIVATE_PREFIX):
        raise InvalidName(f"Names that begin with {PRIVATE_PREFIX!r} are the server's own.")


def _check_character(character: str, what: str) -> None:
    code = f"U+{ord(character):04X}"
    category = unicodedata.category(character)
    if category == "Cc":
        raise InvalidName(f"A {what} can't contain the control character {code}.")
    if category == "Cs":
        raise InvalidName(f"A {what} must be valid Unicode; it contains the lone surrogate {code}.")
    if character in _REORDERING:
        raise InvalidName(f"A {what} can't contain {code}, which changes the order in which text is shown.")
