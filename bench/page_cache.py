"""The page cache's memory, made ready before a clock runs."""

from __future__ import annotations

from pathlib import Path

__all__ = ["touch"]

_MIB = 1024 * 1024


def touch(directory: Path, mib: int = 640) -> None:
    """Fill so much page cache and free it at once, so that the next writer gets memory that is there.

    A virtual machine gives back to its host what lies free for some seconds (free page reporting), and pays for each page
    when it is used again. Measured here: 512 MiB written after a pause of 3 s came at 330 to 2,000 MiB/s, after this at
    1,500 to 1,900. That is the host's work, and whoever writes first after a pause had it all.
    """
    file = directory / "touched"
    block = bytes(_MIB)
    with file.open("wb", buffering=0) as out:
        for _ in range(mib):
            out.write(block)
    file.unlink()
