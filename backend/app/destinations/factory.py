"""A destination from its URL, as it stands in the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from app.destinations.disk import DiskDestination
from app.destinations.port import Destination

__all__ = ["DestinationUrlError", "from_url"]


class DestinationUrlError(ValueError):
    """A destination's URL can't be used; the message is one line that says what is allowed."""


def from_url(url: str) -> Destination:
    """The destination that the URL names; nothing is touched yet.

    Args:
        url: `disk:PATH`; a relative PATH counts from the working directory, `~` is the home directory.

    Raises:
        DestinationUrlError: unknown scheme, or the rest can't be used.
    """
    scheme, colon, rest = url.strip().partition(":")
    make = _SCHEMES.get(scheme.lower())
    if not colon or make is None:
        known = ", ".join(f"{name}:" for name in sorted(_SCHEMES))
        raise DestinationUrlError(f"{url!r} is no destination this server knows; it must begin with one of {known}")
    return make(rest)


def _disk(rest: str) -> Destination:
    if not rest.strip() or "\0" in rest:
        raise DestinationUrlError("disk: needs the path of a directory behind it, as in disk:/srv/files")
    if rest.startswith("//") and not rest.startswith("///"):
        raise DestinationUrlError(f"'disk:{rest}' names a host; write disk:{rest[1:]} for the path {rest[1:]}")
    try:
        return DiskDestination(Path(rest).expanduser())
    except RuntimeError as exc:
        raise DestinationUrlError(f"disk:{rest}: {exc}") from exc


_SCHEMES: Final[dict[str, Callable[[str], Destination]]] = {"disk": _disk}
