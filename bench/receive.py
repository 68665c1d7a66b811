"""Receiving: 8 x 64 MiB through the real chunk endpoint into staging, against others on the same file system."""

from __future__ import annotations

import os
import statistics
from contextlib import ExitStack
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.load import Answers, Lane, Request, send
from bench.report import Figure
from bench.rivals import BareLoop, FastApiStream, NginxDav, Rival

__all__ = ["receive"]

LANES = 8
PIECE = 64 * MIB


def receive(directory: Path, *, rounds: int = 7) -> list[Figure]:
    """Alternate between all servers, so that what else the machine does falls on all of them; medians of `rounds`."""
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(Forebay(directory / "forebay"))
        lag = stack.enter_context(ours.watching_lag())
        rivals: list[Rival] = [
            stack.enter_context(kind(_made(directory / kind.__name__))) for kind in (NginxDav, BareLoop, FastApiStream)
        ]
        for number in range(rounds + 1):
            for rival in rivals:
                rate = _rate(_put_all(rival))
                rival.clear()
                os.sync()
                if number:  # the first round warms everybody up
                    rates.setdefault(rival.name, []).append(rate)
            for name, measure in (("one", _one_upload), ("eight", _eight_uploads)):
                rate = measure(ours)
                os.sync()
                if number:
                    rates.setdefault(name, []).append(rate)
        peak = ours.peak_rss_mib()
    nginx, bare, fastapi = (rates[rival.name] for rival in rivals)
    one, eight = rates["one"], rates["eight"]
    return [
        Figure("receive / nginx DAV PUT, one upload of 8 chunks", "≥ 1.0", _ratio(one, nginx), _rates(one, nginx)),
        Figure("receive / nginx DAV PUT, 8 uploads", "≥ 1.0", _ratio(eight, nginx), _rates(eight, nginx)),
        Figure("receive / bare recv_into + pwrite, one upload", "≥ 0.75", _ratio(one, bare), _rates(one, bare)),
        Figure("receive / bare recv_into + pwrite, 8 uploads", "≥ 0.75", _ratio(eight, bare), _rates(eight, bare)),
        Figure("receive / FastAPI request.stream()", "-", _ratio(one, fastapi), _rates(one, fastapi)),
        Figure("loop blocked while receiving", "≤ 50 ms", f"{lag():.0f} ms", f"server's peak RSS {peak:.0f} MiB"),
    ]


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _put_all(rival: Rival) -> Answers:
    return send(rival.port, [Lane([Request(f"/file-{number}", PIECE)]) for number in range(LANES)])


def _one_upload(server: Forebay) -> float:
    upload = server.create(LANES * PIECE, chunk_size=PIECE)
    answers = send(
        server.port, [Lane([Request(server.chunk_target(upload, number), PIECE)]) for number in range(LANES)]
    )
    server.discard(upload)
    return _rate(answers)


def _eight_uploads(server: Forebay) -> float:
    uploads = [server.create(PIECE, chunk_size=PIECE) for _ in range(LANES)]
    answers = send(server.port, [Lane([Request(server.chunk_target(upload, 0), PIECE)]) for upload in uploads])
    for upload in uploads:
        server.discard(upload)
    return _rate(answers)


def _rate(answers: Answers) -> float:
    if not answers.ok:
        raise RuntimeError(f"not all was taken: {answers.statuses}")
    return LANES * PIECE / MIB / answers.seconds


def _ratio(ours: list[float], theirs: list[float]) -> str:
    return f"{statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True)):.2f}"


def _rates(ours: list[float], theirs: list[float]) -> str:
    return f"{statistics.median(ours):.0f} : {statistics.median(theirs):.0f} MiB/s"
