"""Bearer tokens: made, hashed, and how long they last. Pure but for the random source.

The secret has 256 random bits, so a plain SHA-256 is a safe way to keep it: there is nothing to guess, and no salt or
slow hash would add anything. The prefix lets people, logs and secret scanners tell what it is.
"""

from __future__ import annotations

import hashlib
import re
import secrets

__all__ = ["TOKEN_PREFIX", "hash_token", "new_token", "parse_duration"]

TOKEN_PREFIX = "fb_"  # noqa: S105 - what they all begin with
_SECRET_BYTES = 32
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def hash_token(token: str) -> str:
    """What is stored and looked up: SHA-256 of the whole token, lower-case hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_token() -> tuple[str, str]:
    """A new token, to be shown once, and its hash, to be stored."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    return token, hash_token(token)


def parse_duration(text: str) -> int:
    """Seconds in `90s`, `45m`, `12h`, `30d` or `8w`.

    Raises:
        ValueError: it is none of these; the message says so.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} is no duration: write a whole number and s, m, h, d or w, such as 30d"
        raise ValueError(msg)
    return int(match[1]) * _UNIT_S[match[2]]
