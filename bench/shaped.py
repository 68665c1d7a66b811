"""Twenty and two hundred users who share a line of 32 MiB/s: how much of it is used, and how evenly; beside nginx."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.contenders import Chunks, Contender
from bench.forebay import MIB, Forebay
from bench.load import Lane, send
from bench.report import Figure
from bench.rivals import NginxDav
from bench.scene import ELSEWHERE, Line

__all__ = ["shaped"]

_LINK_MIB = 32.0
_TOTAL = 640 * MIB  # twenty seconds of the line, shared by all users


def shaped(directory: Path, *, users: Sequence[int] = (20, 200), rounds: int = 3, total: int = _TOTAL) -> list[Figure]:
    """Each user brings one body over one connection; ours and nginx take turns."""
    settings = {"PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(max(users))}
    figures = []
    (directory / "nginx").mkdir()
    with Forebay(directory / "forebay", settings) as server, NginxDav(directory / "nginx", "1m") as nginx:
        contenders: list[Contender] = [Chunks(server, "Forebay"), nginx]
        for count in users:
            shares: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            spreads: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            for number in range(rounds):
                for contender in contenders[:: -1 if number % 2 else 1]:
                    share, spread = _taken(contender, count, total // count)
                    shares[contender.name].append(share)
                    spreads[contender.name].append(spread)
            figures += [
                Figure(
                    f"{count} users on a line of {_LINK_MIB:.0f} MiB/s, {total // count // 1024} KiB each: {name}",
                    "-",
                    f"{statistics.median(share):.1%} of the line",
                    f"the slowest took {statistics.median(spreads[name]):.2f} x the median",
                    values={"share": share, "slowest / median": spreads[name]},
                )
                for name, share in shares.items()
            ]
    return figures


def _taken(contender: Contender, users: int, size: int) -> tuple[float, float]:
    """Share of the line that was used, and the slowest user's time over the median."""
    bodies = contender.bodies(users, size)
    with Line(contender.port, link_mib=_LINK_MIB) as line:
        answers = send(line.port, [Lane([body]) for body in bodies], niceness=ELSEWHERE)
    if not answers.ok:
        raise RuntimeError(f"not all was taken: {answers.statuses}")
    contender.clear()
    rate = users * size / MIB / answers.seconds
    return rate / _LINK_MIB, max(answers.latencies) / statistics.median(answers.latencies)
