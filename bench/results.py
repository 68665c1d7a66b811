"""What measurements left behind: a file of JSON lines for each, and `REPORT.md` made of all of them.

Laws: a line has the numbers of every round, so that a table can be made again; a measurement that is run again replaces
its former one; a promise that nothing has measured says so in the report.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.peers.versions import GO, NPM, PYTHON, RUST
from bench.plots import bars
from bench.report import Figure, table

__all__ = ["PROMISES", "keep", "report"]

_RATES = {"ingest": "MiB/s", "ingest_tls": "MiB/s", "small_peers": "files/s"}
RESULTS = Path(__file__).with_name("results")

PROMISES = (
    ("ingest", "ingest to disk, 8 connections, checksummed / the best peer of the same durability", "≥ 1.2"),
    ("bare", "the same / a bare threaded recv_into + pwrite loop", "≥ 0.80"),
    ("raw", "with SHA-256 and sync / the raw disk's own synced write", "≥ 0.7"),
    ("cpu", "processor seconds per GiB received / the best peer's", "≤ 0.7"),
    ("held", "10,000 connections held, each mid-chunk and silent", "RSS ≤ 400 MB"),
    ("slow", "1,000 uploads at 64 kB/s", "RSS ≤ 150 MB, HEAD p99 ≤ 100 ms"),
    ("large", "peak RSS, a file of 20 GiB against one of 1 GiB", "≤ 5 % apart"),
    ("overload", "twice the admitted load", "refusals with Retry-After, ≥ 90 % of peak, no error else"),
    ("small", "64 KiB files, same durability", "≥ 2 x the fastest Python peer, ≥ tusd"),
    ("growth", "database with 1,000,000 finished uploads / an empty one, p50 of creation and status", "≤ 1.2"),
    ("drive", "Drive, 900 MB, the guide's link", "≥ 8 x sequential, ≥ 5 x google-api-python-client at 8 MiB"),
    ("soak", "soak of 10 minutes with faults", "RSS slope < 1 MB / 10 min, descriptors and spool back, 0 mismatches"),
)
"""The lines of the table that this bench answers: key, what, target."""


def keep(name: str, heading: str, figures: Sequence[Figure]) -> None:
    """Write a measurement's lines: the first says where and when, each further one is a figure."""
    RESULTS.mkdir(exist_ok=True)
    lines = [{"measurement": name, "heading": heading}, *(asdict(figure) for figure in figures)]
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    (RESULTS / f"{name}.jsonl").write_text(text, encoding="utf-8")


def report() -> Path:
    """Make the report of what is kept; returns its path."""
    kept = {path.stem: _read(path) for path in sorted(RESULTS.glob("*.jsonl"))}
    answers = [figure for _, figures in kept.values() for figure in figures if figure.promise]
    parts = ["# Measured\n", _promises(answers), f"Peers: {_versions()}.\n"]
    for name, (heading, figures) in kept.items():
        parts += [f"## {name}\n", f"{heading}\n", *_plots(name, figures), f"{table(figures)}\n"]
    parts.append("The numbers of every round are in the files of JSON lines beside this.")
    path = RESULTS / "REPORT.md"
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return path


def _plots(name: str, figures: Sequence[Figure]) -> list[str]:
    """A picture for each group of figures that have the rates of several contenders; written beside the report."""
    groups: dict[str, list[Figure]] = {}
    unit = _RATES.get(name, "")
    for figure in figures:
        if unit in figure.values:
            groups.setdefault(figure.what.partition(": ")[0], []).append(figure)
    parts = []
    for number, (title, group) in enumerate(groups.items(), 1):
        picture = f"{name}-{number}.svg"
        (RESULTS / picture).write_text(bars(title, group, unit), encoding="utf-8")
        parts.append(f"![{title}]({picture})\n")
    return parts


def _read(path: Path) -> tuple[str, list[Figure]]:
    heading, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return heading["heading"], [_figure(line) for line in lines]


def _figure(line: dict[str, Any]) -> Figure:
    return Figure(**line)


def _promises(answers: Sequence[Figure]) -> str:
    rows = []
    for key, what, target in PROMISES:
        own = [figure for figure in answers if figure.promise == key]
        if not own:
            rows.append(Figure(what, target, "not measured"))
        rows += [Figure(what, target, figure.measured, f"{figure.what}; {figure.detail}") for figure in own]
    return f"{table(rows)}\n"


def _versions() -> str:
    pins = {**PYTHON, **NPM, **GO, **RUST}
    return ", ".join(f"{name} {version}" for name, version in pins.items())
