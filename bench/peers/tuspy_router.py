"""The tus router of tuspyserver in an application. See `servers.TusPyServer`."""

from __future__ import annotations

import os
import sys

import uvicorn
from fastapi import FastAPI
from tuspyserver import create_tus_router

_DIRECTORY, _SYNCED = sys.argv[2], sys.argv[3] == "synced"


def _sync(path: str, _metadata: dict[str, object]) -> None:
    """What its hook for completed uploads can add: the content and its name outlive a power cut before the answer."""
    for name in (path, _DIRECTORY):
        file = os.open(name, os.O_RDONLY)
        os.fsync(file)
        os.close(file)


app = FastAPI()
app.include_router(
    create_tus_router(prefix="files", files_dir=_DIRECTORY, on_upload_complete=_sync if _SYNCED else None)
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="warning")
