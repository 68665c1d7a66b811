"""What must not be in a log is not in a log: the last processor before rendering.

Laws: everything that leaves here is what JSON can hold (no object's `repr` is made later, where nobody would look at
it), and nothing that leaves here holds a secret that these rules know:
- a value under a key that names a secret is replaced whole, at any depth, also in `(name, value)` pairs as headers are;
- within any text, bearer credentials, our tokens, passwords in URLs and the capability of a resumable session are cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, MutableMapping
from datetime import date
from functools import lru_cache
from pathlib import PurePath

__all__ = ["REDACTED", "escape_controls", "redact_event", "redact_text"]

REDACTED = "[redacted]"
_DEEPEST = 8
_LONGEST = 8192

_SECRET_KEY = re.compile(
    r"(?:.*[_-])?(?:authorization|cookies?|token|secret|secret[_-]hash|passw(?:or)?d|credentials?|api[_-]?key"
    r"|session[_-]ur[il]|transfer[_-]state)",
    re.IGNORECASE,
)
_SECRETS_IN_TEXT = (
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\bfb_[A-Za-z0-9_-]{16,}"), REDACTED),
    (re.compile(r"([?&]upload_id=)[^&\s\"'\\]+"), rf"\1{REDACTED}"),  # a Drive session URI: whoever has it can write
    (
        re.compile(r"\b(ya29\.|1//|GOCSPX-)[A-Za-z0-9_.-]{8,}"),
        REDACTED,
    ),  # Google's access and refresh tokens, client secrets
    (re.compile(r"(://)[^/\s\"'@]+@"), rf"\1{REDACTED}@"),
)
_SUSPECT = re.compile(
    r"bearer|basic|fb_|upload_id=|//|ya29|gocspx", re.IGNORECASE
)  # most texts hold nothing of the kind


def redact_text(text: str) -> str:
    """The text without what looks like a credential; cut off where it is unreasonably long."""
    if _SUSPECT.search(text):
        for pattern, replacement in _SECRETS_IN_TEXT:
            text = pattern.sub(replacement, text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def escape_controls(text: str, *, keep: str = "") -> str:
    """The text with control, format and surrogate characters as backslash escapes, for a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text)


@lru_cache(maxsize=1024)
def _names_secret(key: Hashable) -> bool:
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    return isinstance(key, str) and _SECRET_KEY.fullmatch(key) is not None


def _as_text(value: object) -> str | None:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:_LONGEST]).decode("utf-8", "backslashreplace")
    return str(value) if isinstance(value, (str, date, PurePath)) else None


def _clean(value: object, depth: int = 0) -> object:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = _as_text(value)
    if text is not None:
        return redact_text(text)
    return _clean_container(value, depth + 1) if depth < _DEEPEST else "…"


def _clean_container(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        return {str(key): REDACTED if _names_secret(key) else _clean(item, depth) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and isinstance(value[0], (str, bytes)) and _names_secret(value[0]):  # noqa: PLR2004 - a header
            return [_clean(value[0], depth), REDACTED]
        return [_clean(item, depth) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_clean(item, depth) for item in value), key=str)
    return redact_text(repr(value))


def redact_event(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """A structlog processor; the logger's own fields (with a leading underscore) are left to their owner."""
    return {
        key: value if key.startswith("_") else REDACTED if _names_secret(key) else _clean(value)
        for key, value in event.items()
    }
