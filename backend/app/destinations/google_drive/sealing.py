"""Session URIs at rest: whoever has one can write, so the database gets them sealed.

Laws: the key is a file of mode 0600 that appears whole, under its name, by one link: two processes that make it at once
end up with the same. What can't be opened (another key, a spoilt row) is as if it were not there: the upload goes on
without it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from app.core.errors import DestinationRefused

__all__ = ["Sealer"]

_OTHERS: Final = 0o077


class Sealer:
    """Seals and opens texts with the key in a file."""

    def __init__(self, key_file: Path) -> None:
        """Describe it; `load` must follow."""
        self._key_file = key_file
        self._fernet: Fernet | None = None

    async def load(self) -> None:
        """Read the key, or make it.

        Raises:
            DestinationRefused: it can't be read, made or used.
        """
        if self._fernet is None:
            self._fernet = await asyncio.to_thread(_load, self._key_file)

    def seal(self, text: str) -> str:
        """Printable, and useless without the key."""
        return self._key.encrypt(text.encode()).decode("ascii")

    def opened(self, sealed: str) -> str | None:
        """What was sealed; None where it was not sealed with this key."""
        try:
            return self._key.decrypt(sealed.encode()).decode()
        except (InvalidToken, ValueError):
            return None

    @property
    def _key(self) -> Fernet:
        if self._fernet is None:
            raise RuntimeError("the key is not loaded")
        return self._fernet


def _load(path: Path) -> Fernet:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            if not path.exists():
                _make(path)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_mode & _OTHERS:
                os.fchmod(fd, 0o600)
            key = os.read(fd, 1024).strip()
        finally:
            os.close(fd)
    except OSError as exc:
        raise DestinationRefused(
            f"The server's key file for Google Drive can't be read or made ({exc.strerror}). What was received is kept."
        ) from exc
    try:
        return Fernet(key)
    except ValueError:
        pass
    raise DestinationRefused(
        "The server's key file for Google Drive holds no key. Remove it: transfers under way begin anew. What was received"
        " is kept."
    )


def _make(path: Path) -> None:
    step = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fd = os.open(step, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(fd, Fernet.generate_key() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        os.link(step, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        step.unlink()
