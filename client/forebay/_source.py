"""The local file: read in small pieces by many lanes through one descriptor, never loaded.

Laws: reads never block the event loop; the descriptor is closed only when no thread reads from it; a chunk's digest is
computed *before* the file is looked at for changes, so every chunk that passes `check_unchanged` is of the file as it
was opened, and the chunks that arrive with the right digest make up that file and no mixture.

A chunk is read twice, once for its digest (a header, so it must be known first) and once to send it. The second reading
comes from the page cache: 16 MiB cost about 3 ms more, and no chunk is ever held in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

import crc32c

from forebay.errors import FileChanged, FileUnusable

__all__ = ["PIECE_BYTES", "Fingerprint", "SourceFile"]

PIECE_BYTES = 256 * 1024
_DIGEST_BYTES = 1024 * 1024
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)  # Linux: read from the page cache or not at all

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """By which a file is known to be the one of before."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """From `stat`."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class SourceFile:
    """An open regular file. Use `await SourceFile.open(...)`, and `aclose` at the end."""

    def __init__(self, path: Path, descriptor: int, fingerprint: Fingerprint, executor: Executor) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self._descriptor = descriptor
        self._executor = executor
        self._reads: set[asyncio.Future[object]] = set()
        self._nowait = bool(_NOWAIT)

    @classmethod
    async def open(cls, path: Path, executor: Executor) -> Self:
        """Open a regular file for reading.

        Raises:
            FileUnusable: it is absent, a directory or a device, or can't be read.
        """
        descriptor, status = await asyncio.get_running_loop().run_in_executor(executor, _open_regular, path)
        return cls(path, descriptor, Fingerprint.of(status), executor)

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        return self.fingerprint.size

    async def aclose(self) -> None:
        """Close when the last read has ended; also after a cancellation."""
        if self._reads:
            await asyncio.wait(self._reads)
        os.close(self._descriptor)

    async def crc32c(self, offset: int, length: int) -> int:
        """CRC32C of a range.

        Raises:
            FileChanged: the file ends before the range does.
            FileUnusable: it can't be read.
        """
        return await self._in_thread(self._crc32c, offset, length)

    async def sha256(self) -> str:
        """Lower-case hex of the whole file's SHA-256; raises as `crc32c`."""
        return await self._in_thread(self._sha256)

    async def piece(self, offset: int, length: int) -> bytes | bytearray:
        """Exactly `length` bytes; raises as `crc32c`.

        From the page cache when they are there (no thread, nothing blocks), else by a thread.
        """
        if self._nowait:
            buffer = bytearray(length)
            try:
                if os.preadv(self._descriptor, [buffer], offset, _NOWAIT) == length:
                    return buffer
            except BlockingIOError:
                pass  # not in the cache: the thread waits for it
            except OSError:
                self._nowait = False  # this file system does not know the flag
        return await self._in_thread(self._piece, offset, length)

    def check_unchanged(self) -> None:
        """Compare with what was opened.

        Raises:
            FileChanged: size or modification time differ.
        """
        if Fingerprint.of(os.fstat(self._descriptor)) != self.fingerprint:
            raise FileChanged(f"{self.path} was changed while it was being sent. Upload it again when it is at rest.")

    def check_in_place(self) -> None:
        """As `check_unchanged`, and its name still means the same file (a name that is gone is no change).

        Raises:
            FileChanged: it was changed, or replaced by another.
        """
        self.check_unchanged()
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return
        if Fingerprint.of(there) != self.fingerprint:
            raise FileChanged(f"{self.path} was replaced while it was being sent. Upload it again.")

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        del kwargs
        future = asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
        self._reads.add(future)  # type: ignore[arg-type]  # Future is invariant; only its end matters here
        future.add_done_callback(self._reads.discard)
        return await asyncio.shield(future)

    def _crc32c(self, offset: int, length: int) -> int:
        view = memoryview(bytearray(min(_DIGEST_BYTES, length)))
        value = 0
        end = offset + length
        while offset < end:
            count = self._read_into(view[: end - offset], offset)
            value = crc32c.crc32c(view[:count], value)
            offset += count
        return value

    def _sha256(self) -> str:
        view = memoryview(bytearray(_DIGEST_BYTES))
        digest = hashlib.sha256()
        offset = 0
        while offset < self.size:
            count = self._read_into(view[: self.size - offset], offset)
            digest.update(view[:count])
            offset += count
        return digest.hexdigest()

    def _piece(self, offset: int, length: int) -> bytearray:
        buffer = bytearray(length)
        view = memoryview(buffer)
        done = 0
        while done < length:
            done += self._read_into(view[done:], offset + done)
        return buffer

    def _read_into(self, view: memoryview, offset: int) -> int:
        try:
            count = os.preadv(self._descriptor, [view], offset)
        except OSError as exc:
            raise FileUnusable(f"{self.path} can't be read: {exc.strerror}.") from exc
        if count == 0:
            raise FileChanged(f"{self.path} became shorter while it was being sent. Upload it again.")
        return count


def _open_regular(path: Path) -> tuple[int, os.stat_result]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # not blocking: a FIFO has no writer
    except FileNotFoundError as exc:
        raise FileUnusable(f"{path} does not exist.") from exc
    except OSError as exc:
        raise FileUnusable(f"{path} can't be opened: {exc.strerror}.") from exc
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise FileUnusable(f"{path} is a directory. Name the files in it, or pack it into an archive first.")
    raise FileUnusable(
        f"{path} is not a regular file, so it can't be read in parallel or resumed. Save it to a file first."
    )
