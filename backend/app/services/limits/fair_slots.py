"""Who gets the next slot: the algorithm alone, without clock, waiting or tasks.

Laws:
- The next slot goes to the owner with the fewest slots; among equals to the one not served for the longest time (an
  owner's turn is when it came, last got a slot or last gave one back, whichever is latest). Within an owner: first
  come, first served.
- Limits: slots in all, owners with a slot ("seats"), slots per owner. An owner at its own limit is passed over, since
  only its own uploads can help it.
- An owner without a seat must not wait for ever while those seated refill theirs: as long as it waits and no seat is
  free, the seated owner with the smallest (slots, turn) gets none. That key only falls until a seat comes free.
- `give_back` and `withdraw` may make `grant_next` succeed; the caller asks until it returns None.

Cost: amortised O(log n), in heaps whose entries go stale when their owner changes and are dropped when met. Linear in
the owners are only the choice while somebody waits for a seat, `position`, and `overflow` when it evicts.
"""

from __future__ import annotations

import heapq
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["FairSlots", "Grant"]


@dataclass(frozen=True, slots=True)
class Grant:
    """A slot for an item of an owner."""

    owner: str
    item: str


@dataclass(eq=False, slots=True)
class _Owner:
    name: str
    turn: int
    slots: int = 0
    waiting: OrderedDict[str, None] = field(default_factory=OrderedDict)


_Entry = tuple[int, int, str]  # slots and turn of an owner when it was offered, and its name


