"""Our server under measurement: started for real, asked over HTTP, looked at through /proc and /metrics."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.certificate import Certificate, connection

from app.testing.server_process import ServerProcess

__all__ = ["MIB", "Forebay"]

MIB = 1 << 20
_ROOT = Path(__file__).resolve().parents[1]
_LOOK_S = 20.0  # the server tells the longest block of the last minute


class Forebay(ServerProcess):
    """The server, without tokens: every address of 127/8 is a user."""

    def __init__(
        self, directory: Path, settings: Mapping[str, str] | None = None, *, certificate: Certificate | None = None
    ) -> None:
        wanted = {"FOREBAY_AUTH": "none", "FOREBAY_LOG_LEVEL": "info", **(settings or {})}
        if certificate is not None:
            wanted |= {"FOREBAY_TLS_CERT": str(certificate.chain), "FOREBAY_TLS_KEY": str(certificate.key)}
        super().__init__(directory, wanted)
        self.authority = None if certificate is None else certificate.authority

    def call(self, method: str, path: str, body: object = None, *, source: str = "127.0.0.1") -> Any:  # noqa: ANN401 - JSON
        """An API call; returns the answer's JSON.

        Raises:
            RuntimeError: the answer is a problem.
        """
        asking = connection(self.port, self.authority, source=source)
        try:
            content = None if body is None else json.dumps(body)
            asking.request(method, path, content, {"content-type": "application/json"})
            answer = asking.getresponse()
            text = answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
            return json.loads(text) if text and path != "/metrics" else text.decode()
        finally:
            asking.close()

    def create(self, size: int, *, chunk_size: int | None = None, source: str = "127.0.0.1") -> dict[str, Any]:
        """Begin an upload that `complete` would finish."""
        wanted: dict[str, object] = {"filename": "bench.bin", "size": size, "completion": "explicit"}
        if chunk_size is not None:
            wanted["chunk_size"] = chunk_size
        created: dict[str, Any] = self.call("POST", "/api/v1/uploads", wanted, source=source)
        return created

    def discard(self, upload: Mapping[str, Any], *, source: str = "127.0.0.1") -> None:
        """Cancel it; its bytes are gone when this returns."""
        self.call("DELETE", f"/api/v1/uploads/{upload['id']}", source=source)

    def chunk_target(self, upload: Mapping[str, Any], number: int) -> str:
        """Where chunk `number` is put."""
        return str(upload["chunk_url"]).replace("{n}", str(number))

    def metric(self, name: str) -> float:
        """One sample of /metrics; 0 when it is not there."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.call("GET", "/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    @contextmanager
    def watching_lag(self) -> Iterator[Callable[[], tuple[str, str]]]:
        """Look at the event loop's longest block often enough to miss no minute.

        Yields what tells it when the block has ended: "N ms", and why, as far as the kernel and an idle loop beside it saw.
        """
        seen = [0.0]
        over = threading.Event()

        def look() -> None:
            seen.append(self.metric("forebay_loop_blocked_max_seconds") * 1000)

        def watch() -> None:
            while not over.wait(_LOOK_S):
                look()

        reasons: list[str] = []

        def told() -> tuple[str, str]:
            return f"{max(seen):.0f} ms", "; ".join(reasons)

        idle, waits = _beside("bench.idle_loop"), _beside("bench.loop_waits", str(self.pid))
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield told
        finally:
            over.set()
            watcher.join()
            look()
            asleep_ms, call = waits.communicate()[0].strip().split(maxsplit=1)
            culprit = f" ({call})" if float(asleep_ms) else ""
            reasons.append(f"asleep in a call that blocks: {float(asleep_ms):.0f} ms{culprit}")
            reasons.append(f"a loop that does nothing, beside it: {float(idle.communicate()[0]):.0f} ms")

    def peak_rss_mib(self) -> float:
        """Most resident memory since the start."""
        return self._status("VmHWM")

    def rss_mib(self) -> float:
        """Resident memory now."""
        return self._status("VmRSS")

    def _status(self, field: str) -> float:
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"/proc does not tell {field}")
        return int(found[1]) / 1024

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def _beside(module: str, *args: str) -> subprocess.Popen[str]:
    """Started; it ends with its input, and prints what it saw."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
    )
