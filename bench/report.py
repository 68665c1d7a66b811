"""Figures, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Figure", "machine", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    what: str
    target: str
    measured: str
    detail: str = ""
    promise: str = ""
    """Which line of `results.PROMISES` it answers."""
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What it was computed from: each round's number, by who made it."""


def table(figures: list[Figure]) -> str:
    """As Markdown."""
    rows = [("what", "target", "measured", ""), ("---", "---", "---", "---")]
    rows += [(figure.what, figure.target, figure.measured, figure.detail) for figure in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine(directory: Path) -> str:
    """Processor, memory, kernel, Python, and the file system that is measured on."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), {memory_gib:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {_file_system(directory)}"
    )


def _file_system(directory: Path) -> str:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    held = [(len(mount[1]), mount[2]) for mount in mounts if directory.is_relative_to(mount[1])]
    return max(held)[1]
