"""`Content-Disposition` of something that is sent to us (RFC 6266): the name of a file."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["filename_of"]

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2
_PARAMETER: Final = re.compile(rf';[ \t]*({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_EXTENDED: Final = re.compile(r"(utf-8|iso-8859-1)'[^']*'(.*)", re.IGNORECASE)  # RFC 8187 section 3.2


def filename_of(field: str | None) -> str | None:
    """The file's name as the sender says it; `filename*` before `filename`. None: no name that can be read.

    It is data: whether a file may have that name is for `app.core.names`.

    Args:
        field: as ASGI gives it, one character for each octet.
    """
    if field is None:
        return None
    kind, semicolon, rest = field.partition(";")
    del kind  # inline, attachment, form-data: the name means the same
    parameters: dict[str, str] = {}
    position, text = 0, semicolon + rest
    while match := _PARAMETER.match(text, position):
        name, token, quoted = match.groups()
        parameters.setdefault(name.lower(), token if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted))
        position = match.end()
    extended = _EXTENDED.fullmatch(parameters.get("filename*", ""))
    if extended is not None:
        charset, encoded = extended.groups()
        try:
            return unquote_to_bytes(encoded).decode(charset)
        except UnicodeDecodeError:
            pass
    plain = parameters.get("filename")
    return None if plain is None else _as_meant(plain)


def _as_meant(text: str) -> str:
    """Octets that are UTF-8 are UTF-8, as clients send them, whatever RFC 9110 section 5.5 says of old."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
