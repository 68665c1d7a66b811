"""Receiving: 8 x 64 MiB through the real chunk endpoint into staging, against others on the same file system."""

from __future__ import annotations

import os
import random
import statistics
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.load import Answers, Lane, Request, send
from bench.page_cache import touch
from bench.report import Figure
from bench.rivals import BareLoop, FastApiStream, NginxDav, Rival

__all__ = ["receive"]

LANES = 8
PIECE = 64 * MIB


def receive(directory: Path, *, rounds: int = 15) -> list[Figure]:
    """All in turn, round by round, so that what else the machine does falls on all of them; medians of `rounds`.

    Each round in another order (the same in each run), and with the page cache's memory made ready: how the one before
    gave it back would decide how fast the next one gets it.
    """
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(Forebay(directory / "forebay"))
        lag = stack.enter_context(ours.watching_lag())
        rivals: list[Rival] = [
            NginxDav(_made(directory / "nginx-default"), "16k"),
            NginxDav(_made(directory / "nginx-best"), "1m"),
            BareLoop(_made(directory / "bare")),
            FastApiStream(_made(directory / "fastapi")),
        ]
        for rival in rivals:
            stack.enter_context(rival)
        measures = {rival.name: partial(_put_all, rival) for rival in rivals}
        measures |= {name: partial(measure, ours) for name, measure in OURS.items()}
        names = list(measures)
        shuffled = random.Random(1)
        for number in range(rounds + 1):
            shuffled.shuffle(names)
            for name in names:
                touch(directory)
                rate = measures[name]()
                os.sync()
                if number:  # the first round warms everybody up
                    rates.setdefault(name, []).append(rate)
        peak = ours.peak_rss_mib()
    targets = ("≥ 1.0", "≥ 1.0", "≥ 0.75", "-")
    return [
        *(
            Figure(f"receiving, {name} / {rival.name}", target, *_compared(rates[name], rates[rival.name]))
            for rival, target in zip(rivals, targets, strict=True)
            for name in OURS
        ),
        Figure("peak RSS while receiving", "-", f"{peak:.0f} MiB"),
        Figure("loop blocked meanwhile", "≤ 50 ms", *lag()),
    ]


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _put_all(rival: Rival) -> float:
    rate = _rate(send(rival.port, [Lane([Request(f"/file-{number}", PIECE)]) for number in range(LANES)]))
    rival.clear()
    return rate


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


def _compared(ours: list[float], theirs: list[float]) -> tuple[str, str]:
    """The median of the rounds' ratios, and both medians."""
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return f"{ratio:.2f}", f"{statistics.median(ours):.0f} : {statistics.median(theirs):.0f} MiB/s"


OURS = {"one upload of 8 chunks": _one_upload, "8 uploads": _eight_uploads}
