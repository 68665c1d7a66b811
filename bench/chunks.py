"""How many chunks go through to Google Drive in a second, when nothing but the server's own pace limits them."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.forebay import MIB
from bench.load import send
from bench.memory import lanes_of
from bench.report import Figure
from bench.scene import ELSEWHERE, LATENCY_S, Drive, drive_server

__all__ = ["chunks"]

_LONGEST_S = 600.0


def chunks(directory: Path, *, uploads: int = 4, each: int = 64, rounds: int = 3) -> list[Figure]:
    """Chunks of 16 MiB a second, over some seconds: taken by the server, and at Drive."""
    chunk = 16 * MIB
    size = each * chunk
    taken, there = [], []
    with (
        Drive(rate_mib=None, niceness=ELSEWHERE) as emulator,
        drive_server(emulator, directory / "server") as server,
        server.watching_lag() as lag,
    ):
        for _ in range(rounds):
            sources = [f"127.0.0.{2 + number}" for number in range(uploads)]
            wanted = {"filename": "chunks.bin", "size": size, "chunk_size": chunk}
            made = [server.call("POST", "/api/v1/uploads", wanted, source=source) for source in sources]
            lanes = [
                lane
                for upload, source in zip(made, sources, strict=True)
                for lane in lanes_of(server, upload, source=source)
            ]
            began = time.monotonic()
            answers = send(server.port, lanes, niceness=ELSEWHERE)
            if not answers.ok:
                raise RuntimeError(f"not all was taken: {answers.statuses}")
            for upload, source in zip(made, sources, strict=True):
                while (now := server.call("GET", f"/api/v1/uploads/{upload['id']}", source=source))[
                    "state"
                ] != "completed":
                    if now["state"] not in {"receiving", "transferring"} or time.monotonic() - began > _LONGEST_S:
                        raise RuntimeError(f"an upload is {now['state']}: {now.get('error')}")
                    time.sleep(0.05)
            there.append(uploads * each / (time.monotonic() - began))
            taken.append(uploads * each / answers.seconds)
        peak = server.peak_rss_mib()
    return [
        Figure(
            f"chunks of 16 MiB, {uploads} uploads of {each} at once: received",
            "≥ 8 /s (aim: 40)",
            f"{statistics.median(taken):.1f} /s",
            f"{statistics.median(taken) * 16:.0f} MiB/s; peak RSS {peak:.0f} MiB; loop blocked {lag()[0]} ({lag()[1]})",
        ),
        Figure(
            "the same: received, sent to Drive and verified",
            "≥ 8 /s",
            f"{statistics.median(there):.1f} /s",
            f"Drive takes {LATENCY_S * 1000:.0f} ms per request and hashes on the same processors",
        ),
    ]
