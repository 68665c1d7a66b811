"""Who is calling.

Laws: a token is known by its hash only; what was looked up is believed for a few seconds, so a revoked token is refused
within that time.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from app.core.errors import Forbidden, Unauthenticated
from app.core.identity import TokenRecord
from app.core.tokens import hash_token
from app.persistence.repository import Repository

__all__ = ["Identity", "Principal"]

_BELIEVED_S = 5.0
_REMEMBERED = 4096
LOCAL_USER = "local"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may call."""

    user: str
    operator: bool


@lru_cache(maxsize=_REMEMBERED)
def is_loopback(address: str) -> bool:
    """Whether an address is this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class Identity:
    """Decides who a caller is.

    `tokens`: a valid token is needed. `none`: each address is a user. `auto`: tokens as soon as one exists; until then
    only this machine may call, as the user `local`.
    """

    def __init__(
        self,
        repository: Repository,
        auth: Literal["auto", "tokens", "none"],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is known yet."""
        self._repository = repository
        self._auth = auth
        self._clock = clock
        self._monotonic = monotonic
        self._known: OrderedDict[str, tuple[float, TokenRecord | None]] = OrderedDict()
        self._any_token: tuple[float, bool] = (float("-inf"), False)

    async def of(self, token: str | None, address: str) -> Principal:
        """The principal of a request from `address` that carries `token`.

        Raises:
            Unauthenticated: no token where one is needed, or one that is unknown, revoked or expired.
            Forbidden: no tokens exist and the caller is not on this machine.
        """
        if self._auth == "none":
            return Principal(address, operator=is_loopback(address))
        if token is not None:
            return await self._by_token(token)
        if await self.open_to_local():
            if is_loopback(address):
                return Principal(LOCAL_USER, operator=True)
            raise Forbidden("This server has no tokens yet and answers only to its own machine.")
        raise Unauthenticated

    async def open_to_local(self) -> bool:
        """Whether no token is needed because none exists."""
        if self._auth != "auto":
            return False
        at, found = self._any_token
        if self._monotonic() - at > _BELIEVED_S:
            found = await self._repository.any_token()
            self._any_token = (self._monotonic(), found)
        return not found

    async def _by_token(self, token: str) -> Principal:
        digest = hash_token(token)
        at, record = self._known.get(digest, (float("-inf"), None))
        if self._monotonic() - at > _BELIEVED_S:
            record = await self._repository.token_by_hash(digest)
            self._known[digest] = (self._monotonic(), record)
            self._known.move_to_end(digest)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if record is None or not record.valid_at(self._clock()):
            raise Unauthenticated("The token is not known, has expired or was revoked. Ask the operator for a new one.")
        return Principal(record.user, operator=record.operator)
