"""tus against the server's own way: 8 x 64 MiB side by side, and a file that is put together of eight parts."""

from __future__ import annotations

import http.client
import os
import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bench.forebay import MIB, Forebay
from bench.load import Lane, Request, send
from bench.memory import lanes_of
from bench.page_cache import touch
from bench.report import Figure

__all__ = ["tus"]

PARTS = 8
PIECE = 64 * MIB
RECORDED = 16 * MIB  # a PATCH is recorded, and its write-back begun, in pieces of the server's largest chunk
_ROOT = "/api/v1/tus"
_PATCH = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
_LOOK_S = 0.005


def tus(directory: Path, *, rounds: int = 11) -> list[Figure]:
    """Round by round, in another order each time; medians of the rounds' ratios."""
    ways: dict[str, Callable[[Forebay], float]] = {
        "chunks": partial(_chunks, chunk=PIECE),
        "smaller chunks": partial(_chunks, chunk=RECORDED),
        "patches": _patches,
        "file of chunks": _file_of_chunks,
        "file of parts": _file_of_parts,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    shuffled = random.Random(1)
    with Forebay(directory) as server:
        for number in range(rounds + 1):
            shuffled.shuffle(names)
            for name in names:
                touch(directory)
                taken = ways[name](server)
                os.sync()
                if number:
                    seconds[name].append(taken)
    title = f"{PARTS} x {PIECE // MIB} MiB at once: PATCHes of tus / chunks of"
    return [
        _compared(f"{title} {PIECE // MIB} MiB", seconds["patches"], seconds["chunks"]),
        _compared(f"{title} {RECORDED // MIB} MiB", seconds["patches"], seconds["smaller chunks"]),
        _compared(
            f"a file of {PARTS} x {PIECE // MIB} MiB, until stored: concatenation of tus / chunks",
            seconds["file of parts"],
            seconds["file of chunks"],
        ),
    ]


def _compared(title: str, ours: list[float], native: list[float]) -> Figure:
    ratio = statistics.median(other / mine for mine, other in zip(ours, native, strict=True))
    rates = [PARTS * PIECE / MIB / statistics.median(each) for each in (ours, native)]
    return Figure(title, "≥ 0.9", f"{ratio:.2f}", f"{rates[0]:.0f} : {rates[1]:.0f} MiB/s")


def _chunks(server: Forebay, *, chunk: int) -> float:
    """Eight uploads over a connection each; nothing is stored."""
    uploads = [server.create(PIECE, chunk_size=chunk) for _ in range(PARTS)]
    taken = _sent(server, [lane for upload in uploads for lane in lanes_of(server, upload, connections=1)])
    for upload in uploads:
        server.discard(upload)
    return taken


def _patches(server: Forebay) -> float:
    """Eight uploads that lack a byte in the end, so that nothing is stored."""
    paths = [_created(server, {"Upload-Length": str(PIECE + 1)}) for _ in range(PARTS)]
    taken = _sent(server, [Lane([Request(path, PIECE, "PATCH", _PATCH)]) for path in paths])
    for path in paths:
        _ask(server, "DELETE", path, {})
    return taken


def _file_of_chunks(server: Forebay) -> float:
    began = time.monotonic()
    upload = server.call("POST", "/api/v1/uploads", {"filename": "b.bin", "size": PARTS * PIECE, "chunk_size": PIECE})
    _sent(server, lanes_of(server, upload, connections=PARTS))
    return _stored(server, str(upload["id"]), began)


def _file_of_parts(server: Forebay) -> float:
    began = time.monotonic()
    part = {"Upload-Length": str(PIECE), "Upload-Concat": "partial"}
    paths = [_created(server, part) for _ in range(PARTS)]
    _sent(server, [Lane([Request(path, PIECE, "PATCH", _PATCH)]) for path in paths])
    whole = _created(server, {"Upload-Concat": f"final;{' '.join(paths)}", "Upload-Metadata": "filename Yi5iaW4="})
    return _stored(server, whole.rpartition("/")[2], began)


def _stored(server: Forebay, upload_id: str, began: float) -> float:
    """Wait until it is, remove it; seconds since `began`."""
    while (view := server.call("GET", f"/api/v1/uploads/{upload_id}"))["state"] != "completed":
        time.sleep(_LOOK_S)
    taken = time.monotonic() - began
    (server.files / view["result"]["name"]).unlink()
    return taken


def _created(server: Forebay, headers: Mapping[str, str]) -> str:
    return urlsplit(_ask(server, "POST", _ROOT, headers)["Location"]).path


def _ask(server: Forebay, method: str, path: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        connection.request(method, path, headers={"Tus-Resumable": "1.0.0", **headers})
        answer = connection.getresponse()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.read().decode()}")
        return dict(answer.headers.items()) | {"Location": answer.headers.get("Location", "")}
    finally:
        connection.close()


def _sent(server: Forebay, lanes: list[Lane]) -> float:
    answers = send(server.port, lanes)
    if not answers.ok:
        raise RuntimeError(f"not all was taken: {answers.statuses}")
    return answers.seconds
