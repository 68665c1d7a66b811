"""From the first byte to "verified at the destination": a 2 GiB file sent by the command line client."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.page_cache import touch
from bench.report import Figure

__all__ = ["digest"]

SIZE = 2048 * MIB


def digest(directory: Path, *, rounds: int = 3) -> list[Figure]:
    """How much longer the whole takes than receiving: that is what the SHA-256 pass and the publication cost."""
    file = _random_file(Path("/dev/shm") / f"forebay-bench-{os.getpid()}.bin")
    received, total = [], []
    try:
        with Forebay(directory / "forebay") as server, server.watching_lag() as lag:
            for _ in range(rounds):
                touch(directory, mib=SIZE // MIB)
                until_received, until_stored = _upload(server, file)
                received.append(until_received)
                total.append(until_stored)
                (server.files / file.name).unlink()
                os.sync()
    finally:
        file.unlink()
    ratio = statistics.median(whole / part for whole, part in zip(total, received, strict=True))
    return [
        Figure(
            "2 GiB by `forebay upload`: total / receiving",
            "-",
            f"{ratio:.2f}",
            f"received after {statistics.median(received):.1f} s, stored and verified after "
            f"{statistics.median(total):.1f} s",
        ),
        Figure("loop blocked meanwhile", "≤ 50 ms", *lag()),
    ]


def _random_file(path: Path) -> Path:
    piece = os.urandom(MIB)
    with path.open("wb") as out:
        for number in range(SIZE // MIB):
            out.write(number.to_bytes(8, "big") + piece[8:])
    return path


def _upload(server: Forebay, file: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "forebay", "upload", str(file), "--server", server.url, "--json"]
    environment = {**os.environ, "FOREBAY_STATE_DIR": str(server.directory / "client")}
    began: float | None = None
    received: float | None = None
    upload = ""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as client:
        while client.poll() is None:
            if not upload:
                found = server.call("GET", "/api/v1/uploads?limit=1")["uploads"]
                if found and found[0]["state"] not in {"completed", "cancelled"}:
                    upload, began = found[0]["id"], time.perf_counter()
            elif received is None:
                if server.call("GET", f"/api/v1/uploads/{upload}")["bytes_received"] == SIZE:
                    received = time.perf_counter()
            elif server.call("GET", f"/api/v1/uploads/{upload}")["state"] == "completed":
                break
            time.sleep(0.02)
        stored = time.perf_counter()
        if client.wait() or began is None or received is None:
            raise RuntimeError(f"the upload failed with {client.returncode}")
    return received - began, stored - began
