"""SHA-256 and CRC32C of the staged file, computed in order while its prefix grows.

Accepted extent by extent: an extent whose bytes no longer have the recorded CRC32C leaves the digest as it was.
"""

from __future__ import annotations

import hashlib

import crc32c

from app.core.crc import crc32c_combine
from app.core.upload import Extent

__all__ = ["ExtentDigest", "PrefixDigest"]


class ExtentDigest:
    """The digest going on over one extent, not yet believed."""

    __slots__ = ("crc", "extent", "position", "sha256")

    def __init__(self, extent: Extent, sha256: hashlib._Hash | None) -> None:
        """Begin at the extent's first byte; without `sha256` only the CRC is computed."""
        self.extent = extent
        self.position = extent.offset
        self.sha256 = sha256
        self.crc = 0

    def update(self, view: memoryview) -> None:
        """Take the next bytes. Blocking (releases the GIL); for worker threads."""
        self.crc = crc32c.crc32c(view, self.crc)
        if self.sha256 is not None:
            self.sha256.update(view)
        self.position += len(view)

    @property
    def holds(self) -> bool:
        """Whether these are the bytes that were acknowledged."""
        return self.position == self.extent.end and self.crc == self.extent.crc32c


class PrefixDigest:
    """How far, and what."""

    __slots__ = ("_known", "_sha256", "crc32c", "position")

    def __init__(self) -> None:
        """Nothing yet."""
        self.position = 0
        self.crc32c = 0
        self._sha256 = hashlib.sha256()
        self._known: str | None = None

    def begin(self, extent: Extent) -> ExtentDigest:
        """Go on over the extent that starts at `position`."""
        return ExtentDigest(extent, self._sha256.copy())

    def accept(self, trial: ExtentDigest) -> None:
        """The extent held."""
        if trial.sha256 is None or not trial.holds:
            raise ValueError("an extent that does not hold was accepted")
        self._sha256 = trial.sha256
        self.crc32c = crc32c_combine(self.crc32c, trial.crc, trial.extent.length)
        self.position = trial.extent.end

    @classmethod
    def of_whole(cls, extent: Extent, sha256: hashlib._Hash) -> PrefixDigest:
        """That of a file that came in one piece and was digested on the way."""
        digest = cls()
        digest._sha256 = sha256
        digest.crc32c = extent.crc32c
        digest.position = extent.end
        return digest

    @classmethod
    def known(cls, size: int, sha256: str, crc32c: int) -> PrefixDigest:
        """That of a whole file, as it was written down; `sha256` in lower-case hex."""
        digest = cls()
        digest._known, digest.crc32c, digest.position = sha256, crc32c, size
        return digest

    def hexdigest(self) -> str:
        """Lower-case hex of what was accepted."""
        return self._sha256.hexdigest() if self._known is None else self._known
