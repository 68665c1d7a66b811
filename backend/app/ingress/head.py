"""The head of a request: bytes in, a checked head or a refusal out. Sans-IO.

Laws:
- Nothing reaches the HTTP parser before the whole head has been seen, is within its limits and is strictly formed;
  so the parser buffers nothing, and whatever two readers of HTTP might understand differently (request smuggling)
  is refused here. llhttp then reads the same head: both must agree.
- What can be refused early is: the first byte, the request line and a bare LF are judged as they come.
- Every refusal ends the connection; nothing after it is ever read as a request.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from app.core.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    MalformedRequest,
    UnsupportedTransferCoding,
)

__all__ = ["RequestHead", "find_head", "parse_fields", "parse_head"]

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# RFC 9112 section 3: single spaces, no controls, no fragment; only HTTP/1.0 and HTTP/1.1.
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])")
# RFC 9112 section 5: no space before the colon, no folded lines; RFC 9110 section 5.5: no controls but HTAB.
# White space around the value is stripped afterwards: a pattern for it would backtrack for seconds over a few KiB.
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)")
_FIRST_BYTE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z\r]")
# RFC 3986 section 3.2.2 with a port; an empty host is refused, since every resource here is an http one.
_AUTHORITY: Final = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2}){1,255})(?::[0-9]{1,5})?"
)
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]*)(/[^?]*)?(\?.*)?", re.IGNORECASE)
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")  # below 2^63
_BLANK: Final = b"\r\n"
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What of a head decides about framing; names lower-case, values without surrounding white space."""

    method: bytes
    target: bytes  # origin-form, or * with OPTIONS
    version: str  # "1.0" or "1.1"
    fields: list[tuple[bytes, bytes]]
    content_length: int | None
    chunked: bool
    expects_continue: bool
    keep_alive: bool
    trailer: frozenset[bytes]
    """Names of the trailer fields that are announced, in lower case (RFC 9110 section 6.6.2)."""


def find_head(buffer: bytearray, *, max_bytes: int) -> bytes | None:
    """The first head in `buffer`, with its final blank line; None while it is incomplete.

    Removes empty lines before the request line (RFC 9112 section 2.2) from `buffer`, and the head it returns.

    Raises:
        MalformedRequest: it can't become a valid head.
        HeadersTooLarge: it is, or will be, larger than `max_bytes`.
    """
    while buffer.startswith(_BLANK):
        del buffer[:2]
    if not buffer or buffer == b"\r":
        return None
    end = buffer.find(_END, 0, max_bytes)
    head_bytes = end + len(_END) if end >= 0 else len(buffer)
    _judge_beginning(buffer, head_bytes)
    if head_bytes > max_bytes:
        msg = f"The request's header is larger than {max_bytes} bytes."
        raise HeadersTooLarge(msg)
    if end < 0:
        return None
    head = bytes(buffer[:head_bytes])
    del buffer[:head_bytes]
    return head


def _judge_beginning(buffer: bytearray, head_bytes: int) -> None:
    if not _FIRST_BYTE.match(buffer):
        raise MalformedRequest("This is not HTTP/1.1.")
    # Counted, not searched by a pattern: this runs for each packet of a head, however small, over all that has come.
    if buffer.count(b"\n", 0, head_bytes) != buffer.count(_BLANK, 0, head_bytes):
        raise MalformedRequest("A line ends with LF alone.")
    line_end = buffer.find(_BLANK)
    if line_end >= 0 and not _REQUEST_LINE.fullmatch(buffer, 0, line_end):
        raise MalformedRequest("The request line can't be read; HTTP/1.1 is spoken here.")


def parse_fields(lines: list[bytes], *, max_fields: int) -> list[tuple[bytes, bytes]]:
    """Header or trailer fields out of their lines, in order.

    Raises:
        HeadersTooLarge: more than `max_fields`.
        MalformedRequest: one is not of the form of RFC 9112 section 5.
    """
    if len(lines) > max_fields:
        msg = f"The request has more than {max_fields} header fields."
        raise HeadersTooLarge(msg)
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise MalformedRequest("A header field can't be read.")
        fields.append((match[1].lower(), match[2].strip(b" \t")))
    return fields


