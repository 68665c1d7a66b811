"""Small files: 64 KiB each in a single request, 16 connections; every answer means synced, at its destination, in the database."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.forebay import Forebay
from bench.load import Lane, Request, send
from bench.report import Figure

__all__ = ["small"]

SIZE = 64 * 1024
CONNECTIONS = 16


def small(directory: Path, *, files: int = 1600, rounds: int = 5) -> list[Figure]:
    """Complete uploads per second, median of `rounds` after one to warm up."""
    rates, slowest = [], []
    with Forebay(directory / "forebay") as server, server.watching_lag() as lag:
        for number in range(rounds + 1):
            lanes = [
                Lane(
                    [Request(f"/api/v1/files/{number}-{lane}-{file}.bin", SIZE) for file in range(files // CONNECTIONS)]
                )
                for lane in range(CONNECTIONS)
            ]
            answers = send(server.port, lanes)
            if answers.statuses != {"201": files}:
                raise RuntimeError(f"not all was stored: {answers.statuses}")
            if number:
                rates.append(files / answers.seconds)
                slowest.append(statistics.quantiles(answers.latencies, n=100)[98])
        if sum(1 for path in server.files.iterdir() if path.is_file()) != files * (rounds + 1):
            raise RuntimeError("not every file is at the destination")
    return [
        Figure(
            "files of 64 KiB, 16 connections",
            "≥ 300 /s",
            f"{statistics.median(rates):.0f} /s",
            f"p99 {statistics.median(slowest) * 1000:.0f} ms; synced, published, recorded",
        ),
        Figure("loop blocked meanwhile", "≤ 50 ms", *lag()),
    ]
