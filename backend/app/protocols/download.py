"""What a download's headers say: Range (RFC 9110 section 14) in, Content-Disposition (RFC 6266) out."""

from __future__ import annotations

import re
from urllib.parse import quote

from app.core.errors import RangeNotSatisfiable

__all__ = ["attachment", "requested_range"]

_BYTES = re.compile(r"bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", re.IGNORECASE)
_DIGITS = 18  # no file has so many bytes that more are needed


def requested_range(field: str | None, size: int) -> tuple[int, int] | None:
    """The `[start, end)` that one range asks for; None for the whole file.

    A field that we don't take (another unit, several ranges, nonsense) is ignored, as section 14.2 allows.

    Raises:
        RangeNotSatisfiable: it lies outside the file.
    """
    match = _BYTES.fullmatch(field.strip()) if field is not None else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if last and len(first.lstrip("0")) > len(last.lstrip("0")):
        return None  # a last byte before the first one
    if not first:
        start, end = max(0, size - _position(last)), size
    else:
        start, end = _position(first), min(_position(last) + 1, size) if last else size
        if last and _position(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(f"The file has {size} bytes.", size=size)
    return start, end


def _position(digits: str) -> int:
    """The number, or one beyond the end of any file."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


def attachment(filename: str) -> str:
    """Content-Disposition that saves under `filename`: an ASCII fallback, and the real name as RFC 8187 writes it."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", filename)
    field = f'attachment; filename="{plain}"'
    return field if plain == filename else f"{field}; filename*=UTF-8''{quote(filename, safe='')}"
