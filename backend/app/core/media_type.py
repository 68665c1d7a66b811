"""Media types as clients say them of their files (RFC 9110 section 8.3.1)."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MAX_MEDIA_TYPE", "MEDIA_TYPE", "media_type_of"]

MAX_MEDIA_TYPE: Final = 255  # characters
MEDIA_TYPE: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+( *; *[\x20-\x7e]+)?$"
_ANYTHING: Final = "application/octet-stream"


def media_type_of(said: str | None) -> str:
    """What was said, if it is a media type; for protocols in which it is not worth a refusal."""
    if said is None or len(said) > MAX_MEDIA_TYPE or re.fullmatch(MEDIA_TYPE, said) is None:
        return _ANYTHING
    return said
