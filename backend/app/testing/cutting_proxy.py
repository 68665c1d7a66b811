"""A TCP proxy that cuts connections after so many bytes, for tests of what is left when a line breaks.

Plain and blocking: a thread for each connection. What was passed on before the cut has been taken by the kernel, in
order; whether the other side sees the rest of the stream or a reset, the plan says.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass
from typing import Self

__all__ = ["Cut", "CuttingProxy"]

_READ_BYTES = 64 * 1024
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Cut:
    """When a connection ends, in bytes passed on; and how."""

    to_server: int
    to_client: int
    reset: bool = False


class CuttingProxy:
    """Context manager; connections take the next of `cuts`, and are let alone when there is none."""

    def __init__(self, target: tuple[str, int]) -> None:
        """Listen on a free port of this machine."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self.cuts: deque[Cut] = deque()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="cutting-proxy")

    def __enter__(self) -> Self:
        """Begin."""
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until every connection has ended."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join(_TIMEOUT_S)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                cut = self.cuts.popleft() if self.cuts else None
                thread = threading.Thread(target=self._serve, args=(client, cut), name="cut-connection")
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket, cut: Cut | None) -> None:
        with client, socket.create_connection(self._target, timeout=_TIMEOUT_S) as server:
            with contextlib.suppress(OSError):  # one of them is gone: so is the connection
                _pass_on(client, server, cut)
            if cut is not None and cut.reset:
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _pass_on(client: socket.socket, server: socket.socket, cut: Cut | None) -> None:
    """Until one end closes, or the cut."""
    left = {client: cut.to_server if cut else None, server: cut.to_client if cut else None}
    other = {client: server, server: client}
    with selectors.DefaultSelector() as selector:
        for end in (client, server):
            selector.register(end, selectors.EVENT_READ, end)
        while all(count is None or count > 0 for count in left.values()):
            for key, _ in selector.select(_TIMEOUT_S):
                source: socket.socket = key.data
                most = left[source]
                data = source.recv(_READ_BYTES if most is None else min(_READ_BYTES, most))
                if not data:
                    return
                other[source].sendall(data)
                if most is not None:
                    left[source] = most - len(data)
                    if left[source] == 0:
                        return
