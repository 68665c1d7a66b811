"""The guide's table for real: files of 10 MB to 2 GB through a wide-area link into Google Drive, in parallel and chunk by chunk.

The sequential runs wait most of the time, and each has its share of line and Drive for itself, so they go at once; the
parallel runs go alone, one after the other. What would take ten minutes chunk by chunk is measured in part and told as
such, unless `full` is asked for.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.forebay import MIB, Forebay
from bench.profiles import PROFILES, profile_settings
from bench.report import Figure
from bench.scene import DRIVE_RATE_MIB, LATENCY_S, MB, RTT_MS, Drive, Line, Sending, Sent, drive_server, made_file

__all__ = ["CHUNK", "drive", "estimated_s", "latency"]

SIZES_MB = (10, 100, 500, 900, 2000)
FACTORS = {10: 2, 100: 3, 500: 8, 900: 8, 2000: 8}
SHORT_MB = 100  # files above are measured in part in sequential mode, so much of each
ROUNDS = {10: 5, 100: 3}  # of short parallel runs; the median counts
LARGE_MB = 900  # from here on the line's own limit must be near
NEAR_LIMIT = 1.15
SOME_MB = {100, 900}  # with the profiles, unless all is measured in full
CHUNK = 4 * MIB  # of the sequential mode


@dataclass(frozen=True, slots=True)
class Route:
    """What is between the client and Drive. MiB/s; None: no limit."""

    title: str
    rate_mib: float | None = None
    link_mib: float | None = None
    lanes: int = 8

    @property
    def limit_mib(self) -> float:
        """What the slowest part lets pass."""
        limits = [DRIVE_RATE_MIB]
        if self.rate_mib is not None:
            limits.append(self.rate_mib * self.lanes)
        if self.link_mib is not None:
            limits.append(self.link_mib)
        return min(limits)


PER_CONNECTION = Route("4 MiB/s per connection", rate_mib=4)
WHOLE_LINE = Route("32 MiB/s for the whole line", link_mib=32)
DRIVE_ALONE = Route("a line without limit")


def estimated_s(size: int, path: Route = PER_CONNECTION) -> float:
    """What `size` bytes should take in sequential mode: line, round trip and Drive's answer for each chunk."""
    rate = min(limit for limit in (path.rate_mib, path.link_mib, 1000.0) if limit is not None) * MIB
    chunks = -(-size // CHUNK)
    begins_and_ends = 3 * LATENCY_S
    return size / rate + size / (DRIVE_RATE_MIB * MIB) + chunks * (RTT_MS / 1000 + LATENCY_S) + begins_and_ends


def drive(directory: Path, *, full: bool = False, sizes_mb: Sequence[int] = SIZES_MB) -> list[Figure]:
    """The table on a line with a limit for each connection, with one for all, with none; the guide's profiles."""
    with _files(directory, sizes_mb) as files, Drive() as emulator:
        bench = _Bench(directory, emulator, files, full=full)
        guides, base = bench.compare(PER_CONNECTION, sizes_mb)
        whole, _ = bench.compare(WHOLE_LINE, sizes_mb)
        alone, _ = bench.compare(DRIVE_ALONE, [size for size in sizes_mb if size >= LARGE_MB])
        some = sizes_mb if full else [size for size in sizes_mb if size in SOME_MB]
        profiles = [figure for number in range(len(PROFILES)) for figure in bench.profile(number, some, base)]
        bench.check()
    return [*guides, *whole, *alone, *profiles]


@dataclass(frozen=True, slots=True)
class _Sequential:
    """How long a file takes chunk by chunk."""

    seconds: float
    measured: int
    """Chunks that were."""
    chunks: int

    def __str__(self) -> str:
        if self.measured == self.chunks:
            return f"{self.seconds:.1f} s"
        return f"{self.seconds:.0f} s (extrapolated from {self.measured} of {self.chunks} chunks)"


class _Bench:
    """Files, an emulator, and the servers before it."""

    def __init__(self, directory: Path, emulator: Drive, files: Mapping[int, tuple[Path, str]], *, full: bool) -> None:
        self._directory = directory
        self._drive = emulator
        self._files = files
        self._full = full
        self._number = 0
        self._expected: dict[str, str] = {}

    def compare(self, path: Route, sizes_mb: Sequence[int]) -> tuple[list[Figure], dict[int, _Sequential]]:
        """Both modes over such a line; the figures, and the sequential times."""
        if not sizes_mb:
            return [], {}
        with self._server(parallel=False) as server:
            base, busy = self._sequential(server, path, sizes_mb)
        with self._server() as server:
            times = {size: self._parallel(server, path, size) for size in sizes_mb}
        figures = [self._figure(path, size, times[size], base[size]) for size in sizes_mb]
        figures.append(Figure(f"machine busy beside {len(base)} sequential uploads", "-", f"{busy:.0%}"))
        return figures, base

    def profile(self, number: int, sizes_mb: Sequence[int], base: Mapping[int, _Sequential]) -> list[Figure]:
        """One of the guide's profiles over the guide's line, against the sequential mode."""
        name = PROFILES[number][0]
        path = replace(PER_CONNECTION, title=f"{PER_CONNECTION.title}, profile {name}", lanes=PROFILES[number][4])
        with self._server(settings=profile_settings(number)) as server:
            return [self._figure(path, size, self._parallel(server, path, size), base[size]) for size in sizes_mb]

    def check(self) -> None:
        """Every file arrived once and whole, and nothing else did.

        Raises:
            RuntimeError: that is not so.
        """
        _check(self._drive, self._expected)

    def _figure(self, path: Route, size_mb: int, seconds: float, base: _Sequential) -> Figure:
        least = size_mb * MB / (path.limit_mib * MIB)
        target = f"≥ {FACTORS[size_mb]} x" if path.rate_mib is not None else "-"
        near = seconds / least
        if path.rate_mib is None and size_mb >= LARGE_MB:
            target = f"≤ {NEAR_LIMIT} x the limit"
        return Figure(
            f"{size_mb} MB, {path.title}",
            target,
            f"{base.seconds / seconds:.1f} x",
            f"{seconds:.1f} s : {base}; {near:.2f} of what the line's {path.limit_mib:.0f} MiB/s takes",
            "drive" if path == PER_CONNECTION and size_mb == LARGE_MB else "",
        )

    @contextmanager
    def _server(self, *, parallel: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[Forebay]:
        self._number += 1
        directory = self._directory / f"server-{self._number}"
        with drive_server(self._drive, directory, parallel=parallel, settings=settings) as server:
            _warm_up(server, directory)
            yield server

    def _parallel(self, server: Forebay, path: Route, size_mb: int) -> float:
        with Line(server.port, rate_mib=path.rate_mib, link_mib=path.link_mib) as line:
            return statistics.median(
                self._send(line, size_mb, "parallel").seconds for _ in range(ROUNDS.get(size_mb, 1))
            )

    def _sequential(
        self, server: Forebay, path: Route, sizes_mb: Sequence[int]
    ) -> tuple[dict[int, _Sequential], float]:
        with ExitStack() as stack, ThreadPoolExecutor(len(sizes_mb)) as threads:
            lines = [
                stack.enter_context(Line(server.port, rate_mib=path.rate_mib, link_mib=path.link_mib)) for _ in sizes_mb
            ]
            with _busy() as busy:
                done = list(threads.map(lambda size, line: self._one_by_one(server, line, size), sizes_mb, lines))
        return dict(zip(sizes_mb, done, strict=True)), busy[0]

    def _one_by_one(self, server: Forebay, line: Line, size_mb: int) -> _Sequential:
        chunks = -(-size_mb * MB // CHUNK)
        if self._full or size_mb <= SHORT_MB:
            return _Sequential(self._send(line, size_mb, "sequential").seconds, chunks, chunks)
        sent = self._send(line, size_mb, "sequential", enough=SHORT_MB * MB)
        server.call("DELETE", f"/api/v1/uploads/{sent.upload_id}")
        acknowledged = [at for at in sent.received_at if at[1]]
        (first_s, first), (last_s, last) = acknowledged[0], acknowledged[-1]
        per_byte = (last_s - first_s) / (last - first)
        return _Sequential(first_s + (size_mb * MB - first) * per_byte, last // CHUNK, chunks)

    def _send(self, line: Line, size_mb: int, mode: str, *, enough: int | None = None) -> Sent:
        file, digest = self._files[size_mb]
        self._number += 1
        name = f"{size_mb}-{self._number}.bin"
        print(f"  {name}, {mode} …", file=sys.stderr, flush=True)
        sent = Sending(file, url=line.url, state=self._directory / f"client-{self._number}", name=name).wait(
            enough=enough
        )
        if sent.mode != mode or sent.sha256 != ("" if enough else digest):
            raise RuntimeError(f"{name}: {sent.mode}, {sent.sha256}, not {mode}, {digest}")
        if not enough:
            self._expected[name] = digest
        return sent


def latency(directory: Path, *, rounds: int = 3) -> list[Figure]:
    """What a Drive that takes its time for every request adds, on a line that costs nothing."""
    size = 256 * MIB
    with _files(directory, [], size) as files, Drive(rate_mib=None) as emulator:
        file, digest = files[0]
        seconds, expected = {}, {}
        for mode, times in (("parallel", rounds), ("sequential", 1)):
            at = directory / mode
            with drive_server(emulator, at, parallel=mode == "parallel") as server:
                _warm_up(server, at)
                runs = []
                for number in range(times):
                    name = f"{mode}-{number}.bin"
                    runs.append(Sending(file, url=server.url, state=at / "client", name=name).wait().seconds)
                    expected[name] = digest
                seconds[mode] = statistics.median(runs)
        _check(emulator, expected)
    return [
        Figure(
            f"256 MiB with {LATENCY_S * 1000:.0f} ms per request of Drive's, no other limit",
            "≤ 2.5 s",
            f"{seconds['parallel']:.2f} s",
            f"chunk by chunk, 4 MiB each: {seconds['sequential']:.1f} s",
        )
    ]


def _warm_up(server: Forebay, directory: Path) -> None:
    """A server in use has its token and its connections to Drive."""
    made_file(directory / "warm.bin", MB)
    Sending(directory / "warm.bin", url=server.url, state=directory / "client").wait()


def _check(emulator: Drive, expected: Mapping[str, str]) -> None:
    found = [(file["name"], file["digests"]["sha256"]) for file in emulator.files()]
    there = sorted(each for each in found if not each[0].startswith("warm"))
    if there != sorted(expected.items()):
        raise RuntimeError(f"Drive holds {there}, not {sorted(expected.items())}")
    if violations := emulator.counts()["violations"]:
        raise RuntimeError(f"{violations} requests did what Drive does not allow")


@contextmanager
def _files(directory: Path, sizes_mb: Sequence[int], size: int | None = None) -> Iterator[dict[int, tuple[Path, str]]]:
    """Files to send, with their SHA-256, by MB; `size` is that of one more, number 0."""
    folder = directory / "files"
    sizes = {size_mb: size_mb * MB for size_mb in sizes_mb} | ({} if size is None else {0: size})
    made = {
        number: (path := folder / f"{number}.bin", made_file(path, count, seed=number))
        for number, count in sizes.items()
    }
    try:
        yield made
    finally:
        for path, _ in made.values():
            path.unlink(missing_ok=True)


@contextmanager
def _busy() -> Iterator[list[float]]:
    """How much of the machine's processors was used meanwhile, by whomever."""
    idle = [_idle_s()]
    began = time.monotonic()
    share = [0.0]
    yield share
    capacity = (time.monotonic() - began) * (os.cpu_count() or 1)
    share[0] = 1 - (_idle_s() - idle[0]) / capacity if capacity else 0.0


def _idle_s() -> float:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
