"""A wide-area link in user space: a TCP proxy with a round-trip time, a rate per connection and one of the whole link.

python bench/link.py --to 127.0.0.1:8000 [--listen 127.0.0.1:0] [--rtt-ms 40] [--rate-mib 4] [--link-mib 32]

Both directions are alike, each with its own rates; connecting costs a round trip before the first byte leaves. The
kernel's buffers are as small as the line's, so that the sender feels its rate. No slow start, no loss, no jitter: a line
that is better than a real one.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.lane import MIB, Lane, Shape, Wire

__all__ = ["Link"]

_SEGMENT = 1448  # as on Ethernet: with loopback's 64 KiB a client's kernel would take megabytes ahead of the line
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets


class Connection:
    """A client's connection and the one to the server behind it."""

    def __init__(self, link: Link, client: socket.socket, server: socket.socket, accepted_at: float) -> None:
        self._link, self._client, self._server = link, client, server
        shape, (up, down) = link.shape, link.wires
        open_at = accepted_at + shape.rtt_s
        self._lanes = [
            Lane(client, server, shape, up, self, open_at=open_at),
            Lane(server, client, shape, down, self, open_at=open_at),
        ]

    def lane_done(self) -> None:
        """One direction has ended."""
        if all(lane.done for lane in self._lanes):
            self.close()

    def reset(self) -> None:
        """Something broke: both ends learn it."""
        for sock in (self._client, self._server):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Both ends."""
        loop = asyncio.get_running_loop()
        for lane in self._lanes:
            lane.stop()
        for sock in (self._client, self._server):
            if sock.fileno() >= 0:
                loop.remove_reader(sock)
                loop.remove_writer(sock)
                sock.close()
        self._link.connections.discard(self)


class Link:
    """The proxy. Belongs to the event loop in which it was made."""

    def __init__(self, shape: Shape, listen: tuple[str, int], to: tuple[str, int]) -> None:
        self.shape = shape
        self._loop = asyncio.get_running_loop()
        self.wires = (Wire(shape.link_rate, self._loop), Wire(shape.link_rate, self._loop))
        self.connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._to = to
        self._listening = socket.create_server(listen, backlog=4096)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, shape.kernel_bytes)  # accepted ones inherit it
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, shape.kernel_bytes)
        self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        self._listening.settimeout(0)
        self._loop.add_reader(self._listening, self._accept)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listening.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop listening, reset what is open."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        for connection in list(self.connections):
            connection.reset()

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                client, _ = self._listening.accept()
                client.settimeout(0)
                task = self._loop.create_task(self._connect(client, time.monotonic()))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: socket.socket, accepted_at: float) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            server.settimeout(0)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.shape.kernel_bytes)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.shape.kernel_bytes)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(server, self._to)
            self.connections.add(Connection(self, client, server, accepted_at))
        except BaseException as exc:
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
            server.close()
            if not isinstance(exc, OSError):
                raise


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host or "127.0.0.1", int(port)


async def _run(shape: Shape, listen: tuple[str, int], to: tuple[str, int]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    link = Link(shape, listen, to)
    print("link listens on {}:{}".format(*link.address), flush=True)
    await stop.wait()
    link.close()


def main() -> int:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=_address, required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument(
        "--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT", help="port 0: a free one"
    )
    parser.add_argument("--rtt-ms", type=float, default=40.0, help="round-trip time")
    parser.add_argument("--rate-mib", type=float, help="MiB/s of each connection and direction")
    parser.add_argument("--link-mib", type=float, help="MiB/s of all connections together, in each direction")
    wanted = parser.parse_args()
    shape = Shape(
        wanted.rtt_ms / 1000,
        wanted.rate_mib and wanted.rate_mib * MIB,
        wanted.link_mib and wanted.link_mib * MIB,
    )
    try:
        import uvloop  # noqa: PLC0415 - this program runs without it as well
    except ImportError:
        asyncio.run(_run(shape, wanted.listen, wanted.to))
    else:
        uvloop.run(_run(shape, wanted.listen, wanted.to))
    return 0


if __name__ == "__main__":
    sys.exit(main())
