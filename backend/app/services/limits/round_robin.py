"""Turns among owners: however many items one of them has waiting, each owner's next item is one round away.

Pure and synchronous. Every operation is O(1): both levels are `OrderedDict`s, whose first key is found without
scanning over deleted ones (a plain dict's is not).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["RoundRobin"]

Item = TypeVar("Item", bound=Hashable)


class RoundRobin(Generic[Item]):
    """Items of several owners, taken one owner after another, each owner's own in the order they came."""

    __slots__ = ("_length", "_rings")

    def __init__(self) -> None:
        self._rings: OrderedDict[str, OrderedDict[Item, None]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return self._length > 0

    def push(self, owner: str, item: Item) -> None:
        """Append `item`, which must not be in yet, to its owner's; a new owner's turn comes after all others'."""
        self._rings.setdefault(owner, OrderedDict())[item] = None
        self._length += 1

    def pop(self) -> Item:
        """Take the item whose turn it is; its owner goes to the end of the round.

        Raises:
            IndexError: nothing waits.
        """
        if not self._length:
            raise IndexError("pop from an empty round")
        owner, ring = self._rings.popitem(last=False)
        item, _ = ring.popitem(last=False)
        if ring:
            self._rings[owner] = ring
        self._length -= 1
        return item

    def discard(self, owner: str, item: Item) -> bool:
        """Take `item` out of turn; False when it is not (or no longer) in."""
        ring = self._rings.get(owner)
        if ring is None or item not in ring:
            return False
        del ring[item]
        if not ring:
            del self._rings[owner]
        self._length -= 1
        return True
