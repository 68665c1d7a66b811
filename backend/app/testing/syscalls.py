"""Faults in the system calls of a running process, by strace(1) ("Tampering"): an error, a delay, a signal."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

__all__ = ["at_system_call", "may_trace"]


@cache
def may_trace() -> bool:
    """Whether there is strace, and the kernel lets us use it (a container may not)."""
    command = ["strace", "-qq", "-o", "/dev/null", "true"]
    return shutil.which("strace") is not None and not subprocess.call(command)  # noqa: S603 - a fixed command


@contextmanager
def at_system_call(pid: int, calls: str, injection: str, *, paths: Sequence[Path] = ()) -> Iterator[None]:
    """While the block runs, this happens as one of the process's threads enters these system calls.

    Args:
        pid: of the process; all of its threads are concerned.
        calls: names, comma-separated.
        injection: such as `error=EIO`, `signal=KILL:when=3` (counted by thread), `delay_enter=60s`; a delay under way
            ends with the block.
        paths: only calls on these files; any when empty.

    Raises:
        RuntimeError: the process cannot be traced; with what strace said.
    """
    command = ["strace", "-f", "-p", str(pid), "-o", "/dev/null"]
    command += ["-e", f"trace={calls}", "-e", f"inject={calls}:{injection}"]
    command += [argument for path in paths for argument in ("-P", str(path))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:  # noqa: S603 - a fixed command
        try:
            said = tracer.stderr.readline() if tracer.stderr is not None else ""
            if "attached" not in said:
                raise RuntimeError(f"strace: {said.strip()}")
            yield
        finally:
            tracer.terminate()
