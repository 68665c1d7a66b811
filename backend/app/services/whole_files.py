"""A file that comes in one request, whatever its size, also when nobody says it: received as ordinary uploads are.

For clients that can't go on where a request broke off (curl, HTML forms): what broke off is given up.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from app.core.body import RequestBody
from app.core.errors import ForebayError, StateConflict
from app.core.upload import UploadState
from app.services.appender import Appender
from app.services.interruption import unbroken
from app.services.live import LiveUpload
from app.services.new_upload import NewUpload
from app.services.uploads import Uploads

__all__ = ["WholeFiles"]


class WholeFiles:
    """Receives files, each by one body."""

    def __init__(self, uploads: Uploads, appender: Appender) -> None:
        """Keep what it works with."""
        self._uploads = uploads
        self._appender = appender

    async def receive(self, owner: str, wanted: NewUpload, body: RequestBody) -> LiveUpload:
        """Take all of the body as the file; returns when its bytes are safe. The way to its destination goes on by itself.

        Raises:
            What `Uploads.create` and `Appender.append` raise; then nothing of it is kept.
        """
        live = await self._uploads.create(owner, replace(wanted, in_one_request=True), idempotency_key=None)
        try:
            await self._appender.append(live, 0, body, last=True)
        except BaseException as exc:
            failed = live.row.state is UploadState.FAILED
            await unbroken(self._give_up(live))
            if failed and isinstance(exc, StateConflict):  # that it has, is all that this says
                raise live.row.ending from exc
            raise
        return live

    async def _give_up(self, live: LiveUpload) -> None:
        with suppress(ForebayError):  # it has ended otherwise, or expires
            await self._uploads.cancel(live)
