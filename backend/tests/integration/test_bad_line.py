"""FAULTS 15: a line that loses every fifth packet and lets a megabyte a second through, in a network namespace of its own."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.testing.server_process import ServerProcess

_ROOT = Path(__file__).resolve().parents[3]
_LOSSY = """
table inet forebay {
  chain in { type filter hook input priority 0; iifname "veth-far" numgen random mod 100 < 20 counter drop; }
  chain out { type filter hook output priority 0; oifname "veth-far" numgen random mod 100 < 20 counter drop; }
}
"""


def _run(command: str, **more: object) -> None:
    subprocess.run(command.split(), check=True, capture_output=True, **more)  # type: ignore[call-overload]


@pytest.fixture
def line() -> Iterator[tuple[str, str]]:
    """A namespace, and the address by which it reaches this machine."""
    name = f"forebay-{os.getpid()}"
    near = f"fbn{os.getpid() % 100_000}"
    _run(f"ip netns add {name}")
    try:
        _run(f"ip link add {near} type veth peer name veth-far netns {name}")
        _run(f"ip addr add 10.213.77.1/30 dev {near}")
        _run(f"ip link set {near} up")
        inside = f"ip netns exec {name}"
        _run(f"{inside} ip addr add 10.213.77.2/30 dev veth-far")
        _run(f"{inside} ip link set veth-far up")
        _run(f"{inside} tc qdisc add dev veth-far root tbf rate 8mbit burst 32kbit latency 400ms")
        _run(f"{inside} nft -f -", input=_LOSSY.encode())
        yield name, "10.213.77.1"
    finally:
        with suppress(subprocess.CalledProcessError):
            _run(f"ip link del {near}")
        _run(f"ip netns del {name}")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's")
def test_a_file_arrives_over_a_line_that_loses_every_fifth_packet(line: tuple[str, str], tmp_path: Path) -> None:
    """Whole, by the command line client, without anybody's help."""
    namespace, address = line
    content = os.urandom(2_000_000)
    (tmp_path / "film.bin").write_bytes(content)
    settings = {"FOREBAY_AUTH": "none", "FOREBAY_HOST": address}
    with ServerProcess(tmp_path / "server", settings) as server:
        done = subprocess.run(
            [
                *("ip", "netns", "exec", namespace, sys.executable, "-m", "forebay", "upload"),
                *(str(tmp_path / "film.bin"), "--server", f"http://{address}:{server.port}"),
            ],
            env={**os.environ, "FOREBAY_STATE_DIR": str(tmp_path / "client")},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert hashlib.sha256(content).hexdigest() in done.stdout + done.stderr
        assert (server.files / "film.bin").read_bytes() == content
    told = subprocess.run(
        ["ip", "netns", "exec", namespace, "nft", "list", "ruleset"], check=True, capture_output=True, text=True
    ).stdout
    lost = [int(packets) for packets in re.findall(r"counter packets (\d+)", told)]
    assert len(lost) == 2
    assert min(lost) > 20, "the line was not as bad as it should be"
