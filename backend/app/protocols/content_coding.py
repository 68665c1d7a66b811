"""Which form of a content a request gets (RFC 9110): Accept-Encoding and If-None-Match in, decisions out."""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = ["best_coding", "is_unchanged"]

_MEMBER = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?")
_PREFERRED = ("br", "gzip")  # the smallest first
_ETAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def best_coding(field: str | None, offered: Collection[str]) -> str | None:
    """The content coding to answer in, of those `offered`; None: as it is.

    Members that can't be read are ignored; with the same weight the smaller form wins (section 12.5.3).
    """
    weights: dict[str, float] = {}
    for member in (field or "").split(","):
        match = _MEMBER.fullmatch(member)
        if match is not None:
            weights[match[1].lower()] = float(match[2] or 1)
    any_other = weights.get("*", 0.0)
    found: str | None = None
    best = 0.0
    for coding in _PREFERRED:
        weight = weights.get(coding, any_other)
        if coding in offered and weight > best:
            found, best = coding, weight
    return found if best >= weights.get("identity", 0.0) else None


def is_unchanged(field: str | None, etag: str) -> bool:
    """Whether the requester has the content under that entity tag already (section 13.1.2, weak comparison)."""
    if field is None:
        return False
    return field.strip() == "*" or etag in _ETAG.findall(field)
