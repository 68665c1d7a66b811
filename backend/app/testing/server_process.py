"""The real server as a child process: for tests, the bench and the self-check.

It listens on a free port, which stays its own while it is away; everything it keeps is in one directory. Killing and
starting again on the same directory and port is what a crash is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from app.testing.ports import kept_port
from app.testing.server_fork import ServerFork

__all__ = ["ServerProcess"]

_START_S = 30.0
_STOP_S = 60.0


class ServerProcess:
    """`with ServerProcess(directory) as server:` starts it and stops it with SIGTERM."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        *,
        prefix: tuple[str, ...] = (),
        forked: bool = False,
    ) -> None:
        """Describe it.

        Args:
            directory: working directory and data; may hold an earlier life's.
            settings: environment variables; none of ours is inherited.
            prefix: a command to run it under (`strace …`, `prlimit …`).
            forked: it is there in a fraction of the time (`ServerFork`); not where its start is looked at, or with a prefix.

        Raises:
            ValueError: both a prefix and a fork.
        """
        if forked and prefix:
            raise ValueError("a fork can't be run under another command")
        self.directory = directory
        self.settings = dict(settings or {})
        self.log_path = directory / "server.log"
        self.port = int(self.settings.pop("FOREBAY_PORT", "0"))
        self._prefix = prefix
        self._forked = forked
        self._held = ExitStack()
        self._process: subprocess.Popen[bytes] | ServerFork | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.port = self.port or self._held.enter_context(kept_port())
        try:
            return self.start()
        except BaseException:
            self._held.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, if it still runs."""
        with self._held:
            if self._process is not None and self._process.poll() is None:
                self.stop()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process started (with a prefix, of that)."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    @property
    def files(self) -> Path:
        """Where the default destination puts files."""
        return self.directory / "var" / "files"

    def start(self) -> Self:
        """Start it and return when it listens; on the same port as before when it was started before.

        Raises:
            RuntimeError: it ended instead, or did not listen in time; with what it said.
        """
        ours = ("FOREBAY_", "PARALLEL_UPLOAD_", "ENABLE_PARALLEL")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {"PYTHONUNBUFFERED": "1", **self.settings, "FOREBAY_PORT": str(self.port)}
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log_path.touch()
        log_start = self.log_path.stat().st_size
        if self._forked:
            self._process = ServerFork(self.directory, environment, self.log_path)
        else:
            self._process = self._run(environment)
        self._wait_until_listening(log_start)
        return self

    def _run(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                [*self._prefix, sys.executable, "-m", "app", "serve"],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_until_listening(self, log_start: int) -> None:
        process = self._process
        if process is None:
            return
        deadline = threading.Timer(_START_S, process.kill)
        deadline.start()
        try:
            with self.log_path.open("rb") as log:
                log.seek(log_start)
                partial = b""
                while True:
                    partial += log.readline()
                    if partial.endswith(b"\n"):
                        if b'"listening"' in partial:
                            self.port = int(json.loads(partial)["port"])
                            return
                        partial = b""
                    elif process.poll() is not None:
                        break
                    else:
                        threading.Event().wait(0.01)  # a file tells nobody that it has grown
        finally:
            deadline.cancel()
        said = self.log_path.read_bytes()[log_start:].decode(errors="replace")
        raise RuntimeError(f"the server ended with {process.returncode}:\n{said[-4000:]}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal; returns its exit status."""
        if self._process is None:
            raise RuntimeError("not started")
        self._process.send_signal(number)
        return self._process.wait(_STOP_S)

    def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.wait(_STOP_S)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash does."""
        self.stop(signal.SIGKILL)

    def log_events(self) -> list[dict[str, object]]:
        """Its structured log lines so far."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]
