"""Receiving to disk beside everybody else, plainly and over TLS: bodies of 16 MiB and 1 GiB over 1, 8 and 64 connections."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bench.certificate import Certificate
from bench.contenders import Chunks, Contender, TusPatches
from bench.forebay import MIB, Forebay
from bench.load import Lane, Request, send
from bench.page_cache import touch
from bench.peers import PEERS, over_tls, started
from bench.report import Figure
from bench.rivals import BareLoop, Sink

__all__ = ["Shape", "ingest"]

GIB = 1024 * MIB
RAW = "the raw disk, written and synced"
_LEAST = 512 * MIB  # less is over before it is measured
_CHUNKS = "Forebay, chunks"
_SYNCED = "Forebay, chunks, SHA-256 compared, synced"
_DECIDES = 8
_LONGEST_S = 300.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How many connections bring bodies of what size; each has one at a time."""

    connections: int
    size: int
    tls: bool = False

    @property
    def count(self) -> int:
        """So many bodies in all."""
        return max(self.connections, _LEAST // self.size)

    def __str__(self) -> str:
        size = f"{self.size // GIB} GiB" if self.size >= GIB else f"{self.size // MIB} MiB"
        return f"{self.connections} x {size}{' over TLS' if self.tls else ''}"

    def lanes(self, bodies: Sequence[Request]) -> list[Lane]:
        """The bodies, dealt out to the connections."""
        return [Lane(bodies[number :: self.connections]) for number in range(self.connections)]


SHAPES = (Shape(1, 16 * MIB), Shape(8, 16 * MIB), Shape(64, 16 * MIB), Shape(1, GIB), Shape(8, GIB))


@dataclass(slots=True)
class Seen:
    """What the rounds brought for one shape, by who made it."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """MiB per second."""
    costs: dict[str, list[float]] = field(default_factory=dict)
    """Processor seconds per GiB."""
    failed: dict[str, str] = field(default_factory=dict)


def ingest(
    directory: Path,
    *,
    tls: bool = False,
    rounds: int = 5,
    large_rounds: int = 3,
    shapes: Sequence[Shape] = SHAPES,
) -> list[Figure]:
    """Everybody in turn, round by round and in another order each time; after each all that it stored is removed.

    With `tls` those that speak it, with one certificate.
    """
    certificate = Certificate.made(directory / "certificate") if tls else None
    shapes = [replace(shape, tls=tls) for shape in shapes]
    with ExitStack() as stack:
        peers = PEERS if certificate is None else over_tls(certificate)
        rivals, absent = started(stack, directory, peers)
        for peer in (rival for rival in rivals if rival.synced):
            raise RuntimeError(f"{peer.name} would be compared with those that sync nothing")
        settings = {"PARALLEL_UPLOAD_MAX_CONCURRENT_UPLOADS": str(max(shape.count for shape in shapes))}
        server = stack.enter_context(Forebay(directory / "forebay", settings, certificate=certificate))
        power = settings | {"PARALLEL_UPLOAD_DURABILITY": "power"}
        synced = stack.enter_context(Forebay(directory / "forebay-synced", power, certificate=certificate))
        (directory / "sink").mkdir()
        sink = stack.enter_context(Sink(directory / "sink", certificate=certificate))
        ours: list[Contender] = [
            Chunks(server, _CHUNKS),
            Chunks(server, "Forebay, chunks, SHA-256 compared", sha256=True),
            TusPatches(server, "Forebay, tus"),
            Chunks(synced, _SYNCED, sha256=True),
        ]
        _measured(directory, Shape(_DECIDES, 16 * MIB, tls), [*ours, *rivals, sink], 1)  # warms everybody up
        seen = {}
        for shape in shapes:
            print(f"{shape} …", file=sys.stderr, flush=True)
            times = rounds if shape.size < GIB else large_rounds
            seen[shape] = _measured(directory, shape, [*ours, *rivals, sink], times)
    figures = [_absent(name, why) for name, why in absent.items()]
    for shape, found in seen.items():
        if shape.connections == _DECIDES:
            figures += _promised(shape, found, [rival.name for rival in rivals])
        figures += _everybody(shape, found)
    return figures


def _measured(directory: Path, shape: Shape, contenders: Sequence[Contender], rounds: int) -> Seen:
    seen = Seen()
    by_name = {contender.name: contender for contender in contenders}
    measures = {name: partial(_taken, contender, shape) for name, contender in by_name.items()}
    measures[RAW] = partial(_raw_disk, directory, shape)
    shuffled = random.Random(1)
    for _ in range(rounds):
        names = list(measures)
        shuffled.shuffle(names)
        for name in names:
            touch(directory)
            try:
                rate, cost = measures[name]()
            except (OSError, RuntimeError, subprocess.TimeoutExpired) as exc:
                if name == RAW or name.startswith("Forebay"):
                    raise
                seen.failed[name] = str(exc)[-200:].replace("\n", " ")
                print(f"failed: {name}, {shape}: {seen.failed[name]}", file=sys.stderr, flush=True)
                del measures[name]
                with suppress(OSError, RuntimeError):  # it may have ended
                    by_name[name].clear()
            else:
                seen.rates.setdefault(name, []).append(rate)
                seen.costs.setdefault(name, []).append(cost)
            os.sync()
    for name in seen.failed:
        seen.rates.pop(name, None)
        seen.costs.pop(name, None)
    return seen


def _taken(contender: Contender, shape: Shape) -> tuple[float, float]:
    lanes = shape.lanes(contender.bodies(shape.count, shape.size))
    before = contender.cpu_seconds()
    answers = send(contender.port, lanes, timeout_s=_LONGEST_S, authority=contender.authority)
    used = contender.cpu_seconds() - before
    if not answers.ok:
        raise RuntimeError(f"not all was taken: {answers.statuses}")
    contender.clear()
    total = shape.count * shape.size
    return total / MIB / answers.seconds, used / (total / GIB)


def _raw_disk(directory: Path, shape: Shape) -> tuple[float, float]:
    """As many writers as connections, each file synced when it is whole: no server, no network."""
    block = memoryview(bytearray(os.urandom(MIB)))
    paths = [directory / f"raw-{number}" for number in range(shape.count)]

    def write(own: Sequence[Path]) -> None:
        for path in own:
            file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            for offset in range(0, shape.size, MIB):
                os.pwrite(file, block, offset)
            os.fdatasync(file)
            os.close(file)

    writers = [
        threading.Thread(target=write, args=(paths[number :: shape.connections],))
        for number in range(shape.connections)
    ]
    cpu, began = time.process_time(), time.perf_counter()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    for path in paths:
        path.unlink()
    total = shape.count * shape.size
    return total / MIB / seconds, used / (total / GIB)


def _promised(shape: Shape, seen: Seen, peers: Iterable[str]) -> list[Figure]:
    """The lines of the issue that these rounds answer; the bare loop is no peer."""
    judged = [name for name in peers if name in seen.rates and name != BareLoop.name]
    figures = [_ratio("raw", "≥ 0.7", shape, seen.rates, (_SYNCED, RAW))]
    if judged:
        fastest = max(judged, key=lambda name: statistics.median(seen.rates[name]))
        cheapest = min(judged, key=lambda name: statistics.median(seen.costs[name]))
        figures += [
            _ratio("ingest", "≥ 1.2", shape, seen.rates, (_CHUNKS, fastest)),
            _ratio("cpu", "≤ 0.7", shape, seen.costs, (_CHUNKS, cheapest)),
        ]
    if BareLoop.name in seen.rates:
        figures.append(_ratio("bare", "≥ 0.80", shape, seen.rates, (_CHUNKS, BareLoop.name)))
    return figures


def _ratio(
    promise: str, target: str, shape: Shape, numbers: Mapping[str, Sequence[float]], names: tuple[str, str]
) -> Figure:
    """The median of the rounds' ratios, and both medians."""
    ours, theirs = (numbers[name] for name in names)
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    medians = statistics.median(ours), statistics.median(theirs)
    if promise == "cpu":
        what, detail = "processor time", "{:.2f} : {:.2f} s per GiB".format(*medians)
    else:
        what, detail = "ingest", "{:.0f} : {:.0f} MiB/s".format(*medians)
    return Figure(f"{what}, {shape}: {' / '.join(names)}", target, f"{ratio:.2f}", detail, promise)


def _everybody(shape: Shape, seen: Seen) -> list[Figure]:
    """The fastest first."""
    figures = []
    for name in sorted(seen.rates, key=lambda name: -statistics.median(seen.rates[name])):
        rates, costs = seen.rates[name], seen.costs[name]
        figures.append(
            Figure(
                f"ingest, {shape}: {name}",
                "-",
                f"{statistics.median(rates):.0f} MiB/s",
                f"{min(rates):.0f} - {max(rates):.0f}; {statistics.median(costs):.2f} s of processors per GiB",
                values={"MiB/s": rates, "cpu s/GiB": costs},
            )
        )
    return [*figures, *(_absent(f"{name}, {shape}", why) for name, why in seen.failed.items())]


def _absent(name: str, why: str) -> Figure:
    return Figure(name, "-", "absent", why)
