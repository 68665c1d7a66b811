"""Twice as many users as the server admits: who is refused is told when to come again, and the others get all there is."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.page_cache import touch
from bench.patient import Seen, many_users
from bench.report import Figure

__all__ = ["overload"]

ADMITTED = 8
SIZE = 32 * MIB


def overload(directory: Path, *, rounds: int = 5, seconds: float = 15.0) -> list[Figure]:
    """As many users as are admitted, and twice as many; in turn. Nobody is queued, so that there is something to refuse."""
    settings = {
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": str(ADMITTED),
        "PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(ADMITTED),
        "PARALLEL_UPLOAD_QUEUE_TIMEOUT_S": "0",
    }
    rates: dict[int, list[float]] = {ADMITTED: [], 2 * ADMITTED: []}
    seen: dict[int, list[Seen]] = {users: [] for users in rates}
    with Forebay(directory / "server", settings) as server:
        for number in range(rounds + 1):
            for users in sorted(rates, reverse=bool(number % 2)):
                touch(directory)
                label = f"{number}-{users}"
                found = many_users(server.port, users=users, seconds=seconds, size=SIZE, label=label)
                if number:  # the first round warms up
                    rates[users].append(found.stored * SIZE / MIB / found.seconds)
                    seen[users].append(found)
                for path in server.files.glob("*.bin"):
                    path.unlink()
                os.sync()
        answers = server.call("GET", "/api/v1/system/upload-status")["concurrency_manager"]["refused_total"]
    peak, loaded = (statistics.median(rates[users]) for users in rates)
    ratio = statistics.median(twice / once for once, twice in zip(*rates.values(), strict=True))
    over = seen[2 * ADMITTED]
    others = sum((sum(found.others.values()) for found in over), 0)
    said = {status: count for found in over for status, count in found.others.items()}
    return [
        Figure(
            f"{2 * ADMITTED} users where {ADMITTED} are admitted: throughput / with {ADMITTED}; others than 201 and 503",
            "≥ 0.90, 0",
            f"{ratio:.2f}, {others}",
            f"{loaded:.0f} : {peak:.0f} MiB/s stored and synced; {sum(found.refused for found in over)} refusals, "
            f"{sum(found.without_retry_after for found in over)} of them without Retry-After; "
            f"the server counts {answers}{f'; {said}' if said else ''}",
            "overload",
            {f"MiB/s, {users} users": each for users, each in rates.items()},
        )
    ]
