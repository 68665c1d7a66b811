"""CRC32C of joined pieces from the CRCs of the pieces, in any order of arrival.

`crc(A + B) = crc(A) · x^(8·len(B)) mod P  xor  crc(B)` in GF(2)[x] (the method of zlib's `crc32_combine`;
polynomial of RFC 3720 section 12.1, bit-reversed as the checksum itself is).
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["crc32c_combine"]

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


@lru_cache(maxsize=256)
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
