"""`make bench`: every measurement, or those named (`make bench ONLY="ingest held"`). See README.md beside this."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.browser import browser  # noqa: E402 - found by the line above
from bench.chunks import chunks  # noqa: E402
from bench.crowd import crowd  # noqa: E402
from bench.digest import digest  # noqa: E402
from bench.drive import drive, latency  # noqa: E402
from bench.drive_peers import drive_peers  # noqa: E402
from bench.growth import growth  # noqa: E402
from bench.held import held  # noqa: E402
from bench.ingest import SHAPES, ingest  # noqa: E402
from bench.memory import memory  # noqa: E402
from bench.ops import ops  # noqa: E402
from bench.overload import overload  # noqa: E402
from bench.profiles import profiles  # noqa: E402
from bench.receive import receive  # noqa: E402
from bench.recovery import recovery  # noqa: E402
from bench.report import Figure, machine, table  # noqa: E402
from bench.results import keep, report  # noqa: E402
from bench.shaped import shaped  # noqa: E402
from bench.small import small  # noqa: E402
from bench.small_peers import small_peers  # noqa: E402
from bench.soak import soak  # noqa: E402
from bench.status import status  # noqa: E402
from bench.tus import tus  # noqa: E402

MEASUREMENTS: dict[str, Callable[[Path], list[Figure]]] = {
    "receive": receive,
    "small": small,
    "tus": tus,
    "digest": digest,
    "profiles": profiles,
    "memory": memory,
    "drive": drive,
    "latency": latency,
    "chunks": chunks,
    "crowd": crowd,
    "browser": browser,
    "ops": ops,
    "ingest": ingest,
    "ingest_tls": partial(ingest, tls=True),
    "small_peers": small_peers,
    "shaped": shaped,
    "held": held,
    "status": status,
    "growth": growth,
    "overload": overload,
    "recovery": recovery,
    "soak": soak,
    "drive_peers": drive_peers,
}
BRIEFLY: dict[str, Callable[[Path], list[Figure]]] = {
    "ingest": partial(ingest, rounds=1, shapes=SHAPES[1:2]),
    "ingest_tls": partial(ingest, tls=True, rounds=1, shapes=SHAPES[1:2]),
    "small_peers": partial(small_peers, files=64, rounds=1),
    "shaped": partial(shaped, rounds=1, total=64 * 1024 * 1024),
    "held": partial(held, wanted=500, seconds=3),
    "status": partial(status, rounds=1, slow=50, slow_seconds=6),
    "growth": partial(growth, finished=20_000, rounds=2, each=20),
    "overload": partial(overload, rounds=1, seconds=4),
    "recovery": partial(recovery, rounds=1),
    "soak": partial(soak, seconds=60),
    "drive_peers": partial(drive_peers, size_mb=20, chunks_mib=(8,)),
}
"""So short that it only shows that everything works."""
_FREE_BYTES = 40 << 30
_README = Path(__file__).with_name("README.md")


def main() -> int:
    """Run what was asked for; prints the table, and puts it into the README when told to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASUREMENTS, []], help="all when none is named")
    parser.add_argument("--full", action="store_true", help="the slow half of `drive` as well: half an hour more")
    parser.add_argument("--brief", action="store_true", help="only to see that it works; nothing is kept")
    parser.add_argument("--directory", type=Path, default=ROOT / "var", help="where to measure: the file system counts")
    parser.add_argument("--readme", action="store_true", help="write what was measured into bench/README.md")
    wanted = parser.parse_args()
    wanted.directory.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(wanted.directory).free < _FREE_BYTES:
        print(f"{wanted.directory} needs {_FREE_BYTES >> 30} GiB of room for a while", file=sys.stderr)
        return 1
    heading = f"{machine(wanted.directory.resolve())}; commit {_commit()}, {time.strftime('%Y-%m-%d')}"
    print(heading, flush=True)
    figures: list[Figure] = []
    measurements = MEASUREMENTS | {"drive": partial(drive, full=wanted.full)}
    for name, measure in (BRIEFLY if wanted.brief else measurements).items():
        if wanted.names and name not in wanted.names:
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        directory = Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=wanted.directory))
        directory.chmod(0o755)
        try:
            measured = measure(directory)
        finally:
            shutil.rmtree(directory)
        figures += measured
        if not wanted.brief:
            keep(name, heading, measured)
            report()
        if wanted.readme:
            _write_down(name, heading, measured)
    print(table(figures))
    return 0


def _write_down(name: str, heading: str, figures: list[Figure]) -> None:
    """Put a measurement's table where the README has its former one, if it has one."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = _README.read_text().partition(begin)
    if not found:
        return
    _, _, after = rest.partition(end)
    _README.write_text(f"{before}{begin}{heading}\n\n{table(figures)}\n{end}{after}")


def _commit() -> str:
    """Which code was measured."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
