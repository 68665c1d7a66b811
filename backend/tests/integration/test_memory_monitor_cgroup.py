"""The memory monitor in a real 512 MiB memory cgroup: the spool's page cache, and somebody else's memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

MIB = 1024 * 1024
LIMIT = 512 * MIB  # of the fixture `cgroup`
FOREIGN = 440 * MIB
SPOOLED = 768 * MIB
BACKEND = Path(__file__).parents[2]

# Joins the cgroup before it imports anything, then does what the lines on its input say: `admit` asks once; `spool`
# writes a file as the spool does, 1 MiB at a time, and asks after each 16 MiB.
MONITORED = """
import os, sys
open(sys.argv[1], "w").write(str(os.getpid()))
import asyncio, ctypes, json
from app.core.errors import AdmissionRefused
from app.services.memory_monitor import MemoryMonitor

MIB = 1024 * 1024
monitor = MemoryMonitor(80.0, 100.0)

async def ask():
    sample = await monitor.refresh()
    try:
        monitor.admit()
        refusal = None
    except AdmissionRefused as exc:
        refusal = str(exc)
    return {"refusal": refusal, "usage": sample.current_usage, "limit": sample.limit, "source": sample.source,
            "level": sample.level, "error": sample.error}

def spool(path, size, tidy):
    start_writeback = 2  # SYNC_FILE_RANGE_WRITE
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    slab = os.urandom(MIB)
    answers = []
    with open(path, "wb", buffering=0) as file:
        for offset in range(0, size, MIB):
            os.pwrite(file.fileno(), slab, offset)
            if (offset // MIB) % 16 == 15:
                if tidy:
                    libc.sync_file_range(file.fileno(), offset - 15 * MIB, 16 * MIB, start_writeback)
                    os.posix_fadvise(file.fileno(), 0, max(0, offset - 32 * MIB), os.POSIX_FADV_DONTNEED)
                answers.append(asyncio.run(ask()))
    return answers

for line in sys.stdin:
    command, *rest = json.loads(line)
    answer = asyncio.run(ask()) if command == "admit" else spool(*rest)
    print(json.dumps(answer), flush=True)
"""

FOREIGN_PROCESS = """
import os, sys
open(sys.argv[1], "w").write(str(os.getpid()))
hoard = bytearray(int(sys.argv[2]))
hoard[::4096] = b"x" * len(hoard[::4096])
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spool_file(tmp_path: Path) -> Iterator[Path]:
    """A place on a disk: on a tmpfs a file's pages are not cache but memory."""
    in_memory = [part.mountpoint for part in psutil.disk_partitions(all=True) if part.fstype in {"tmpfs", "ramfs"}]
    for parent in (tmp_path, BACKEND):
        mounts = [mount for mount in in_memory if parent.is_relative_to(mount)]
        if not mounts and psutil.disk_usage(str(parent)).free > 2 * SPOOLED:
            with tempfile.TemporaryDirectory(dir=parent) as directory:
                yield Path(directory) / "spooled"
            return
    pytest.skip("no file system on a disk with room for the spooled file")


def _raw_usage(cgroup: Path) -> int:
    """Bytes charged to the cgroup, page cache included."""
    file = next(path for name in ("memory.current", "memory.usage_in_bytes") if (path := cgroup / name).exists())
    return int(file.read_text())


class Child:
    """A process in the cgroup, spoken to by lines."""

    def __init__(self, code: str, cgroup: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(cgroup / "cgroup.procs"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(BACKEND)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:  # closes its input, upon which it ends, and waits for that
            pass

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, *command: object) -> Any:
        """Have it do something; returns what came of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())


@pytest.mark.parametrize("tidy", [True, False], ids=["write-back started", "left to the kernel"])
def test_spooling_more_than_the_limit_keeps_admitting(cgroup: Path, spool_file: Path, tidy: bool) -> None:
    """768 MiB written in a 512 MiB cgroup: the page cache is full to the limit, and every new upload is admitted."""
    with Child(MONITORED, cgroup) as monitored:
        answers = monitored.tell("spool", str(spool_file), SPOOLED, tidy)
        cached = _raw_usage(cgroup)
    assert len(answers) == SPOOLED // MIB // 16
    assert [answer["refusal"] for answer in answers] == [None] * len(answers)
    assert {(answer["limit"], answer["source"], answer["level"]) for answer in answers} == {(LIMIT, "cgroup", "ok")}
    assert (
        max(answer["usage"] for answer in answers) < 50
    )  # also while the kernel moves what it writes between its lists
    assert tidy or cached > 0.8 * LIMIT  # so the page cache was in the way, and did not count


def test_foreign_memory_refuses_until_it_is_gone(cgroup: Path) -> None:
    """440 MiB of somebody else's in the same cgroup: the guide's message; and without a restart it admits again."""
    with Child(MONITORED, cgroup) as monitored:
        before = monitored.tell("admit")
        assert (before["refusal"], before["source"], before["limit"]) == (None, "cgroup", LIMIT)
        with Child(FOREIGN_PROCESS, cgroup, str(FOREIGN)) as foreign:
            assert foreign.line() == "there\n"
            during = monitored.tell("admit")
        assert during["level"] == "high"
        assert during["usage"] > 80
        assert during["refusal"] == f"Memory usage too high: {during['usage']:.1f}%"
        assert re.fullmatch(r"Memory usage too high: \d\d\.\d%", during["refusal"])
        after = monitored.tell("admit")
        for _ in range(100):  # the kernel gives back a dead process's pages in its own time
            if after["refusal"] is None:
                break
            time.sleep(0.05)
            after = monitored.tell("admit")
        assert after["refusal"] is None
        assert after["usage"] < 50
