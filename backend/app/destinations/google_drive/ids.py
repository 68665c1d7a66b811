"""Ids for files to come, fetched in advance: what is created under one can't be created twice.

Laws: an id is handed out once. One request at a time fetches them, whoever waits; when few are left the next ones are
fetched before they are needed. Event loop only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from contextvars import Context
from typing import Final

from app.core.errors import DestinationUnavailable, ForebayError
from app.destinations.google_drive.api import DriveApi

__all__ = ["IdPool"]

_FETCHED: Final = 100
_FEW: Final = 20


class IdPool:
    """Prefetched ids."""

    def __init__(self, api: DriveApi) -> None:
        """Empty; the first one who needs an id fetches."""
        self._api = api
        self._ids: deque[str] = deque()
        self._fetch: asyncio.Task[None] | None = None

    async def take(self) -> str:
        """One that nobody else gets.

        Raises:
            DestinationUnavailable: none can be had now.
        """
        while not self._ids:
            await asyncio.shield(self._fetching())
        taken = self._ids.popleft()
        if len(self._ids) < _FEW:
            self._fetching()
        return taken

    def forget(self) -> None:
        """Drive does not take them any more."""
        self._ids.clear()

    async def aclose(self) -> None:
        """End a request under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            with suppress(asyncio.CancelledError, ForebayError):
                await self._fetch

    def _fetching(self) -> asyncio.Task[None]:
        if self._fetch is None or self._fetch.done():
            self._fetch = asyncio.create_task(self._more(), name="drive-ids", context=Context())
            self._fetch.add_done_callback(_seen)
        return self._fetch

    async def _more(self) -> None:
        params = {"count": str(_FETCHED), "space": "drive", "fields": "ids"}
        said = (await self._api.call("GET", "/files/generateIds", params=params)).value()
        ids = said.get("ids")
        if not isinstance(ids, list) or not ids:
            raise DestinationUnavailable("Google Drive gives no ids for new files. What was received is kept.")
        self._ids.extend(map(str, ids))


def _seen(task: asyncio.Task[None]) -> None:
    """Those who wait get the outcome; when nobody does, it is none of the event loop's business."""
    if not task.cancelled():
        task.exception()
