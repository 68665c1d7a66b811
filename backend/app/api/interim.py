"""Interim responses about a resumable upload, on the way to the final one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Request

from app.core.body import INFORMATIONAL_EXTENSION, RequestBody, SendInformational
from app.protocols.resumable import STATUS, Field, Speech
from app.services.live import LiveUpload

__all__ = ["inform", "progress_told"]

_LEAST_S: Final = 1.0
"""Between two of them."""


def inform(request: Request, fields: list[Field] | None) -> bool:
    """Send one; False: this client gets none, or does not read them."""
    send: SendInformational | None = request.scope["extensions"].get(INFORMATIONAL_EXTENSION)
    return send is not None and fields is not None and send(STATUS, fields)


@asynccontextmanager
async def progress_told(request: Request, speech: Speech, live: LiveUpload, body: RequestBody) -> AsyncIterator[None]:
    """Inside, a client that wants to know is told now and then how far the upload is."""
    if speech.version is None:
        yield
        return

    async def tell() -> None:
        told = live.position
        while not body.ended:  # the final response says it then
            if live.position <= told:
                await live.turn()
                continue
            told = live.position
            inform(request, speech.progress(told))
            await asyncio.sleep(_LEAST_S)

    task = asyncio.create_task(tell(), name="tell-progress")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
