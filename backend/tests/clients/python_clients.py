"""tuspy and aiotus as programs use them. A process of its own: neither closes all that it opens.

python python_clients.py tuspy|tuspy-resumed ADDRESS FILE
python python_clients.py aiotus ADDRESS FILE [FILE…]
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

import aiotus
from tusclient.client import TusClient

PIECE = 1_000_000


def tuspy(address: str, file: Path) -> None:
    """Piece by piece, each with its SHA-1."""
    uploader = TusClient(address).uploader(
        str(file), chunk_size=PIECE, upload_checksum=True, metadata={"filename": file.name}
    )
    uploader.upload()
    assert uploader.offset == file.stat().st_size


def tuspy_resumed(address: str, file: Path) -> None:
    """Another uploader goes on after the first piece."""
    client = TusClient(address)
    first = client.uploader(str(file), chunk_size=PIECE, metadata={"filename": file.name})
    first.upload_chunk()
    second = client.uploader(str(file), chunk_size=PIECE, url=first.url)
    assert second.offset == PIECE
    second.upload()


async def by_aiotus(address: str, files: list[Path]) -> None:
    """One file, or several that become one, with the name of the first."""
    metadata = {"filename": files[0].name.encode()}
    with ExitStack() as opened:
        parts = [opened.enter_context(file.open("rb")) for file in files]
        if len(parts) == 1:
            url = await aiotus.upload(address, parts[0], metadata)
        else:
            url = await aiotus.upload_multiple(address, parts, metadata)
    assert url is not None


if __name__ == "__main__":
    client, address, *names = sys.argv[1:]
    files = [Path(name) for name in names]
    match client:
        case "tuspy":
            tuspy(address, files[0])
        case "tuspy-resumed":
            tuspy_resumed(address, files[0])
        case "aiotus":
            asyncio.run(by_aiotus(address, files))
