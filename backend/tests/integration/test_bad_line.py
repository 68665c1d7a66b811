"""Lines that lose packets (FAULTS 15) or go down (13), in a network namespace of its own."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.testing.api_client import ApiClient
from app.testing.server_process import ServerProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's")

CHUNK = 1 << 20
_CLONE_NEWNET = 0x4000_0000
_LOSSY = """
table inet forebay {
  chain in { type filter hook input priority 0; iifname "veth-far" numgen random mod 100 < 20 counter drop; }
  chain out { type filter hook output priority 0; oifname "veth-far" numgen random mod 100 < 20 counter drop; }
}
"""


def _run(command: str, **more: object) -> None:
    subprocess.run(command.split(), check=True, capture_output=True, **more)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Line:
    """A network of its own and the line to this machine."""

    namespace: str
    address: str
    """Of this machine, as seen from there."""

    def inside(self, command: str, **more: object) -> None:
        """Run a command there."""
        _run(f"ip netns exec {self.namespace} {command}", **more)

    def client(self, port: int) -> ApiClient:
        """A client there, of a server here."""
        client = ApiClient((self.address, port))
        client.connection.connect = lambda: setattr(client.connection, "sock", self._connect(port))  # type: ignore[method-assign]
        return client

    def _connect(self, port: int) -> socket.socket:
        """A connection from there; its socket is there, whoever uses it."""

        def there() -> socket.socket:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path(f"/run/netns/{self.namespace}").open("rb") as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:  # of this thread alone (setns(2)); it ends here
                    raise OSError(ctypes.get_errno(), "setns")
            return socket.create_connection((self.address, port), timeout=60)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()


@pytest.fixture
def line() -> Iterator[Line]:
    """One without faults."""
    name = f"forebay-{os.getpid()}"
    near = f"fbn{os.getpid() % 100_000}"
    _run(f"ip netns add {name}")
    try:
        line = Line(name, "10.213.77.1")
        _run(f"ip link add {near} type veth peer name veth-far netns {name}")
        _run(f"ip addr add {line.address}/30 dev {near}")
        _run(f"ip link set {near} up")
        line.inside("ip addr add 10.213.77.2/30 dev veth-far")
        line.inside("ip link set veth-far up")
        yield line
    finally:
        with suppress(subprocess.CalledProcessError):
            _run(f"ip link del {near}")
        _run(f"ip netns del {name}")


@pytest.mark.slow
def test_a_file_arrives_over_a_line_that_loses_every_fifth_packet(line: Line, tmp_path: Path) -> None:
    """A megabyte a second at most: whole, by the command line client, without anybody's help."""
    line.inside("tc qdisc add dev veth-far root tbf rate 8mbit burst 32kbit latency 400ms")
    line.inside("nft -f -", input=_LOSSY.encode())
    content = os.urandom(2_000_000)
    (tmp_path / "film.bin").write_bytes(content)
    settings = {"FOREBAY_AUTH": "none", "FOREBAY_HOST": line.address}
    with ServerProcess(tmp_path / "server", settings) as server:
        done = subprocess.run(
            [
                *("ip", "netns", "exec", line.namespace, sys.executable, "-m", "forebay", "upload"),
                *(str(tmp_path / "film.bin"), "--server", f"http://{line.address}:{server.port}"),
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
        ["ip", "netns", "exec", line.namespace, "nft", "list", "ruleset"], check=True, capture_output=True, text=True
    ).stdout
    lost = [int(packets) for packets in re.findall(r"counter packets (\d+)", told)]
    assert len(lost) == 2
    assert min(lost) > 20, "the line was not as bad as it should be"


def test_what_a_client_held_whose_line_went_down_comes_back_at_the_idle_limit(line: Line, tmp_path: Path) -> None:
    """Half-open: no FIN, no RST, nothing; receiver, buffer and slot are free by the clock, and the upload goes on."""
    settings = {
        "FOREBAY_AUTH": "none",
        "FOREBAY_HOST": line.address,
        "PARALLEL_UPLOAD_BODY_IDLE_S": "1",
        "PARALLEL_UPLOAD_SLOT_IDLE_S": "1",
        "PARALLEL_UPLOAD_MAX_CONCURRENT_USERS": "1",
    }
    with ServerProcess(tmp_path / "server", settings) as server, ApiClient((line.address, server.port)) as api:
        with line.client(server.port) as far:
            view = far.create("half.bin", 2 * CHUNK, chunk_size=CHUNK)
            assert far.put_chunk(view["id"], 0, b"x" * CHUNK).status == 204
            sock = far.begin_chunk(view["id"], 1, CHUNK, b"x" * 1000)
            while api.status()["chunk_processor"]["chunks_in_flight"] != 1:
                pass
            assert api.status()["concurrency_manager"]["active_uploads"] == 1
            line.inside("ip link set veth-far down")
            sock.sendall(b"x" * 1000)  # to nobody
            next_one = api.create("next.bin", CHUNK, chunk_size=CHUNK)
            assert api.put_chunk(next_one["id"], 0, b"y" * CHUNK).status == 204, "it has the one slot that there is"
            assert api.complete(next_one["id"]).json["state"] == "completed"
            while api.status()["chunk_processor"]["chunks_in_flight"]:
                pass
            status = api.status()
            assert status["concurrency_manager"]["active_uploads"] == 0
            assert status["buffer_pool"]["slabs_leased"] == 0
        line.inside("ip link set veth-far up")
        with line.client(server.port) as far:
            assert far.upload(view["id"])["missing_chunks"] == [{"first": 1, "last": 1}]
            assert far.put_chunk(view["id"], 1, b"x" * CHUNK).status == 204
            assert far.complete(view["id"]).json["state"] == "completed"
        assert server.stop() == 0
