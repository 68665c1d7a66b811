"""`forebay upload`: several files, one after the other; small ones side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forebay._client import AsyncClient, OnConflict
from forebay._upload import SINGLE_REQUEST_BYTES
from forebay.cli._report import Reporter
from forebay.cli._run import FAILURE
from forebay.errors import ForebayError

__all__ = ["UploadOptions", "upload_files"]

_SMALL_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """As given on the command line."""

    name: str | None
    folder: str
    destination: str | None
    on_conflict: OnConflict
    parallel: int | None
    resume: bool


async def upload_files(client: AsyncClient, files: Sequence[Path], options: UploadOptions, reporter: Reporter) -> int:
    """Upload each; what happens to one stops no other. Gives the exit code: 0 when all are there, verified.

    A large file fills the line by itself, so those go one at a time; small ones wait for answers, so eight go at once.
    """
    small, large = asyncio.Semaphore(_SMALL_AT_ONCE), asyncio.Semaphore(1)
    failures = 0

    async def one(path: Path) -> None:
        nonlocal failures
        async with small if _is_small(path) else large:
            try:
                await client.upload(
                    path,
                    name=options.name,
                    folder=options.folder,
                    destination=options.destination,
                    on_conflict=options.on_conflict,
                    parallel=options.parallel,
                    progress=reporter.event,
                    resume=options.resume,
                )
            except (ForebayError, ValueError) as error:
                failures += 1
                reporter.failed(path, error)

    async with client, asyncio.TaskGroup() as group:
        for path in dict.fromkeys(files):  # a file named twice is one file
            group.create_task(one(path))
    return FAILURE if failures else 0


def _is_small(path: Path) -> bool:
    """Whether it goes in one request; what can't be looked at is refused at once, so it is small too."""
    try:
        return path.stat().st_size <= SINGLE_REQUEST_BYTES
    except OSError:
        return True
