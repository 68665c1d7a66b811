"""Resumable sessions: what one upload has come to."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from dataclasses import dataclass, field
from enum import StrEnum

from app.testing.drive_emulator.content import Content
from app.testing.drive_emulator.metadata import Intent

__all__ = ["ActivePut", "Session", "State"]

_ESTABLISHED = 1  # TCP_ESTABLISHED of linux/tcp.h; a peer that has closed its end makes it CLOSE_WAIT


class State(StrEnum):
    """What a session is."""

    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class ActivePut:
    """A body that is being taken."""

    transport: asyncio.Transport
    cut: asyncio.Event
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Cut the connection; whoever takes the body finds it broken off."""
        self.cut.set()
        self.transport.abort()

    @property
    def client_is_there(self) -> bool:
        """Whether the client still has its end of the connection: one that has closed it may come again."""
        connection = self.transport.get_extra_info("socket")
        if self.cut.is_set() or self.transport.is_closing() or connection is None:
            return False
        try:
            return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED)
        except OSError:
            return False


@dataclass(slots=True)
class Session:
    """One resumable upload, by its secret id."""

    number: int
    intent: Intent
    content: Content
    total: int | None
    upload_id: str = field(default_factory=lambda: "A" + secrets.token_urlsafe(64))
    state: State = State.OPEN
    expired_status: int = 404
    file_id: str | None = None
    put: ActivePut | None = None
    started_s: float = field(default_factory=time.monotonic)

    @property
    def held(self) -> int:
        """Bytes that need not be sent again."""
        return self.content.held

    @property
    def name(self) -> str | None:
        """The file's, as the client gave it."""
        return self.intent.data.name

    def end(self, state: State) -> None:
        """Nothing more will come; what was held goes, unless it became a file."""
        self.state = state
        if state is State.COMPLETE:
            self.content.close()
        elif self.put is None:
            self.content.discard()
        else:
            self.put.end()

    def as_dict(self) -> dict[str, object]:
        """For JSON; the id is left out, being a secret."""
        return {
            "session": self.number,
            "state": self.state,
            "name": self.name,
            "held": self.held,
            "total": self.total,
            "file_id": self.file_id,
            "receiving": self.put is not None,
        }
