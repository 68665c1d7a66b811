"""tus 1.0.0, the resumable upload protocol of tus.io: header fields in, values out, and back. No I/O.

Core, and all of its extensions.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from typing import Final

from app.core.errors import (
    FileTooLarge,
    InvalidDigest,
    InvalidRequest,
    UnsupportedMediaType,
    UnsupportedProtocolVersion,
)
from app.core.sizes import in_units
from app.core.upload import PARTIAL

__all__ = [
    "EXPOSED_FIELDS",
    "MEDIA_TYPE",
    "REQUEST_FIELDS",
    "VERSION",
    "Algorithm",
    "Append",
    "Checksum",
    "Creation",
    "Metadata",
    "capabilities",
    "check_version",
    "expires",
    "parse_append",
    "parse_creation",
    "parse_metadata",
    "parse_trailer",
]

VERSION: Final = "1.0.0"
MEDIA_TYPE: Final = "application/offset+octet-stream"
EXTENSIONS: Final = (
    "creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "checksum-trailer",
    "termination", "concatenation", "concatenation-unfinished",
)  # fmt: skip
_NOT_RELAYED: Final = frozenset({"concatenation", "concatenation-unfinished"})

REQUEST_FIELDS: Final = (
    "Tus-Resumable", "Upload-Length", "Upload-Defer-Length", "Upload-Offset", "Upload-Metadata", "Upload-Checksum",
    "Upload-Concat", "X-HTTP-Method-Override",
)  # fmt: skip
"""What a browser's page from elsewhere must be allowed to send (Fetch, CORS protocol)."""
EXPOSED_FIELDS: Final = (
    "Location", "Tus-Version", "Tus-Resumable", "Tus-Max-Size", "Tus-Extension", "Tus-Checksum-Algorithm",
    "Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Expires",
    "Upload-Concat",
)  # fmt: skip
"""What such a page must be allowed to read."""