def parse_head(head: bytes, *, max_fields: int) -> RequestHead:
    """Check a head found by `find_head`.

    Raises:
        HeadersTooLarge: too many fields.
        MalformedRequest: it breaks RFC 9110 or 9112, or is ambiguous.
        UnsupportedTransferCoding: a coding other than `chunked`.
        ExpectationFailed: an expectation other than `100-continue`.
    """
    first, *lines = head[: -len(_END)].split(_BLANK)
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise MalformedRequest("The request line can't be read; HTTP/1.1 is spoken here.")
    method, target, minor = match.groups()
    version = "1." + minor.decode("ascii")
    fields = parse_fields(lines, max_fields=max_fields)
    chunked = _transfer_coding(fields, version)
    content_length = _content_length(fields, chunked=chunked)
    authority = _host(fields, version)
    target, named = _origin_form(method, target)
    if named is not None and authority is not None:
        # RFC 9112 section 3.2.2: the target's authority replaces the Host field.
        fields = [(name, named if name == b"host" else value) for name, value in fields]
    options = _listed(fields, b"connection")
    return RequestHead(
        method=method,
        target=target,
        version=version,
        fields=fields,
        content_length=content_length,
        chunked=chunked,
        expects_continue=_expectation(fields, version),
        keep_alive=version == "1.1" and b"close" not in options,
        trailer=frozenset(_listed(fields, b"trailer")),
    )


def _values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for field, value in fields if field == name]


def _transfer_coding(fields: list[tuple[bytes, bytes]], version: str) -> bool:
    codings = _values(fields, b"transfer-encoding")
    if not codings:
        return False
    if version == "1.0":
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding.")  # RFC 9112 section 6.1
    if _values(fields, b"content-length"):
        raise MalformedRequest("Content-Length and Transfer-Encoding exclude each other.")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise UnsupportedTransferCoding
    return True


def _content_length(fields: list[tuple[bytes, bytes]], *, chunked: bool) -> int | None:
    lengths = _values(fields, b"content-length")
    if len(lengths) > 1 or (lengths and not _DIGITS.fullmatch(lengths[0])):
        raise MalformedRequest("Content-Length must be one decimal number.")
    if lengths:
        return int(lengths[0])
    return None if chunked else 0


def _host(fields: list[tuple[bytes, bytes]], version: str) -> bytes | None:
    hosts = _values(fields, b"host")
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise MalformedRequest("A request has exactly one Host field.")
    if hosts and not _is_authority(hosts[0]):
        raise MalformedRequest("The Host field can't be read.")
    return hosts[0] if hosts else None


def _is_authority(text: bytes) -> bool:
    """A host and perhaps a port (RFC 3986 section 3.2); what is in brackets must be an IPv6 address."""
    if not _AUTHORITY.fullmatch(text):
        return False
    if text.startswith(b"["):
        try:
            ipaddress.IPv6Address(text[1 : text.index(b"]")].decode())
        except ValueError:
            return False
    return True


def _origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The target as path and query, and the authority when it named one (RFC 9112 section 3.2)."""
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or method == b"CONNECT":
        raise MalformedRequest("The request's target can't be read.")
    authority, path, query = match.groups()
    if not _is_authority(authority):
        raise MalformedRequest("The request's target can't be read.")
    return (path or b"/") + (query or b""), authority


def _listed(fields: list[tuple[bytes, bytes]], name: bytes) -> set[bytes]:
    return {item.strip().lower() for value in _values(fields, name) for item in value.split(b",")}


def _expectation(fields: list[tuple[bytes, bytes]], version: str) -> bool:
    expectations = [value.lower() for value in _values(fields, b"expect")]
    if any(value != b"100-continue" for value in expectations):
        raise ExpectationFailed
    return bool(expectations) and version == "1.1"  # RFC 9110 section 10.1.1: ignored in HTTP/1.0
