"""`Upload-Checksum` (tus, checksum): whether the bytes of a request are what it says, before them or in its trailer."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable

import crc32c

from app.core.errors import ChecksumMismatch
from app.protocols.tus import Algorithm, Checksum

__all__ = ["ChecksumCheck"]


class ChecksumCheck:
    """Whether bytes that come piece by piece are what was declared, or will be."""

    def __init__(self, algorithms: Iterable[Algorithm], declared: Callable[[], Checksum]) -> None:
        """Compute all of them; which one `declared` is of is looked at in the end."""
        self._declared = declared
        self._crc = 0
        self._hashes = {
            algorithm: hashlib.new(algorithm, usedforsecurity=False)
            for algorithm in algorithms
            if algorithm is not Algorithm.CRC32C
        }

    def update(self, view: memoryview) -> None:
        """Take the next bytes; in any thread, one call after the other."""
        self._crc = crc32c.crc32c(view, self._crc)
        for each in self._hashes.values():
            each.update(view)

    def judge(self) -> None:
        """All have come; raises what `declared` raises, too.

        Raises:
            ChecksumMismatch: they are others.
        """
        declared = self._declared()
        value = (
            self._hashes[declared.algorithm].digest() if declared.algorithm in self._hashes else self._crc.to_bytes(4)
        )
        if not hmac.compare_digest(value, declared.value):
            raise ChecksumMismatch
