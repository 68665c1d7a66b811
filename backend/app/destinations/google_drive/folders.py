"""Folder paths below the destination's folder, as ids at Drive.

Laws:
- A path is looked up, and made where it is missing, by one task at a time, whoever waits for it: so uploads at once never
  make two folders of one name. Whoever leaves does not end it.
- A folder is made under an id chosen before, and that id is kept until it is known to be there: a repeat makes no second.
- Where somebody else has made several folders of one name, the oldest is used.
- What was found is believed for some minutes; whoever finds out that a folder is gone says so (`forget`).
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from typing import Final

from app.core.errors import DestinationRefused, DestinationUnavailable
from app.destinations.google_drive.files import MY_DRIVE, Files, Place
from app.destinations.google_drive.ids import IdPool

__all__ = ["Folders"]

_BELIEVED_S: Final = 300.0
_REMEMBERED: Final = 1000


class Folders:
    """The tree below one folder. Event loop only."""

    def __init__(self, files: Files, ids: IdPool, folder_id: str) -> None:
        """Below `folder_id`; "" is My Drive."""
        self._files = files
        self._ids = ids
        self._folder_id = folder_id
        self._tasks: dict[str, asyncio.Task[Place]] = {}
        self._found_at: dict[str, float] = {}
        self._making: dict[str, str] = {}  # ids of folders that may have been made, by path

    async def at(self, path: str) -> Place:
        """The folder at a validated relative path, "" for the destination's own; made where it is missing.

        Raises:
            DestinationRefused: the destination's own folder is not there, or is none.
            DestinationUnavailable: not now.
        """
        task = self._tasks.get(path)
        if task is None or (task.done() and time.monotonic() - self._found_at.get(path, 0.0) > _BELIEVED_S):
            self._tidy()
            task = asyncio.create_task(self._find_or_make(path), name="drive-folder", context=Context())
            self._tasks[path] = task
            task.add_done_callback(lambda done: self._ended(path, done))
        return await asyncio.shield(task)

    def forget(self, path: str) -> None:
        """It, or one above it, is not where it was."""
        while True:
            if (task := self._tasks.get(path)) is not None and task.done():
                del self._tasks[path]
            if not path:
                return
            path = path.rpartition("/")[0]

    async def own(self) -> Place:
        """The destination's own folder, as it is now.

        Raises:
            DestinationRefused: it is not there, or is no folder.
        """
        if not self._folder_id:
            # Not looked at: with the scope drive.file it may not be seen, and can be written all the same.
            return Place(MY_DRIVE)
        place = await self._files.place(self._folder_id)
        if place is None:
            raise DestinationRefused(
                "The destination's folder at Google Drive is not there for this login: see that the id is right, that the"
                " folder is not in the trash, and that it is shared with the login. With the scope drive.file the server"
                " sees no folder that it has not made: leave the id out, or log in with access to all files. What was"
                " received is kept."
            )
        if not place.is_folder:
            raise DestinationRefused(
                "What the destination names at Google Drive is no folder. What was received is kept."
            )
        return place

    async def aclose(self) -> None:
        """End what is under way."""
        running = [task for task in self._tasks.values() if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _tidy(self) -> None:
        """Of very many, only the latest are remembered."""
        if len(self._tasks) >= _REMEMBERED:
            for path in [path for path, task in self._tasks.items() if task.done()][: _REMEMBERED // 2]:
                del self._tasks[path]
                self._found_at.pop(path, None)

    def _ended(self, path: str, task: asyncio.Task[Place]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if failed and self._tasks.get(path) is task:
            del self._tasks[path]
        self._found_at[path] = time.monotonic()

    async def _find_or_make(self, path: str) -> Place:
        if not path:
            return await self.own()
        above, _, name = path.rpartition("/")
        parent = await self.at(above)
        if found := await self._files.named(parent, [name], folders=True):
            self._making.pop(path, None)
            return Place(found[0].id, parent.drive_id)
        made = self._making.get(path)
        if made is None:
            made = self._making[path] = await self._ids.take()
        known = await self._files.make_folder(made, name, parent.id)
        self._making.pop(path, None)
        if not known:
            self._ids.forget()
            raise DestinationUnavailable("Google Drive made no folder for the file. What was received is kept.")
        return Place(made, parent.drive_id)
