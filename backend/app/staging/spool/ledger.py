"""Who has how much room set aside.

Laws: one lock; a decision reads the volume's free room and the ledger under it. Room that an upload has on disk
(allocated blocks) is missing from the volume's free room already, so only what is *owed* (reserved, not allocated) is
subtracted. While an upload's blocks are being allocated it counts as owed, whatever is on disk: that errs on the safe
side (and spares a system call for each), and nobody is refused before the allocations under way have ended. So 20 creations at once with room for 10
are 10 and 10, never 9 and never 11.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition

from app.core.errors import OutOfSpace, UserQuotaExceeded

__all__ = ["RoomLedger"]


@dataclass(slots=True)
class _Entry:
    owner: str
    size: int
    counted: int  # bytes that count as the owner's
    held: bool  # whether all of `size` is set aside
    owing: bool = False  # whether some of what is held is not allocated
    allocating: bool = False


class RoomLedger:
    """Reservations in bytes. Blocking; any thread."""

    def __init__(
        self,
        *,
        available: Callable[[], int],
        allocated: Callable[[str], int],
        min_free_bytes: int,
        user_quota_bytes: int | None,
    ) -> None:
        """Start with no reservation.

        Args:
            available: free bytes of the volume.
            allocated: bytes that an upload's file has on disk, 0 when it has none.
            min_free_bytes: room of the volume that is never given away.
            user_quota_bytes: most bytes that one owner's uploads may reserve together.
        """
        self._available = available
        self._allocated = allocated
        self._min_free = min_free_bytes
        self._quota = user_quota_bytes
        self._settled = Condition()
        self._entries: dict[str, _Entry] = {}

    def begin(self, upload_id: str, owner: str, size: int) -> bool:
        """Reserve `size` bytes, less what is on disk already; `settle`, `release` or `forget` must follow.

        Returns:
            False when so many are held already: nothing must follow.

        Raises:
            OutOfSpace: there is no room.
            UserQuotaExceeded: the owner has too much set aside.
        """
        with self._settled:
            while True:
                entry = self._entries.get(upload_id)
                if entry is not None and entry.held and entry.size >= size:
                    return False
                self._check_quota(upload_id, owner, size)
                # What is owed is read before what is free: a write in between is then counted twice, not never.
                here = self._allocated(upload_id) if entry is not None else 0
                owed = self._owed(but=upload_id) + max(0, size - here)
                if owed <= self._available() - self._min_free:
                    break
                if not any(entry.allocating for entry in self._entries.values()):
                    raise OutOfSpace
                self._settled.wait()
            self._entries[upload_id] = _Entry(owner, size, size, held=True, owing=True, allocating=True)
            return True

    def shrink(self, upload_id: str, size: int) -> bool:
        """Reserve no more than `size` bytes for an upload, of which fewer are on disk; whether they are held."""
        with self._settled:
            if (entry := self._entries.get(upload_id)) is None:
                return False
            entry.size, entry.counted = min(entry.size, size), min(entry.counted, size)
            self._settled.notify_all()
            return entry.held

    def settle(self, upload_id: str, *, on_disk: bool) -> None:
        """The allocation that `begin` announced has ended, in blocks on disk or (where that can't be) as a debt."""
        with self._settled:
            if entry := self._entries.get(upload_id):
                entry.allocating = False
                entry.owing = not on_disk
            self._settled.notify_all()

    def release(self, upload_id: str) -> None:
        """Count only what is on disk, from now on."""
        with self._settled:
            if entry := self._entries.get(upload_id):
                self._count_as_it_is(upload_id, entry)

    def adopt(self, upload_id: str, owner: str, size: int, *, preallocates: bool) -> bool:
        """Count a file found at start: as fully reserved, or, where blocks were given back before, as it is.

        Returns:
            Whether its room is fully reserved.
        """
        with self._settled:
            whole = self._allocated(upload_id) >= size
            entry = self._entries[upload_id] = _Entry(owner, size, size, held=True, owing=not whole)
            if not whole and preallocates:
                self._count_as_it_is(upload_id, entry)
                return False
            return True

    def forget(self, upload_id: str) -> None:
        """The upload is gone."""
        with self._settled:
            self._entries.pop(upload_id, None)
            self._settled.notify_all()

    def owner_and_size(self, upload_id: str) -> tuple[str, int] | None:
        """Whose it is and how many bytes it shall have; None when unknown."""
        with self._settled:
            entry = self._entries.get(upload_id)
            return (entry.owner, entry.size) if entry else None

    def reserved(self) -> int:
        """Bytes set aside for all uploads."""
        with self._settled:
            return sum(entry.counted for entry in self._entries.values())

    def free(self) -> int:
        """Bytes that a new upload could have."""
        with self._settled:
            owed = self._owed()
            return max(0, self._available() - self._min_free - owed)

    def _check_quota(self, upload_id: str, owner: str, size: int) -> None:
        if self._quota is None:
            return
        others = sum(e.counted for name, e in self._entries.items() if e.owner == owner and name != upload_id)
        if others + size > self._quota:
            raise UserQuotaExceeded(quota_bytes=self._quota, reserved_bytes=others)

    def _owed(self, *, but: str | None = None) -> int:
        return sum(
            entry.size if entry.allocating else max(0, entry.size - self._allocated(name))
            for name, entry in self._entries.items()
            if entry.owing and name != but
        )

    def _count_as_it_is(self, upload_id: str, entry: _Entry) -> None:
        entry.held = entry.owing = entry.allocating = False
        entry.counted = min(entry.size, self._allocated(upload_id))
        self._settled.notify_all()
