"""Which name a file gets where one of that name may be there already. Drive itself does not mind two of a name.

Laws:
- A name that an upload has been given is kept from the other uploads of this process while it is under way, so that two
  at once never choose the same. It is free again when the session is let go of, however that happens.
- A number is free when Drive has no such name and nobody was given it. Of many taken numbers few are looked at.
- Most names are free, and Drive does not mind two of a name: so the plain one is taken without asking, which saves a
  round trip at the beginning. `finish` looks while it sends the last bytes, and renames the file in the rare other case.
- Finishing under policies that care about what is there (`fail`, `replace`) is one upload at a time for each name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, Protocol
from urllib.parse import quote
from weakref import WeakValueDictionary

from app.core.errors import NameTaken
from app.core.names import numbered
from app.core.upload import NameConflictPolicy
from app.destinations.google_drive.files import Files, Place
from app.destinations.port import Target

__all__ = ["Holder", "Names", "probes"]

_AT_ONCE: Final = 10
_QUERY_BYTES: Final = 3000  # of names in one query: addresses can't be of any length
_HIGHEST: Final = 1 << 30


class Holder(Protocol):
    """Who has been given a name: it is his as long as he lives, or until `release`."""

    @property
    def upload_id(self) -> str:
        """Of which upload."""


class Names:
    """Of one destination. Event loop only."""

    def __init__(self, files: Files) -> None:
        """Nothing is given yet."""
        self._files = files
        self._given: WeakValueDictionary[tuple[str, str], Holder] = WeakValueDictionary()
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def choose(self, holder: Holder, target: Target, place: Place, *, own_id: str = "") -> str:
        """A name in that folder, for this holder; a file with `own_id` does not count.

        Raises:
            NameTaken: policy `fail`, and the name exists.
        """
        self.release(holder)
        if target.on_conflict is NameConflictPolicy.REPLACE:
            return target.filename
        if target.on_conflict is NameConflictPolicy.FAIL:
            if any(file.id != own_id for file in await self._files.named(place, [target.filename])):
                raise NameTaken
            return target.filename
        taken, free = -1, _HIGHEST
        while True:
            numbers = probes(taken, free)
            names = {number: _name(target, number) for number in _few(target, numbers)}
            there = {file.name for file in await self._files.named(place, names.values()) if file.id != own_id}
            for number, name in names.items():
                if name not in there and self._is_free(place, name, holder):
                    free = min(free, number)
                elif number < free:
                    taken = max(taken, number)
            if free == taken + 1:
                name = _name(target, free)
                if self._is_free(place, name, holder):  # nothing is awaited between this and the next line
                    self._given[place.id, name] = holder
                    return name
                taken, free = free, _HIGHEST

    def take_plain(self, holder: Holder, target: Target, place: Place) -> str | None:
        """The name as it was asked for, unless another upload of this process was given it; `finish` looks whether it is free."""
        self.release(holder)
        if not self._is_free(place, target.filename, holder):
            return None
        self._given[place.id, target.filename] = holder
        return target.filename

    def keep(self, holder: Holder, parent: str, name: str) -> None:
        """The name was given to the upload in an earlier life."""
        if self._is_free(Place(parent), name, holder):
            self._given[parent, name] = holder

    def release(self, holder: Holder) -> None:
        """What was given is free again."""
        for key in [key for key, given in self._given.items() if given.upload_id == holder.upload_id]:
            del self._given[key]

    @asynccontextmanager
    async def alone(self, parent: str, target: Target) -> AsyncIterator[None]:
        """Nobody else finishes under that name meanwhile, where that matters."""
        if target.on_conflict is NameConflictPolicy.RENAME:
            yield
            return
        lock = self._locks.setdefault((parent, target.filename), asyncio.Lock())
        async with lock:
            yield

    def _is_free(self, place: Place, name: str, holder: Holder) -> bool:
        given = self._given.get((place.id, name))
        return given is None or given.upload_id == holder.upload_id


def probes(taken: int, free: int) -> list[int]:
    """Numbers to look at next, when the highest known to be taken and the lowest known to be free are these.

    First the nearest, then ever farther ones, until a free one is found; then between the two.
    """
    if taken < 0:
        return list(range(_AT_ONCE))
    gap = free - taken
    if free == _HIGHEST:
        return [taken + 1, *(taken + 1 + _AT_ONCE * (1 << 2 * step) for step in range(_AT_ONCE - 1))]
    if gap <= _AT_ONCE + 1:
        return list(range(taken + 1, free))
    return sorted({taken + 1, *(taken + gap * step // _AT_ONCE for step in range(1, _AT_ONCE))})


def _name(target: Target, number: int) -> str:
    return numbered(target.filename, number) if number else target.filename


def _few(target: Target, numbers: Iterable[int]) -> list[int]:
    """As many as fit into a query, at least one."""
    chosen: list[int] = []
    room = _QUERY_BYTES
    for number in numbers:
        room -= len(quote(_name(target, number)))
        if chosen and room < 0:
            break
        chosen.append(number)
    return chosen