MAX_METADATA: Final = 8192  # characters; beyond what header fields may have together, the request is refused anyway
_CHECKSUM: Final = "upload-checksum"
_DECIMAL: Final = re.compile(r"[0-9]{1,19}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_KEY: Final = re.compile(r"[!-+\--~]+")  # ASCII, neither empty nor with space or comma (tus, Upload-Metadata)


class Algorithm(StrEnum):
    """For `Upload-Checksum`; tus asks for sha1 at least."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"
    MD5 = "md5"
    CRC32C = "crc32c"


_DIGEST_BYTES: Final = {
    Algorithm.SHA1: 20,
    Algorithm.SHA256: 32,
    Algorithm.SHA512: 64,
    Algorithm.MD5: 16,
    Algorithm.CRC32C: 4,
}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the client says the bytes of this request are; CRC32C as four bytes, most significant first."""

    algorithm: Algorithm
    value: bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """`Upload-Metadata`: as it came, and what it says. Values that are no UTF-8 are kept in the former only."""

    text: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def first(self, *keys: str) -> str | None:
        """The value of the first of these keys that has one which is not empty."""
        return next((value for key in keys if (value := self.values.get(key))), None)


@dataclass(frozen=True, slots=True)
class Creation:
    """A POST that makes an upload."""

    length: int | None
    """None: said later, with a PATCH; or it is the sum of its parts'."""
    metadata: Metadata
    carries_bytes: bool
    """Whether its body is the beginning of the file (creation-with-upload)."""
    checksum: Checksum | None
    checksum_follows: bool = False
    """In the body's trailer."""
    concat: str | None = None
    """`Upload-Concat` as it came."""
    parts: tuple[str, ...] = ()
    """The ids of the uploads that a final one is made of, in order."""


@dataclass(frozen=True, slots=True)
class Append:
    """A PATCH."""

    offset: int
    length: int | None
    """Of the file, where it is said now."""
    checksum: Checksum | None
    checksum_follows: bool = False
    """In the body's trailer."""


def capabilities(max_size: int, *, relayed: bool) -> dict[str, str]:
    """The fields that answer OPTIONS; `relayed`: see `parse_creation`."""
    return {
        "Tus-Version": VERSION,
        "Tus-Max-Size": str(max_size),
        "Tus-Extension": ",".join(each for each in EXTENSIONS if not (relayed and each in _NOT_RELAYED)),
        "Tus-Checksum-Algorithm": ",".join(Algorithm),
    }


def check_version(fields: Mapping[str, str]) -> None:
    """Every request but OPTIONS says its version.

    Raises:
        UnsupportedProtocolVersion: it says none, or another.
    """
    if fields.get("tus-resumable") != VERSION:
        raise UnsupportedProtocolVersion(
            f"This server speaks tus {VERSION}; say so in Tus-Resumable.", versions=[VERSION]
        )


def parse_creation(fields: Mapping[str, str], *, max_size: int, relayed: bool = False) -> Creation:
    """Read a POST.

    Args:
        fields: header fields, names in lower case.
        max_size: of a file, in bytes.
        relayed: bytes go on to their destination as they come, so nothing is put together.

    Raises:
        InvalidRequest, InvalidDigest: a field is missing, malformed, or there beside one that it contradicts.
        FileTooLarge: a length above `max_size`.
        UnsupportedMediaType: it has a body that is not said to be the file's bytes.
    """
    metadata, concat = parse_metadata(fields.get("upload-metadata")), fields.get("upload-concat")
    if relayed and concat is not None:
        raise InvalidRequest("This server does not concatenate: see OPTIONS.")
    if concat is not None and concat != PARTIAL:
        return _final(fields, metadata, concat)
    length = _length(fields)
    if length is not None and length > max_size:
        raise FileTooLarge(f"Files may have up to {in_units(max_size)} here.", limit=max_size)
    carries_bytes = _has_body(fields)
    if carries_bytes:
        _check_media_type(fields)
    return Creation(length, metadata, carries_bytes, _checksum(fields), _checksum_follows(fields), concat)


def _final(fields: Mapping[str, str], metadata: Metadata, concat: str) -> Creation:
    """A POST that makes an upload out of others."""
    kind, semicolon, urls = concat.partition(";")
    parts = tuple(url.rpartition("/")[2] for url in urls.split(" ") if url)
    if kind.strip() != "final" or not semicolon or not parts:
        raise InvalidRequest("Upload-Concat is `partial`, or `final;` and the addresses of partial uploads.")
    if not all(_ID.fullmatch(part) for part in parts):
        raise InvalidRequest("Upload-Concat names something that is no upload of this server.")
    if "upload-length" in fields or "upload-defer-length" in fields:
        raise InvalidRequest("The length of a final upload is the sum of its parts'; send no Upload-Length.")
    if _has_body(fields):
        raise InvalidRequest("A final upload takes no bytes of its own.")
    return Creation(None, metadata, carries_bytes=False, checksum=None, concat=concat, parts=parts)


def parse_append(fields: Mapping[str, str]) -> Append:
    """Read a PATCH.

    Raises:
        UnsupportedMediaType: the body is not said to be `application/offset+octet-stream`.
        InvalidRequest, InvalidDigest: a field is missing or malformed.
    """
    _check_media_type(fields)
    length = _number(fields, "upload-length") if "upload-length" in fields else None
    return Append(_number(fields, "upload-offset"), length, _checksum(fields), _checksum_follows(fields))


def parse_trailer(trailer: Sequence[tuple[str, str]]) -> Checksum:
    """Read what `checksum_follows` has announced, names in lower case.

    Raises:
        InvalidDigest: it is not there, more than once, or malformed.
    """
    found = [value for name, value in trailer if name == _CHECKSUM]
    if len(found) != 1:
        raise InvalidDigest("Upload-Checksum was announced for the trailer, and is not there once.")
    return _parse_checksum(found[0])


def parse_metadata(text: str | None) -> Metadata:
    """Read `Upload-Metadata`: pairs of a key and a base64 value, or keys alone, with commas in between.

    Raises:
        InvalidRequest: a key that can't be one or is there twice, a value that is no base64, or far too much.
    """
    if text is None or not text.strip():
        return Metadata()
    if len(text) > MAX_METADATA:
        raise InvalidRequest(f"Upload-Metadata may have up to {MAX_METADATA} characters.")
    values: dict[str, str] = {}
    seen: set[str] = set()
    for pair in text.split(","):
        key, _, encoded = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key):
            raise InvalidRequest("Upload-Metadata has a key that is empty or not printable ASCII.")
        if key in seen:
            raise InvalidRequest("Upload-Metadata has a key twice.")
        seen.add(key)
        try:
            value = base64.b64decode(encoded.strip(" \t"), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise InvalidRequest("Upload-Metadata has a value that is not base64.") from exc
        try:
            values[key] = value.decode()
        except UnicodeDecodeError:
            continue
    return Metadata(text, values)


def expires(at: float) -> str:
    """`Upload-Expires`: seconds since the epoch as an HTTP date (RFC 9110 section 5.6.7)."""
    return formatdate(at, usegmt=True)


def _length(fields: Mapping[str, str]) -> int | None:
    """Of a file that is begun; None where it is deferred."""
    deferred = fields.get("upload-defer-length")
    if deferred is None:
        return _number(fields, "upload-length")
    if deferred != "1":
        raise InvalidRequest("Upload-Defer-Length can only be 1.")
    if "upload-length" in fields:
        raise InvalidRequest("Send Upload-Length or Upload-Defer-Length, not both.")
    return None


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name)
    if text is None:
        raise InvalidRequest(f"{_spelled(name)} is missing.")
    if not _DECIMAL.fullmatch(text):
        raise InvalidRequest(f"{_spelled(name)} must be a whole number of bytes.")
    return int(text)


def _spelled(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _has_body(fields: Mapping[str, str]) -> bool:
    return fields.get("content-length", "0").strip("0") != "" or "transfer-encoding" in fields


def _check_media_type(fields: Mapping[str, str]) -> None:
    if fields.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise UnsupportedMediaType(f"The bytes of a file are sent as {MEDIA_TYPE}.")


def _checksum(fields: Mapping[str, str]) -> Checksum | None:
    return _parse_checksum(fields[_CHECKSUM]) if _CHECKSUM in fields else None


def _checksum_follows(fields: Mapping[str, str]) -> bool:
    if _CHECKSUM not in {name.strip().lower() for name in fields.get("trailer", "").split(",")}:
        return False
    if _CHECKSUM in fields:
        raise InvalidRequest("Upload-Checksum comes with the header or in the trailer, not both.")
    if "transfer-encoding" not in fields:
        raise InvalidRequest("A trailer needs Transfer-Encoding: chunked.")  # RFC 9112 section 7.1.2
    return True


def _parse_checksum(field: str) -> Checksum:
    name, _, encoded = field.strip().partition(" ")
    if name not in set(Algorithm):
        raise InvalidDigest(f"This checksum algorithm is not known here; use one of {', '.join(Algorithm)}.")
    algorithm = Algorithm(name)
    try:
        value = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidDigest("The checksum is not valid base64.") from exc
    if len(value) != _DIGEST_BYTES[algorithm]:
        raise InvalidDigest(f"A {algorithm} checksum has {_DIGEST_BYTES[algorithm]} bytes, not {len(value)}.")
    return Checksum(algorithm, value)
