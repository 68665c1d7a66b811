"""Into Google Drive as others do it: the server takes the whole file over one connection, then Google's client sends it.

Over the guide's line (4 MiB/s for each connection), to the emulator that `drive` uses. What a server does between the
two is left out, and it receives with nginx, so that the only costs are the line's and those of the resumable chunks.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.drive import PER_CONNECTION
from bench.load import Lane, Request, send
from bench.report import Figure
from bench.rivals import NginxDav
from bench.scene import MB, Drive, Line, Sending, drive_server, made_file

__all__ = ["drive_peers"]

CHUNKS_MIB = (8, 16, 32)
_DECIDES_MIB = 8
_LONGEST_S = 1800.0


def drive_peers(directory: Path, *, size_mb: int = 900, chunks_mib: Sequence[int] = CHUNKS_MIB) -> list[Figure]:
    """One run of each: the line decides, and it is the same every time."""
    size = size_mb * MB
    file = directory / "file.bin"
    digest = made_file(file, size)
    with Drive() as emulator:
        received_s = _received(directory / "nginx", size)
        credentials = emulator.log_in(directory / "google-drive.json")
        sent_s = {chunk: _by_google(emulator, credentials, file, f"google-{chunk}.bin", chunk) for chunk in chunks_mib}
        with (
            drive_server(emulator, directory / "server") as server,
            Line(server.port, rate_mib=PER_CONNECTION.rate_mib) as line,
        ):
            ours_s = Sending(file, url=line.url, state=directory / "client", name="ours.bin").wait().seconds
        there = Counter((found["name"], found["digests"]["sha256"]) for found in emulator.files())
    names = ["ours.bin", *(f"google-{chunk}.bin" for chunk in chunks_mib)]
    if there != Counter((name, digest) for name in names):
        raise RuntimeError(f"Drive holds {there}")
    figures = [
        Figure(
            f"{size_mb} MB, {PER_CONNECTION.title}: google-api-python-client, {chunk} MiB, after receiving / Forebay",
            "≥ 5 x" if chunk == _DECIDES_MIB else "-",
            f"{(received_s + seconds) / ours_s:.1f} x",
            f"{received_s + seconds:.1f} s ({received_s:.1f} s to the server's disk, {seconds:.1f} s from there) : "
            f"{ours_s:.1f} s",
            "drive" if chunk == _DECIDES_MIB else "",
            {"received s": [received_s], "sent s": [seconds], "ours s": [ours_s]},
        )
        for chunk, seconds in sent_s.items()
    ]
    return [*figures, Figure("rclone to Drive", "-", "absent", "its Drive backend has no option for another API root")]


def _received(directory: Path, size: int) -> float:
    directory.mkdir()
    with NginxDav(directory, "1m") as nginx, Line(nginx.port, rate_mib=PER_CONNECTION.rate_mib) as line:
        answers = send(line.port, [Lane([Request("/file", size)])], timeout_s=_LONGEST_S)
    if not answers.ok:
        raise RuntimeError(f"not all was taken: {answers.statuses}")
    return answers.seconds


def _by_google(emulator: Drive, credentials: Path, file: Path, name: str, chunk_mib: int) -> float:
    script = [sys.executable, str(Path(__file__).with_name("google_client.py"))]
    done = subprocess.run(
        [*script, emulator.url, str(credentials), str(file), name, str(chunk_mib)],
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"Google's client failed:\n{done.stderr[-2000:]}")
    return float(done.stdout)
