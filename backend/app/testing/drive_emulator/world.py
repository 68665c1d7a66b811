"""Everything one emulator knows; its event loop alone changes it."""

from __future__ import annotations

from collections import Counter, OrderedDict

from app.testing.drive_emulator.content import Vault
from app.testing.drive_emulator.events import EventLog, Kind
from app.testing.drive_emulator.options import Options
from app.testing.drive_emulator.script import Script
from app.testing.drive_emulator.sessions import Session, State
from app.testing.drive_emulator.throttle import Bucket
from app.testing.drive_emulator.tokens import USER, Tokens
from app.testing.drive_emulator.tree import Tree

__all__ = ["World"]

_BUCKETS_AT_MOST = 10_000


class World:
    """The state that requests work on."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.latency_s = options.latency_s
        self.rate = options.rate
        self.events = EventLog()
        self.requests: Counter[str] = Counter()
        self.script = Script(options.script, seed=options.seed)
        self.tokens = Tokens(options.token_lifetime_s)
        self.tree = Tree(options, USER)
        self.vault = Vault(options.digests)
        self.sessions: dict[str, Session] = {}
        self._buckets: OrderedDict[object, Bucket] = OrderedDict()

    def bucket(self, connection: object) -> Bucket | None:
        """What may pass this connection; None: anything."""
        if self.rate is None:
            return None
        if connection not in self._buckets:
            self._buckets[connection] = Bucket(self.rate)
            if len(self._buckets) > _BUCKETS_AT_MOST:
                self._buckets.popitem(last=False)
        return self._buckets[connection]

    def set_rate(self, rate: float | None) -> None:
        """From now on."""
        self.rate = rate
        self._buckets.clear()

    def expire(self, session: Session, status: int) -> None:
        """The session is gone, with what it held."""
        session.expired_status = status
        if session.state is State.OPEN:
            session.end(State.EXPIRED)
        session.state = State.EXPIRED
        self.events.append(Kind.SESSION_EXPIRED, session=session.number, status=status)

    def expire_sessions(self, status: int) -> int:
        """All that are open; returns how many."""
        alive = [session for session in self.sessions.values() if session.state is State.OPEN]
        for session in alive:
            self.expire(session, status)
        return len(alive)
