"""Small files beside everybody else: 4 KiB, 64 KiB and 1 MiB, each in a single request, 16 connections.

Twice: on the disk, where our answers and those of peers that say "synced" wait for it and the others' don't; and in a
file system in memory, where a sync costs nobody anything, so that all are of the same durability (tusd has no way to sync
before it answers).
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.forebay import Forebay
from bench.load import Answers, Lane, Request, send
from bench.peers import started
from bench.peers.servers import FastApiUploadFile, ResumableUpload, Rustus, Tusd, TusNode, TusPyServer, TusRival
from bench.report import Figure
from bench.rivals import FastApiStream, NginxDav, Rival

__all__ = ["small_peers"]

KIB = 1024
SIZES = (4 * KIB, 64 * KIB, 1024 * KIB)
CONNECTIONS = 16
_OURS = "Forebay"
_DECIDES = 64 * KIB
_LONGEST_S = 120.0
_IN_MEMORY = Path("/dev/shm")

_PEERS: Mapping[str, Callable[[Path], Rival]] = {
    "nginx": lambda directory: NginxDav(directory, "1m"),
    "fastapi-stream": FastApiStream,
    "fastapi-uploadfile": FastApiUploadFile,
    "fastapi-uploadfile-synced": lambda directory: FastApiUploadFile(directory, synced=True),
    "tusd": Tusd,
    "rustus": Rustus,
    "rustus-synced": lambda directory: Rustus(directory, synced=True),
    "tus-node": TusNode,
    "tus-node-synced": lambda directory: TusNode(directory, synced=True),
    "tuspyserver": TusPyServer,
    "tuspyserver-synced": lambda directory: TusPyServer(directory, synced=True),
    "resumable-upload": ResumableUpload,
}
_IN_PYTHON = (FastApiStream, FastApiUploadFile, TusPyServer, ResumableUpload)


@dataclass(slots=True)
class _Seen:
    rates: dict[str, list[float]] = field(default_factory=dict)
    slowest: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def small_peers(directory: Path, *, files: int = 800, rounds: int = 5, sizes: Sequence[int] = SIZES) -> list[Figure]:
    """Files per second, on the disk and in memory; everybody in turn."""
    figures = _where(directory / "disk", "on the disk", files, rounds, sizes)
    memory = Path(tempfile.mkdtemp(prefix="forebay-bench-", dir=_IN_MEMORY))
    memory.chmod(0o755)
    try:
        figures += _where(memory, "in memory", files, rounds, sizes)
    finally:
        shutil.rmtree(memory)
    return figures


def _where(directory: Path, where: str, files: int, rounds: int, sizes: Sequence[int]) -> list[Figure]:
    with ExitStack() as stack:
        rivals, absent = started(stack, directory, _PEERS)
        server = stack.enter_context(Forebay(directory / "forebay"))
        figures = [Figure(f"small files, {where}: {name}", "-", "absent", why) for name, why in absent.items()]
        for size in sizes:
            seen = _measured(server, rivals, size, files, rounds)
            title = f"{size // KIB} KiB, {CONNECTIONS} connections, {where}"
            if size == _DECIDES:
                figures += _promised(title, where, seen, rivals)
            figures += _everybody(title, seen)
    return figures


def _measured(server: Forebay, rivals: Sequence[Rival], size: int, files: int, rounds: int) -> _Seen:
    seen = _Seen()
    left: dict[str, Rival | None] = {_OURS: None, **{rival.name: rival for rival in rivals}}
    shuffled = random.Random(1)
    for number in range(rounds + 1):
        order = list(left)
        shuffled.shuffle(order)
        for name in order:
            rival = left[name]
            port = server.port if rival is None else rival.port
            try:
                answers = _sent(port, _requests(rival, [f"{number}-{file}.bin" for file in range(files)], size))
            except (RuntimeError, subprocess.TimeoutExpired) as exc:
                if rival is None:
                    raise
                seen.failed[name] = str(exc)[-200:].replace("\n", " ")
                print(f"failed: {name}, {size}: {seen.failed[name]}", file=sys.stderr, flush=True)
                del left[name]
            else:
                if number:  # the first round warms everybody up
                    seen.rates.setdefault(name, []).append(files / answers.seconds)
                    seen.slowest.setdefault(name, []).append(statistics.quantiles(answers.latencies, n=100)[98])
            _clear(server, rival)
    for name in seen.failed:
        seen.rates.pop(name, None)
    return seen


def _sent(port: int, requests: Sequence[Request]) -> Answers:
    lanes = [Lane(requests[lane::CONNECTIONS]) for lane in range(CONNECTIONS)]
    answers = send(port, lanes, timeout_s=_LONGEST_S)
    if not answers.ok:
        raise RuntimeError(f"not all was taken: {answers.statuses}")
    return answers


def _clear(server: Forebay, rival: Rival | None) -> None:
    """Nobody begins with another's files to be written back, nor with a directory of thousands of names."""
    if rival is not None:
        rival.clear()
    else:
        for path in server.files.glob("*.bin"):
            path.unlink()
    os.sync()


def _requests(rival: Rival | None, names: Sequence[str], size: int) -> list[Request]:
    """One request for each file, as everybody takes a file in one request."""
    if rival is None:
        return [Request(f"/api/v1/files/{name}", size) for name in names]
    if isinstance(rival, TusRival | FastApiUploadFile):
        return rival.at_once(names, size)
    return [Request(f"/{name}", size) for name in names]


def _promised(title: str, where: str, seen: _Seen, rivals: Sequence[Rival]) -> list[Figure]:
    """Against the fastest Python peer and tusd; on the disk only those whose answers mean as much as ours."""
    alike = [rival for rival in rivals if rival.name in seen.rates and (rival.synced or where == "in memory")]
    python = [rival.name for rival in alike if isinstance(rival, _IN_PYTHON)]
    figures = []
    if python:
        fastest = max(python, key=lambda name: statistics.median(seen.rates[name]))
        figures.append(_ratio(title, "≥ 2", seen, fastest))
    figures += [_ratio(title, "≥ 1", seen, rival.name) for rival in alike if isinstance(rival, Tusd)]
    return figures


def _ratio(title: str, target: str, seen: _Seen, name: str) -> Figure:
    ours, theirs = seen.rates[_OURS], seen.rates[name]
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    detail = f"{statistics.median(ours):.0f} : {statistics.median(theirs):.0f} /s"
    return Figure(f"{title}: {_OURS} / {name}", target, f"{ratio:.2f}", detail, "small")


def _everybody(title: str, seen: _Seen) -> list[Figure]:
    figures = []
    for name in sorted(seen.rates, key=lambda name: -statistics.median(seen.rates[name])):
        rates, slowest = seen.rates[name], seen.slowest[name]
        figures.append(
            Figure(
                f"{title}: {name}",
                "-",
                f"{statistics.median(rates):.0f} /s",
                f"{min(rates):.0f} - {max(rates):.0f}; p99 {statistics.median(slowest) * 1000:.0f} ms",
                values={"files/s": rates, "p99 s": slowest},
            )
        )
    return [*figures, *(Figure(f"{title}: {name}", "-", "failed", why) for name, why in seen.failed.items())]
