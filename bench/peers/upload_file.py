"""A FastAPI endpoint with `UploadFile`, as its tutorial has it, that keeps the file. See `servers.FastApiUploadFile`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, UploadFile

app = FastAPI()
directory, synced = Path(sys.argv[2]), sys.argv[3] == "synced"


@app.post("/files", status_code=201)
def store(file: UploadFile) -> None:
    """Copy the temporary file, into which the framework has put the part, to its name."""
    with (directory / Path(file.filename or "unnamed").name).open("wb") as out:
        shutil.copyfileobj(file.file, out)
        if synced:
            out.flush()
            os.fsync(out.fileno())
    if synced:
        names = os.open(directory, os.O_RDONLY)
        os.fsync(names)
        os.close(names)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="warning")
