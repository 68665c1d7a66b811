"""Structured field values (RFC 9651), as far as fields of ours are such items: whole numbers and booleans.

A field that is something else is no field (RFC 9651 section 4.2): the specifications that use these say the same.
"""

from __future__ import annotations

from http_sf import StructuredFieldError, parse

__all__ = ["boolean", "format_boolean", "whole_number"]

_MAX_FIELD = 256
"""Characters; what has more is no number or boolean, whatever parameters it has."""


def _item(field: str | None) -> object:
    """The bare item of a field, without its parameters, which mean nothing here; None when it is not one."""
    if field is None or len(field) > _MAX_FIELD:
        return None
    try:
        item = parse(field.encode("latin-1"), tltype="item")
    except (StructuredFieldError, UnicodeEncodeError):
        return None
    return item[0] if isinstance(item, tuple) else None


def whole_number(field: str | None) -> int | None:
    """An Integer that is not negative."""
    value = _item(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def boolean(field: str | None) -> bool | None:
    """A Boolean."""
    value = _item(field)
    return value if isinstance(value, bool) else None


def format_boolean(value: bool) -> str:  # noqa: FBT001 - it is what is formatted
    """As a field's value."""
    return "?1" if value else "?0"
