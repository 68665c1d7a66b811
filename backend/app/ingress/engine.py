"""What all connections of a server share."""

from __future__ import annotations

import asyncio
from typing import Final

from app.ingress.config import IngressConfig
from app.ingress.readiness import Readiness
from app.ingress.wire import SCRATCH_BYTES
from app.ingress.workers import Workers

__all__ = ["Engine"]


class Engine:
    """Threads, readiness and the scratch buffer; open from before the first connection until after the last."""

    def __init__(self, config: IngressConfig) -> None:
        """Take the limits; nothing is allocated before `open`."""
        self.config: Final = config

    def open(self) -> None:
        """Allocate, in the running event loop."""
        self.workers = Workers(self.config.worker_threads)
        self.readiness = Readiness()
        self.readiness.open(asyncio.get_running_loop())
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))

    def close(self) -> None:
        """Let go of everything; no connection may be left."""
        self.readiness.close()
        self.workers.close()
