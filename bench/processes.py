"""Processor time and memory of a process with all its children: some servers are several."""

from __future__ import annotations

import psutil

__all__ = ["cpu_seconds", "rss_mib"]


def cpu_seconds(pid: int) -> float:
    """User and system time used so far by those that live, in seconds."""
    times = [process.cpu_times() for process in _tree(pid)]
    return sum(time.user + time.system for time in times)


def rss_mib(pid: int) -> float:
    """Resident memory; what children share is counted once for each."""
    total: int = sum(process.memory_info().rss for process in _tree(pid))
    return total / (1 << 20)


def _tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
