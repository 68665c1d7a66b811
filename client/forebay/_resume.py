"""What is remembered about an upload, so that a later process goes on where a killed one stopped.

One small JSON file per (server, file, name, folder, destination), under the user's state directory or
`FOREBAY_STATE_DIR`: mode 0600, replaced atomically, without any token. Nothing is synced: after a power cut a file that
can't be read means starting anew, nothing worse. Beside it stands a lock file: one process at a time works on it
(`flock`, so that the lock dies with its holder).

Law: the record, with its Idempotency-Key, is written *before* the upload is created; a process killed between the two
finds the same upload with the same key.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from platformdirs import user_state_path

from forebay._source import Fingerprint
from forebay.errors import AlreadyUploading, StateUnusable

__all__ = ["Remembered", "ResumePlace", "Target", "state_directory"]

_VERSION = 1
_POLL_S = 0.5


def state_directory() -> Path:
    """Where uploads are remembered."""
    override = os.environ.get("FOREBAY_STATE_DIR")
    return Path(override) if override else user_state_path("forebay", appauthor=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What goes where: two uploads with the same target are the same upload."""

    server: str
    path: str  # absolute, symbolic links resolved
    name: str
    folder: str
    destination: str | None
    on_conflict: str

    @property
    def key(self) -> str:
        """Name of its files in the state directory."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Remembered:
    """An upload under way."""

    idempotency_key: str
    fingerprint: Fingerprint
    upload_id: str | None = None  # None: its creation was not answered yet

    @classmethod
    def from_json(cls, text: bytes, target: Target) -> Self | None:
        """Read a record; None when it is of another format or target, or damaged."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data["version"] != _VERSION or data["target"] != asdict(target):
                return None
            mark = data["fingerprint"]
            fingerprint = Fingerprint(int(mark["size"]), int(mark["mtime_ns"]), int(mark["inode"]))
            upload_id = data["upload_id"]
            return cls(str(data["idempotency_key"]), fingerprint, None if upload_id is None else str(upload_id))
        except (ValueError, KeyError, TypeError):
            return None

    def to_json(self, target: Target) -> str:
        """As it is stored; the target is repeated for whoever looks into the directory."""
        return json.dumps(
            {
                "version": _VERSION,
                "target": asdict(target),
                "fingerprint": asdict(self.fingerprint),
                "idempotency_key": self.idempotency_key,
                "upload_id": self.upload_id,
            },
            indent=1,
        )


class ResumePlace:
    """The place of one target in the state directory. Its methods do small local I/O; use them under `locked`."""

    def __init__(self, directory: Path, target: Target) -> None:
        self._directory = directory
        self._target = target
        self._record = directory / f"{target.key}.json"
        self._lock = directory / f"{target.key}.lock"

    @asynccontextmanager
    async def locked(self, *, wait: bool, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the target against other processes.

        Args:
            wait: until the other has ended; else raise.
            on_wait: called once, when there is another.

        Raises:
            AlreadyUploading: another process has it, and `wait` is False.
            StateUnusable: the state directory can't be used.
        """
        told = False
        while (descriptor := self._try_lock()) is None:
            if not wait:
                raise AlreadyUploading(f"Another process is uploading {self._target.path} already; let it finish.")
            if not told:
                told = True
                on_wait()
            await asyncio.sleep(_POLL_S)
        try:
            yield
        finally:
            self._lock.unlink(missing_ok=True)
            os.close(descriptor)

    def _try_lock(self) -> int | None:
        """The locked descriptor, or None while another holds it."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise self._unusable(exc) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us removes the name when it ends: what we locked must still be what the name means.
            if os.path.samestat(os.fstat(descriptor), self._lock.stat()):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass  # held, or removed since we opened it: the next try tells
        except OSError as exc:
            os.close(descriptor)
            raise self._unusable(exc) from exc
        os.close(descriptor)
        return None

    def load(self) -> Remembered | None:
        """The record; None when there is none that can be used."""
        try:
            return Remembered.from_json(self._record.read_bytes(), self._target)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._unusable(exc) from exc

    def save(self, remembered: Remembered) -> None:
        """Replace the record, atomically.

        Raises:
            StateUnusable: it can't be written.
        """
        temporary = self._record.with_suffix(f".{os.getpid()}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(remembered.to_json(self._target))
            temporary.replace(self._record)
        except OSError as exc:
            with suppress(OSError):
                temporary.unlink()
            raise self._unusable(exc) from exc

    def forget(self) -> None:
        """Remove the record; what is not there is forgotten."""
        try:
            self._record.unlink(missing_ok=True)
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, cause: Exception) -> StateUnusable:
        return StateUnusable(
            f"Uploads can't be remembered in {self._directory} ({cause}). Set FOREBAY_STATE_DIR to a directory of yours."
        )
