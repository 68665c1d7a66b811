"""A server as a fork of a process that has imported the product already: for tests, which start some hundreds.

Most of a start is importing, the same each time. `multiprocessing`'s fork server does it once per process of the tests; it
has no threads, and importing the product opens and allocates nothing. A fork of it is what `python -m app serve` is from
its first line on: a process of its own, killed and waited for as any other, with an environment, a folder and a log of its
own, and nothing of its parent's but code.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from io import TextIOWrapper
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

__all__ = ["ServerFork"]

_IMPORTED: Final = ["app.cli", "app.main", "alembic.command"]
_COMMAND: Final = ["app", "serve"]


class ServerFork:
    """As much of `subprocess.Popen` as a server needs."""

    def __init__(self, directory: Path, environment: Mapping[str, str], log: Path) -> None:
        """Start it in that folder; what it says is added to `log`."""
        self._process = _context().Process(target=_serve, args=(directory, dict(environment), log))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process.pid is None:
            raise RuntimeError("not started")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same, by the name that `Popen` has for looking."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended already."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit status, once it has ended.

        Raises:
            TimeoutExpired: it has not.
        """
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(_COMMAND, timeout_s or 0.0)
        return self._process.exitcode


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


def _serve(directory: Path, environment: dict[str, str], log: Path) -> None:
    """What the fork does: become what `Popen` would have made of the program, and run it."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    with Path(os.devnull).open("rb") as nothing, log.open("ab") as out:
        for ours, theirs in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(ours.fileno(), theirs)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # as PYTHONUNBUFFERED would, were it not too late for that
    sys.argv = _COMMAND
    runpy.run_module("app", run_name="__main__", alter_sys=True)
