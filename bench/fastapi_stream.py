"""How a FastAPI application usually receives a file. See `rivals.FastApiStream`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()
directory = Path(sys.argv[2])


@app.put("/{name}", status_code=201)
async def put(name: str, request: Request) -> None:
    """Write the body to a file as it comes."""
    with (directory / name).open("wb") as file:
        async for piece in request.stream():
            file.write(piece)


if __name__ == "__main__":
    chain, key = sys.argv[3:] or (None, None)
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        ssl_certfile=chain,
        ssl_keyfile=key,
    )
