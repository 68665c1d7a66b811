"""A private PostgreSQL cluster for tests: its own directory, a unix socket and nothing else.

Law: the cluster is gone, files and processes, when the context is left. The server refuses to run as root, so as root
it runs as the user `postgres` (who comes with the package).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PostgreSQLCluster", "PostgreSQLMissing", "private_cluster"]


class PostgreSQLMissing(Exception):
    """PostgreSQL's server is not installed here: `apt-get install postgresql`"""  # noqa: D415 - a command


@dataclass(frozen=True, slots=True)
class PostgreSQLCluster:
    """A running server with one database."""

    binaries: Path
    directory: Path

    @property
    def url(self) -> str:
        """Of the database, as its owner."""
        return f"postgresql://postgres@/postgres?host={self.directory}"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        # fsync off: what is tested is what a crash of the server leaves, and the kernel keeps what was written.
        options = f"-c listen_addresses='' -c fsync=off -k {self.directory}"
        self._run("pg_ctl", "-w", "-s", "-l", str(self.directory / "log"), "-o", options, "start")

    def stop(self, *, crash: bool = False) -> None:
        """Stop it, cleanly or as a crash would."""
        self._run("pg_ctl", "-w", "-s", "-m", "immediate" if crash else "fast", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user = "postgres" if os.geteuid() == 0 else None
        command = [str(self.binaries / program), "-D", str(self.directory / "data"), *arguments]
        subprocess.run(  # noqa: S603 - our own words
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd=self.directory,
        )


@contextmanager
def private_cluster() -> Iterator[PostgreSQLCluster]:
    """A new cluster, running.

    Raises:
        PostgreSQLMissing: there are no server programs on this machine.
    """
    binaries = _binaries()
    # A short path of its own: a socket's path has 107 bytes at most, and `postgres` must be able to get there.
    directory = Path(tempfile.mkdtemp(prefix="forebay-pg-"))
    cluster = PostgreSQLCluster(binaries, directory)
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        cluster._run("initdb", "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "--encoding=UTF8")  # noqa: SLF001 - same module
        cluster.start()
        try:
            yield cluster
        finally:
            if (directory / "data" / "postmaster.pid").exists():
                cluster.stop(crash=True)
    finally:
        shutil.rmtree(directory)


def _binaries() -> Path:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        places.append(Path(found).resolve().parent)
    if program := shutil.which("pg_config"):
        shown = subprocess.run([program, "--bindir"], check=True, capture_output=True, text=True)  # noqa: S603
        places.append(Path(shown.stdout.strip()))
    for place in places:
        if (place / "initdb").exists() and (place / "pg_ctl").exists():
            return place
    raise PostgreSQLMissing(" ".join((PostgreSQLMissing.__doc__ or "").split()))
