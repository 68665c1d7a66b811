"""The file with the login to Google Drive: read, judged, written, removed.

Laws:
- a file decides who we are, never where our secrets go: addresses in it are compared with the ones that the settings
  lead to, and are not used; one that names another host is refused;
- it is written whole, synced and readable by nobody else, or it stays as it was;
- no message, `repr` or error holds anything secret of it, nor its path: uploaders may see these errors.

Blocking; no thread may write while another one does.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from app.core.errors import DestinationLoginLost
from app.destinations.google_drive.options import SCOPE_ALL, GoogleDriveOptions

__all__ = [
    "Kind",
    "Login",
    "Stamp",
    "check_addresses",
    "read_login",
    "read_object",
    "remove_login",
    "stamp_of",
    "write_login",
]

_GOOGLES: Final = frozenset({"accounts.google.com", "oauth2.googleapis.com", "www.googleapis.com"})
_UNIVERSE: Final = "googleapis.com"
_LARGEST_BYTES: Final = 65_536
_LOG_IN: Final = "run `forebay-server drive login`"


class Kind(StrEnum):
    """What a login is, named as Google's files name it."""

    USER = "authorized_user"
    SERVICE_ACCOUNT = "service_account"


class Stamp(NamedTuple):
    """What changes when the file does."""

    inode: int
    modified_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are at Google Drive."""

    kind: Kind
    info: Mapping[str, Any] = field(repr=False)
    scopes: tuple[str, ...]
    who: str
    """An address for people, "" where the file has none."""
    ends_at: float | None
    """When Google said that it will end, whatever is done with it (an app in "Testing": after 7 days); epoch seconds."""
    open_to_others: bool
    """Whether users of the machine who are not in this one's group may use the file."""
    stamp: Stamp


def stamp_of(path: Path) -> Stamp | None:
    """The file's stamp, None when there is no file."""
    try:
        return _stamp(path.stat())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unreadable(exc.strerror) from exc


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_ino, found.st_mtime_ns, found.st_size)


def read_login(options: GoogleDriveOptions) -> Login:
    """The login that the settings name.

    Raises:
        DestinationLoginLost: there is none, or none that can be used; says what to do.
    """
    try:
        with options.credentials.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError as exc:
        raise DestinationLoginLost(f"There is no login to Google Drive yet: {_LOG_IN}.") from exc
    except OSError as exc:
        raise _unreadable(exc.strerror) from exc
    info = read_object(text)
    if info is None:
        raise DestinationLoginLost(f"The file with the login to Google Drive is damaged: {_LOG_IN}.")
    kind = _kind(info)
    if info.get("universe_domain", _UNIVERSE) != _UNIVERSE:
        raise DestinationLoginLost("The login is for another cloud than Google's own, which Forebay does not speak to.")
    if wrong := check_addresses(options, info):
        raise DestinationLoginLost(f"The login to Google Drive {wrong}. Nothing of it was sent; {_LOG_IN}.")
    return Login(
        kind,
        info,
        (SCOPE_ALL,) if kind is Kind.SERVICE_ACCOUNT else _scopes(info),
        str(info.get("client_email" if kind is Kind.SERVICE_ACCOUNT else "account", "")),
        _moment(info.get("login_ends_at")),
        bool(found.st_mode & stat.S_IRWXO or (found.st_mode & stat.S_IRWXG and found.st_gid != os.getegid())),
        _stamp(found),
    )


def read_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that the text is, or None."""
    try:
        found = json.loads(text) if len(text) <= _LARGEST_BYTES else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _kind(info: Mapping[str, Any]) -> Kind:
    if "installed" in info or "web" in info:
        raise DestinationLoginLost(
            "Where the login to Google Drive should be is an OAuth client's file:"
            " run `forebay-server drive login --client-secrets FILE` with it, and keep it elsewhere."
        )
    needed = {
        Kind.USER: ("client_id", "client_secret", "refresh_token"),
        Kind.SERVICE_ACCOUNT: ("client_email", "private_key"),
    }
    for kind, names in needed.items():
        if info.get("type") == kind:
            if missing := [name for name in names if not isinstance(info.get(name), str) or not info[name]]:
                raise DestinationLoginLost(f"The login to Google Drive lacks {missing[0]}: {_LOG_IN}.")
            return kind
    raise DestinationLoginLost(
        f"The login to Google Drive is of another type than {' and '.join(Kind)}, which are understood: {_LOG_IN}."
    )


def _scopes(info: Mapping[str, Any]) -> tuple[str, ...]:
    scopes = info.get("scopes", ())
    if isinstance(scopes, str):
        return tuple(scopes.split())
    return tuple(each for each in scopes if isinstance(each, str)) if isinstance(scopes, list) else ()


def _moment(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def check_addresses(options: GoogleDriveOptions, info: Mapping[str, Any]) -> str | None:
    """What is wrong with the addresses in a file of Google's kind: a part of a sentence, or None."""
    ours = urlsplit(options.api_root)
    for name in ("token_uri", "auth_uri"):
        if name not in info:
            continue
        parts = urlsplit(str(info[name]))
        if (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc):
            continue
        if parts.scheme != "https" or parts.netloc not in _GOOGLES:
            expected = "Google" if options.is_google else f"Google or {ours.netloc} (FOREBAY_GOOGLE_DRIVE_API_ROOT)"
            return f"names another host than {expected} in {name}: {parts.hostname or 'none'}"
    return None


def _unreadable(reason: str | None) -> DestinationLoginLost:
    return DestinationLoginLost(
        f"The file with the login to Google Drive can't be read ({reason}):"
        " it must belong to the user that runs the server (FOREBAY_GOOGLE_DRIVE_CREDENTIALS)."
    )


def write_login(path: Path, info: Mapping[str, object]) -> None:
    """Put a login in the place of the one that is there: whole, synced, for its owner only.

    Raises:
        OSError: it can't be written; what was there is unchanged.
    """
    path = path.resolve()  # a symbolic link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from its first moment
    step = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(info, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        step.rename(path)
    except BaseException:
        with suppress(OSError):
            step.unlink()
        raise
    _sync_folder(path.parent)


def remove_login(path: Path) -> None:
    """Remove the login; nothing happens when there is none.

    Raises:
        OSError: it can't be removed.
    """
    path = path.resolve()
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