class FairSlots:
    """Slots and who waits for them."""

    def __init__(self, *, max_slots: int, max_owners: int, max_per_owner: int | None = None) -> None:
        """Set the limits, each at least 1.

        Raises:
            ValueError: a limit below 1.
        """
        if min(max_slots, max_owners, 1 if max_per_owner is None else max_per_owner) < 1:
            raise ValueError("limits start at 1")
        self.max_slots = max_slots
        self.max_owners = max_owners
        self._max_per_owner = sys.maxsize if max_per_owner is None else max_per_owner
        self._owners: dict[str, _Owner] = {}  # with a slot or waiting; nobody else is remembered
        self._seated: dict[str, _Owner] = {}  # with a slot
        self._waiting: dict[str, _Owner] = {}
        self._queue: list[_Entry] = []  # seated owners that wait, below their own limit
        self._newcomers: list[_Entry] = []  # owners without a slot that wait
        self._turns = 0
        self._slots = 0
        self._queued = 0

    @property
    def slots(self) -> int:
        """Slots out."""
        return self._slots

    @property
    def owners(self) -> int:
        """Owners with a slot."""
        return len(self._seated)

    @property
    def queued(self) -> int:
        """Items waiting."""
        return self._queued

    def enqueue(self, owner: str, item: str) -> None:
        """Let `item`, which must not wait yet, wait for a slot."""
        state = self._owners.get(owner)
        if state is None:
            state = self._owners[owner] = _Owner(owner, self._next_turn())
        state.waiting[item] = None
        self._queued += 1
        if len(state.waiting) == 1:
            self._waiting[owner] = state
            self._offer(state)

    def withdraw(self, owner: str, item: str) -> None:
        """Take a waiting item out.

        Raises:
            KeyError: it does not wait.
        """
        state = self._waiting[owner]
        del state.waiting[item]
        self._left_queue(state)

    def next_grant(self) -> Grant | None:
        """What `grant_next` would give out."""
        state = self._choose()
        return None if state is None else Grant(state.name, next(iter(state.waiting)))

    def grant_next(self) -> Grant | None:
        """Give out the next slot; None when nobody who waits can have one now."""
        state = self._choose()
        if state is None:
            return None
        item, _ = state.waiting.popitem(last=False)
        state.slots += 1
        state.turn = self._next_turn()
        self._slots += 1
        self._seated[state.name] = state
        self._left_queue(state)
        self._offer(state)
        return Grant(state.name, item)

    def give_back(self, owner: str) -> None:
        """One slot of the owner is free again.

        Raises:
            KeyError: it has none.
        """
        state = self._seated[owner]
        state.slots -= 1
        state.turn = self._next_turn()  # it was served until now: not to be preferred to who came meanwhile
        self._slots -= 1
        if not state.slots:
            del self._seated[owner]
        self._forget(state)
        self._offer(state)

    def overflow(self, owner: str) -> Grant:
        """The waiting item to refuse when the queue is too long and `owner` was the last to come.

        It is the newest of `owner`, unless that waits with no more than its share: then the newest of whoever waits
        with the most. So nobody can fill the queue against others.
        """
        state = self._waiting[owner]
        if len(state.waiting) * len(self._waiting) >= self._queued:
            longest = state
        else:
            longest = max(self._waiting.values(), key=lambda other: len(other.waiting))
        return Grant(longest.name, next(reversed(longest.waiting)))

    def position(self, owner: str, item: str) -> int | None:
        """Where `item` is in the order in which slots would be granted if more of them came; 1 is next; None: not in.

        Those whom a limit on owners or per owner holds back come after the others.
        """
        target = self._waiting.get(owner)
        if target is None or item not in target.waiting:
            return None
        index = next(number for number, waiting in enumerate(target.waiting) if waiting == item)
        passing = self._passing()
        level = target.slots + index  # what the owner would have just before this grant
        key = (-target.slots, target.turn)
        if index < passing[owner]:
            return 1 + sum(
                _ahead(state.slots, passing[name], level, first=(-state.slots, state.turn) < key)
                for name, state in self._waiting.items()
            )
        return 1 + sum(
            passing[name]
            + _ahead(
                state.slots + passing[name],
                len(state.waiting) - passing[name],
                level,
                first=(-state.slots, state.turn) < key,
            )
            for name, state in self._waiting.items()
        )

    def _passing(self) -> dict[str, int]:
        """How many of each owner's waiting items no limit but the number of slots holds back."""
        passing = {
            name: max(0, min(len(state.waiting), self._max_per_owner - state.slots))
            for name, state in self._waiting.items()
        }
        newcomers = sorted((s for s in self._waiting.values() if not s.slots), key=lambda state: state.turn)
        seats = self.max_owners - len(self._seated)
        if len(newcomers) > seats:
            for state in newcomers[seats:]:
                passing[state.name] = 0
            yielding = self._yielding(newcomers[:seats])
            if yielding.name in passing:
                passing[yielding.name] = 0 if yielding.slots else 1
        return passing

    def _yielding(self, newcomers: Iterable[_Owner] = ()) -> _Owner:
        """The seated owner (or, of these newcomers, first to be seated) whose seat goes to the next newcomer."""
        return min(
            (*self._seated.values(), *newcomers),
            key=lambda state: (state.slots, state.turn) if state.slots else (1, self._turns + state.turn),
        )

    def _choose(self) -> _Owner | None:
        if self._slots >= self.max_slots:
            return None
        newcomer = self._top(self._newcomers)
        if newcomer is None:
            return self._top(self._queue)
        if len(self._seated) < self.max_owners:
            return newcomer
        yielding = self._yielding()
        held = None
        while (state := self._top(self._queue)) is yielding:
            held = heapq.heappop(self._queue)
        if held is not None:
            heapq.heappush(self._queue, held)
        return state

    def _top(self, heap: list[_Entry]) -> _Owner | None:
        """The first owner in the heap whose entry still says the truth."""
        while heap:
            state = self._as_offered(heap[0])
            if state is not None:
                return state
            heapq.heappop(heap)
        return None

    def _as_offered(self, entry: _Entry) -> _Owner | None:
        slots, turn, name = entry
        state = self._waiting.get(name)
        return state if state is not None and (state.slots, state.turn) == (slots, turn) else None

    def _offer(self, state: _Owner) -> None:
        """Put an owner that waits and may have more into its heap, under what is now true of it."""
        if not state.waiting or state.slots >= self._max_per_owner:
            return
        heap = self._queue if state.slots else self._newcomers
        if len(heap) > 2 * len(self._waiting) + 16:  # mostly stale entries: keep one true one for each owner
            heap[:] = sorted({entry for entry in heap if self._as_offered(entry)})
        heapq.heappush(heap, (state.slots, state.turn, state.name))

    def _left_queue(self, state: _Owner) -> None:
        self._queued -= 1
        if not state.waiting:
            del self._waiting[state.name]
            self._forget(state)

    def _forget(self, state: _Owner) -> None:
        if not state.slots and not state.waiting:
            del self._owners[state.name]

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns


def _ahead(start: int, count: int, level: int, *, first: bool) -> int:
    """How many of `count` items, at the levels from `start` up, come before an item at `level`.

    `first`: whether at equal level the item of this owner comes before. Who began with more slots reached the level
    with fewer grants, so longer ago; with equally many the older turn decides.
    """
    below = min(count, max(0, level - start))
    return below + (1 if first and below < count and start + below == level else 0)
