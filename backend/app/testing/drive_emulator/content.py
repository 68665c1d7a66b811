"""Contents of files as they arrive: hashed, written and counted beside the event loop.

Laws: what is held is a multiple of 256 KiB until the content is finished, as Drive's is; whatever broke off in between was
never hashed nor written, so nothing has to be undone. One job per content runs at a time, and while it runs no more than
a batch waits behind it: that, not the body's size, is the memory taken. MD5 is hashed beside the other digests because
it alone is as slow as all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

__all__ = ["DIGESTS", "UNIT_BYTES", "Content", "Intake", "Vault"]

UNIT_BYTES = 262_144
DIGESTS = ("md5", "sha1", "sha256")
_BATCH_BYTES = 1 << 20


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> _Hash: ...


class Vault:
    """Where contents are kept: files of a directory, or nowhere at all."""

    def __init__(self, digests: Sequence[str] = DIGESTS) -> None:
        self.directory: Path | None = None
        self._digests = tuple(digests)
        self._made = 0
        self.workers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="drive-emulator")

    def new(self) -> Content:
        """An empty content."""
        self._made += 1
        path = None if self.directory is None else self.directory / f"content-{self._made}"
        return Content(path, self._digests, self.workers)

    def close(self) -> None:
        """End the workers; contents stay where they are."""
        self.workers.shutdown()


class Content:
    """The bytes of one upload, or of one version of a file."""

    def __init__(self, path: Path | None, digests: Sequence[str], workers: ThreadPoolExecutor) -> None:
        self.path = path
        self.held = 0
        self._workers = workers
        self._hashes: dict[str, _Hash] = {name: hashlib.new(name, usedforsecurity=False) for name in digests}
        self._marks: dict[int, dict[str, _Hash]] | None = None
        self._file = None if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def digests(self) -> dict[str, str]:
        """Of what is held, in hexadecimal, by algorithm."""
        return {name: made.hexdigest() for name, made in self._hashes.items()}

    def keep_marks(self) -> None:
        """From here on `rewind` is possible."""
        self._marks = {self.held: self._copies()}

    def rewind(self, position: int) -> None:
        """Hold no more than this, a multiple of the unit at or after the mark."""
        if self._marks is None:
            raise RuntimeError("no marks were kept")
        self._hashes, self.held = self._marks[position], position
        self._marks = None

    async def land(self, pieces: Sequence[memoryview]) -> None:
        """Add bytes; `held` counts them when they are hashed and written."""
        loop = asyncio.get_running_loop()
        offset, size = self.held, sum(map(len, pieces))
        if self._marks is not None or size < UNIT_BYTES:
            await loop.run_in_executor(self._workers, self._all_of_it, pieces, offset)
        else:
            await asyncio.gather(
                loop.run_in_executor(self._workers, self._write_and_hash, pieces, offset),
                loop.run_in_executor(self._workers, self._hash, "md5", pieces),
            )
        self.held = offset + size

    def close(self) -> None:
        """Nothing more will come."""
        if self._file is not None:
            os.ftruncate(self._file, self.held)
            os.close(self._file)
            self._file = None

    def discard(self) -> None:
        """Nobody will ask for it again."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _copies(self) -> dict[str, _Hash]:
        return {name: made.copy() for name, made in self._hashes.items()}

    def _all_of_it(self, pieces: Sequence[memoryview], offset: int) -> None:
        for unit in _units(pieces):
            self._write_and_hash([unit], offset)
            self._hash("md5", [unit])
            offset += len(unit)
            if self._marks is not None and offset % UNIT_BYTES == 0:
                self._marks[offset] = self._copies()

    def _write_and_hash(self, pieces: Sequence[memoryview], offset: int) -> None:
        for piece in pieces:
            for name, made in self._hashes.items():
                if name != "md5":
                    made.update(piece)
            if self._file is not None:
                written = 0
                while written < len(piece):
                    written += os.pwrite(self._file, piece[written:], offset + written)
            offset += len(piece)

    def _hash(self, name: str, pieces: Sequence[memoryview]) -> None:
        if (made := self._hashes.get(name)) is not None:
            for piece in pieces:
                made.update(piece)


def _units(pieces: Sequence[memoryview]) -> list[memoryview]:
    whole = memoryview(b"".join(pieces))
    return [whole[at : at + UNIT_BYTES] for at in range(0, len(whole), UNIT_BYTES)]


class Intake:
    """Brings the bytes of one body into a content, in whole units until it is told to finish."""

    def __init__(self, content: Content, on_held: Callable[[], None]) -> None:
        self._content = content
        self._on_held = on_held
        self._waiting: list[memoryview] = []
        self._waiting_bytes = 0
        self._job: asyncio.Task[None] | None = None
        self._error: BaseException | None = None

    async def feed(self, data: bytes) -> None:
        """Take bytes; waits while too many wait already.

        Raises:
            OSError: they can't be written.
        """
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)
        self._begin()
        while self._waiting_bytes >= _BATCH_BYTES and self._job is not None:
            await asyncio.wait({self._job})
        self._complain()

    async def settle(self) -> None:
        """Wait until every whole unit is held; what is beyond stays out, unless more is fed."""
        while self._job is not None:
            await asyncio.wait({self._job})
        self._complain()

    async def finish(self) -> None:
        """The rest as well, whatever its size: these were the content's last bytes."""
        await self.settle()
        rest, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if rest:
            await self._content.land(rest)
            self._on_held()

    def _begin(self) -> None:
        if self._job is not None or self._waiting_bytes < UNIT_BYTES or self._error is not None:
            return
        batch = self._take(self._waiting_bytes - self._waiting_bytes % UNIT_BYTES)
        self._job = asyncio.create_task(self._content.land(batch))
        self._job.add_done_callback(self._landed)

    def _take(self, size: int) -> list[memoryview]:
        self._waiting_bytes -= size
        taken = []
        while size:
            piece = self._waiting[0]
            if len(piece) <= size:
                taken.append(self._waiting.pop(0))
            else:
                taken.append(piece[:size])
                self._waiting[0] = piece[size:]
            size -= len(taken[-1])
        return taken

    def _landed(self, job: asyncio.Task[None]) -> None:
        self._job = None
        self._error = asyncio.CancelledError() if job.cancelled() else job.exception()
        if self._error is None:
            self._on_held()
            self._begin()

    def _complain(self) -> None:
        if self._error is not None:
            raise self._error
