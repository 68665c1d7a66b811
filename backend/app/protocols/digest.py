"""The digest field of RFC 9530 (`Content-Digest`): a dictionary of byte sequences (RFC 8941 section 3.2).

`sha-256=:base64:` and `crc32c=:base64 of the four bytes, most significant first:` are understood (the registered keys);
other registered algorithms are ignored as RFC 9530 section 2 allows, unless nothing is left to check: then the client
would believe in a check that nobody makes, so it is told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import crc32c

from app.core.errors import DigestMismatch, InvalidDigest

__all__ = ["NOTHING_DECLARED", "DeclaredDigest", "DigestCheck", "format_digest", "parse_digest", "parse_digest_lines"]

_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):\s*")
_LENGTHS = {"sha-256": 32, "crc32c": 4}
_MAX_FIELD = 1024


@dataclass(frozen=True, slots=True)
class DeclaredDigest:
    """What the client says its bytes are."""

    sha256: bytes | None = None
    crc32c: int | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to check."""
        return self.sha256 is not None or self.crc32c is not None


NOTHING_DECLARED = DeclaredDigest()


class DigestCheck:
    """Whether bytes that come piece by piece are what was declared."""

    def __init__(self, declared: DeclaredDigest) -> None:
        """Nothing has come yet."""
        self._declared = declared
        self._crc = 0
        self._sha256 = hashlib.sha256()

    def update(self, view: memoryview) -> None:
        """Take the next bytes; in any thread, one call after the other."""
        if self._declared.crc32c is not None:
            self._crc = crc32c.crc32c(view, self._crc)
        if self._declared.sha256 is not None:
            self._sha256.update(view)

    def judge(self) -> None:
        """All have come.

        Raises:
            DigestMismatch: they are others.
        """
        right = self._declared.crc32c in {None, self._crc} and self._declared.sha256 in {None, self._sha256.digest()}
        if not right:
            raise DigestMismatch


def parse_digest_lines(lines: Sequence[str] | None) -> DeclaredDigest:
    """Read a field that may come in several lines, which are one dictionary (RFC 9110 section 5.3); raises as `parse_digest`."""
    return parse_digest(", ".join(lines) if lines else None)


def parse_digest(field: str | None) -> DeclaredDigest:
    """Read the field; empty when there is none.

    Raises:
        InvalidDigest: not a dictionary of byte sequences, bad base64, a wrong length, or no algorithm that we know.
    """
    if field is None:
        return NOTHING_DECLARED
    if len(field) > _MAX_FIELD:
        raise InvalidDigest("The digest field is too long.")
    found: dict[str, bytes] = {}
    for member in field.split(","):
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise InvalidDigest
        algorithm, text = match.groups()
        try:
            value = base64.b64decode(text, validate=True)
        except binascii.Error as exc:
            raise InvalidDigest("The digest is not valid base64.") from exc
        if algorithm in _LENGTHS:
            if len(value) != _LENGTHS[algorithm]:
                raise InvalidDigest(f"A {algorithm} digest has {_LENGTHS[algorithm]} bytes, not {len(value)}.")
            found[algorithm] = value
    if not found:
        raise InvalidDigest("None of these digest algorithms is known here; send sha-256 or crc32c.")
    crc = found.get("crc32c")
    return DeclaredDigest(found.get("sha-256"), int.from_bytes(crc) if crc is not None else None)


def format_digest(sha256_hex: str | None, crc32c: int | None) -> str | None:
    """The field for what we computed; None when there is nothing to say."""
    members = []
    if sha256_hex is not None:
        members.append(f"sha-256=:{base64.b64encode(bytes.fromhex(sha256_hex)).decode()}:")
    if crc32c is not None:
        members.append(f"crc32c=:{base64.b64encode(crc32c.to_bytes(4)).decode()}:")
    return ", ".join(members) or None
