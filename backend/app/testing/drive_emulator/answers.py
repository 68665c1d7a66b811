"""Answers of the API: resources, cut down to the fields asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus

from aiohttp import web

from app.testing.drive_emulator.errors import ApiRefusal
from app.testing.drive_emulator.fields import FILE_FIELDS, Mask, parse_fields, select
from app.testing.drive_emulator.model import DriveFile, resource
from app.testing.drive_emulator.tree import Tree

__all__ = ["file_answer", "json_answer", "json_of", "number_of", "selected"]

_NUMBER = re.compile(r"[0-9]{1,18}")
_DEFAULT_FIELDS = "kind,id,name,mimeType"


def json_answer(value: object, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """Indented, as Google's are."""
    body = json.dumps(value, indent=1, ensure_ascii=False).encode()
    return web.Response(body=body, content_type="application/json", charset="utf-8", headers=headers)


def json_of(body: bytes | bytearray) -> object:
    """The object in a body; nothing is an empty one.

    Raises:
        ApiRefusal: it is something else.
    """
    try:
        value: object = json.loads(body) if body.strip() else {}
        json.dumps(
            value, ensure_ascii=False
        ).encode()  # a surrogate alone is no text: nothing could be answered with it
    except (ValueError, RecursionError):
        raise ApiRefusal(HTTPStatus.BAD_REQUEST, "parseError", "Parse Error") from None
    return value


def number_of(text: str) -> int | None:
    """The whole number that a header or parameter is; None where it is none, or none that is a size."""
    return int(text) if _NUMBER.fullmatch(text) else None


def selected(
    value: Mapping[str, object], fields: str | None, default: str, known: Collection[str]
) -> dict[str, object]:
    """The value's fields that were asked for.

    Raises:
        ApiRefusal: there are no such fields.
    """
    mask: Mask = parse_fields(fields or default)
    return select(value, mask, known)


def file_answer(
    tree: Tree, file: DriveFile, fields: str | None, *, wrong: bool = False, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A file's resource; `wrong`: with digests of other bytes."""
    value = resource(file, trashed=tree.is_trashed(file), wrong=wrong)
    return json_answer(selected(value, fields, _DEFAULT_FIELDS, FILE_FIELDS), headers=headers)
