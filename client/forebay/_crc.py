"""CRC32C of joined pieces from the CRCs of the pieces, so that no byte is hashed twice.

`crc(A + B) = crc(A) · x^(8·len(B)) mod P  xor  crc(B)` in GF(2)[x] (the method of zlib's `crc32_combine`;
polynomial of RFC 3720 section 12.1, bit-reversed as the checksum itself is).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["content_digest", "crc32c_combine", "crc32c_join"]

_POLYNOMIAL = 0x82F63B78
_ONE = 1 << 31


def _multiply(left: int, right: int) -> int:
    product = 0
    bit = _ONE
    while left:
        if left & bit:
            product ^= right
            left ^= bit
        bit >>= 1
        right = (right >> 1) ^ _POLYNOMIAL if right & 1 else right >> 1
    return product


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """x^(8·length) modulo the polynomial."""
    power = 1 << 23  # x^8
    result = _ONE
    while length:
        if length & 1:
            result = _multiply(power, result)
        power = _multiply(power, power)
        length >>= 1
    return result


def crc32c_combine(first: int, second: int, second_length: int) -> int:
    """CRC32C of A + B, given those of A and B and B's length in bytes."""
    return _multiply(_shift(second_length), first) ^ second


def crc32c_join(pieces: Iterable[tuple[int, int]]) -> int:
    """CRC32C of all pieces in order, each given as (CRC32C, length in bytes); 0 for none."""
    joined = 0
    for crc, length in pieces:
        joined = crc32c_combine(joined, crc, length)
    return joined


def content_digest(crc32c: int) -> str:
    """The value of a `Content-Digest` header (RFC 9530 section 2)."""
    return f"crc32c=:{base64.b64encode(crc32c.to_bytes(4, 'big')).decode()}:"
