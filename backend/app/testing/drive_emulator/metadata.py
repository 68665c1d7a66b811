"""What a client says of a file, and what an upload is to become."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

from app.testing.drive_emulator.errors import ApiRefusal
from app.testing.drive_emulator.model import Caller, DriveFile

__all__ = ["Intent", "Metadata", "media_type_of", "parse_error"]


@dataclass(slots=True, kw_only=True)
class Metadata:
    """What a client says of a file; None where it says nothing."""

    id: str | None = None
    name: str | None = None
    mime_type: str | None = None
    parents: list[str] | None = None
    trashed: bool | None = None
    description: str | None = None
    app_properties: dict[str, str | None] = field(default_factory=dict)
    properties: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: object) -> Metadata:
        """From a request's JSON.

        Raises:
            ApiRefusal: it has another form; unknown names are ignored, as Drive does.
        """
        forms: dict[str, tuple[str, type]] = {
            "id": ("id", str),
            "name": ("name", str),
            "mimeType": ("mime_type", str),
            "parents": ("parents", list),
            "trashed": ("trashed", bool),
            "description": ("description", str),
            "appProperties": ("app_properties", dict),
            "properties": ("properties", dict),
        }
        if not isinstance(body, dict):
            raise parse_error()
        known = {forms[name][0]: value for name, value in body.items() if name in forms and value is not None}
        if not all(isinstance(body[name], forms[name][1]) for name in forms if body.get(name) is not None):
            raise parse_error()
        if not all(isinstance(parent, str) for parent in known.get("parents", ())):
            raise parse_error()
        for named in ("app_properties", "properties"):
            if not all(value is None or isinstance(value, str) for value in known.get(named, {}).values()):
                raise parse_error()
        return cls(**{**known, "mime_type": media_type_of(known.get("mime_type"))})


def media_type_of(said: str | None) -> str | None:
    """A type as it was said, which must be able to stand in a header.

    Raises:
        ApiRefusal: it can't.
    """
    if said is not None and not (said.isascii() and said.isprintable()):
        raise ApiRefusal(HTTPStatus.BAD_REQUEST, "badRequest", "Bad Request")
    return said


@dataclass(frozen=True, slots=True)
class Intent:
    """What an upload is to become."""

    data: Metadata
    caller: Caller
    all_drives: bool
    fields: str | None
    media_type: str | None
    target: DriveFile | None
    """The file whose content is replaced; None: one is created."""


def parse_error() -> ApiRefusal:
    """A body in another form than the method has."""
    return ApiRefusal(HTTPStatus.BAD_REQUEST, "parseError", "Parse Error")
